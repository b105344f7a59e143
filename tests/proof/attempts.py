"""Few jobs through many attempts, and what the attempts say of themselves meanwhile.

What counts of an attempt's words while it runs, for the next attempt, after the end and for the next run
depends on how the job came there: the machine of all moves has so many rules that each such way is rare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from cgjobs import keys
from cgjobs.broker import moves, operators
from cgjobs.broker.values import Claimed, NewJob
from cgjobs.errors import JobStateError
from cgjobs.model import Priority
from tests.proof.compared import Compared
from tests.proof.job import ACTIVE, DELAYED, HELD, MAX_CRASHES, QUEUES, Known
from tests.proof.reports import Reports, Words
from tests.proof.strategies import ENDED, HOUR, NEVER, PLAIN, again, endings, outcome, workers

QUEUE = QUEUES[0]
FEW = 2

Word: TypeAlias = Callable[[Words, Claimed], None]
WORDS: tuple[Word, ...] = (
    *(Words.log_some, Words.keep_a_checkpoint, Words.take_the_checkpoint_back, Words.start),
    *(Words.want_twice, Words.begin_an_effect, Words.end_the_effect),
)
words = st.lists(st.sampled_from(WORDS), max_size=3)
kept = st.sampled_from([HOUR, HOUR, HOUR, NEVER])
new_job = st.builds(
    attrs.evolve,
    st.just(PLAIN),
    priority=st.sampled_from([Priority.NORMAL, Priority.NORMAL, Priority.HIGH]),
    keep_completed=kept,
    keep_failed=kept,
)


class Attempts(Reports, Compared):
    """One queue; `Reports` has the rules of what is said."""

    @initialize(jobs=st.lists(new_job, min_size=FEW, max_size=FEW))
    def begin(self, jobs: list[NewJob]) -> None:
        """One runs: from now on most rules are possible, and Hypothesis leaves most out of a play at will."""
        for job in jobs:
            self._add(job)
        self.claim(worker="w1")

    @precondition(lambda self: len(self.model.jobs) < FEW)
    @rule(job=new_job)
    def enqueue(self, job: NewJob) -> None:
        self._add(job)

    def _add(self, job: NewJob) -> None:
        job = self._named(job)
        assert self.sender.send(moves.enqueue([job])) == [self.model.enqueue(job, delayed=False)]

    @precondition(lambda self: self.model.waiting(QUEUE))
    @rule(worker=workers)
    def claim(self, worker: str) -> None:
        self._turn(worker, [], {QUEUE: 1}, "heard")

    @rule(
        data=st.data(),
        worker=workers,
        beside_another=st.booleans(),
        words=words,
        ending=st.none() | endings,
        late=words,
    )
    def a_whole_attempt(
        self,
        data: st.DataObject,
        worker: str,
        beside_another: bool,
        words: list[Word],
        ending: Any,
        late: list[Word],
    ) -> None:
        """It says this and that, and ends so, or its worker is thought dead; some of it is heard later."""
        for _ in range(1 + beside_another):
            self._make_one_ready(data)
        self.claim(worker=worker)
        claimed = self.hands[worker][-1]
        for word in words:
            word(self, claimed)
        if ending:
            kind, delay, blob = ending
            self._turn(worker, [outcome(kind, claimed, delay, blob)], {}, "heard")
        else:
            self._lease_ends(self.model.jobs[claimed.id], hears_of_it=True)
        for word in late:
            word(self, claimed)

    def _make_one_ready(self, data: st.DataObject) -> None:
        if not self.model.jobs:
            self._add(PLAIN)
        elif self.model.of(DELAYED, HELD):
            self.what_was_put_off_is_ready(data=data)
        elif self.model.of(*ENDED):
            self.retry(data=data, attempts=3)
        elif not self.model.waiting(QUEUE):
            self.a_lease_ends(data=data, hears_of_it=False)
            if not self.model.waiting(QUEUE):  # it was poison, or has begun
                self._add(PLAIN)

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data(), ending=endings)
    def settle(self, data: st.DataObject, ending: Any) -> None:
        kind, delay, blob = ending
        worker, claimed = data.draw(
            st.sampled_from([(name, claimed) for name, hand in self.hands.items() for claimed in hand])
        )
        self._turn(worker, [outcome(kind, claimed, delay, blob)], {}, "heard")

    @precondition(lambda self: self.model.of(ACTIVE))
    @rule(data=st.data(), hears_of_it=st.booleans())
    def a_lease_ends(self, data: st.DataObject, hears_of_it: bool) -> None:
        """The worker has died, or still believes that it has the job."""
        self._lease_ends(self._one(data, self.model.of(ACTIVE)), hears_of_it)

    def _lease_ends(self, job: Known, hears_of_it: bool) -> None:
        if hears_of_it:
            lost = [c for c in self.hands[job.worker] if c.token == job.token]
            self.forgotten = [*self.forgotten, *lost][-20:]
            self.hands[job.worker] = [c for c in self.hands[job.worker] if c.token != job.token]
        self._end_leases([job])
        reaped = self.sender.send(moves.reap(max_crashes=MAX_CRASHES, limit=500))
        assert list(reaped.jobs) == self.model.reap(500)

    @precondition(lambda self: any(self.hands.values()))
    @rule(worker=workers, nearly_ended=st.booleans())
    def renew(self, worker: str, nearly_ended: bool) -> None:
        if nearly_ended:
            self._end_leases([self.model.jobs[c.id] for c in self.hands[worker] if self.model.holds(c)])
        self._renew(worker)

    @precondition(lambda self: self.model.of(DELAYED, HELD))
    @rule(data=st.data())
    def what_was_put_off_is_ready(self, data: st.DataObject) -> None:
        job = self._one(data, self.model.of(DELAYED, HELD))
        if job.place == HELD:
            group = job.group
            released = self.sender.send(moves.release([(QUEUE, group)], limit=1000))
            assert released.released == self.model.release(QUEUE, group, 1000)
            return
        job.due = (self.model.moment - 100_000, job.new.id)
        self.server.zadd(keys.delayed(QUEUE), {job.new.id: self.model.moment})
        assert self.sender.send(moves.promote([QUEUE], limit=1000)).promoted == self.model.promote(
            [QUEUE], 1000
        )

    @precondition(lambda self: self.model.of(ACTIVE))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """What runs; what waits is cancelled in the machine of all moves."""
        job = self._one(data, self.model.of(ACTIVE))
        self.sender.send(operators.cancel(job.new.id))
        self.model.mark_cancelled(job)

    @precondition(lambda self: self.model.of(*ENDED))
    @rule(data=st.data(), attempts=st.integers(1, 3))
    def retry(self, data: st.DataObject, attempts: int) -> None:
        job = self._one(data, self.model.of(*ENDED))
        call = operators.retry(job.new.id, attempts=attempts)
        assert self.sender.send(call) == self.sender.send(again(call))
        self.model.retry(job, attempts)

    @precondition(lambda self: len(self.model.jobs) >= FEW)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job = self._one(data, [*self.model.jobs.values()])
        if job.place == ACTIVE:
            with pytest.raises(JobStateError):
                self.sender.send(operators.remove(job.new.id))
        else:
            assert self.sender.send(operators.remove(job.new.id))
            self.model.remove(job)

"""Few jobs through many attempts, and what the attempts say of themselves meanwhile.

What counts of an attempt's words while it runs, for the next attempt, after the end and for the next run
depends on how the job came there: the machine of all moves has so many rules that each such way is rare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from cgjobs import keys
from cgjobs.broker import moves, operators
from cgjobs.broker.values import Claimed, NewJob
from tests.proof.compared import Compared
from tests.proof.job import ACTIVE, DELAYED, HELD, MAX_CRASHES, QUEUES, Known
from tests.proof.reports import Reports, Words
from tests.proof.strategies import ENDED, HOUR, NEVER, PLAIN, again, endings, outcome, workers

QUEUE = QUEUES[0]
FEW = 2

Word: TypeAlias = Callable[[Words, Claimed], None]
WORDS: tuple[Word, ...] = (Words.log_some, Words.keep_a_checkpoint, Words.start, Words.want_twice)
words = st.lists(st.sampled_from(WORDS), max_size=2)
kept = st.sampled_from([HOUR, HOUR, HOUR, NEVER])
new_job = st.builds(attrs.evolve, st.just(PLAIN), keep_completed=kept, keep_failed=kept)


class Attempts(Reports, Compared):
    """One queue; `Reports` has the rules of what is said."""

    @initialize(first=new_job)
    def begin(self, first: NewJob) -> None:
        self._add(first)

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

    @precondition(lambda self: len(self.model.of(ACTIVE)) < len(self.model.jobs))
    @rule(data=st.data(), worker=workers, words=words, ending=st.none() | endings)
    def a_whole_attempt(self, data: st.DataObject, worker: str, words: list[Word], ending: Any) -> None:
        """It says this and that, and ends so, or its worker dies."""
        if self.model.of(DELAYED, HELD) and not self.model.waiting(QUEUE):
            self.what_was_put_off_is_ready(data=data)
        elif not self.model.waiting(QUEUE):
            self.retry(data=data, attempts=3)
        self.claim(worker=worker)
        claimed = self.hands[worker][-1]
        for word in words:
            word(self, claimed)
        if ending:
            kind, delay, blob = ending
            self._turn(worker, [outcome(kind, claimed, delay, blob)], {}, "heard")
        else:
            self._lease_ends(self.model.jobs[claimed.id], hears_of_it=True)

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

    @precondition(lambda self: len(self.model.jobs) >= FEW and len(self.model.of(ACTIVE)) < FEW)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job = self._one(data, [job for job in self.model.jobs.values() if job.place != ACTIVE])
        assert self.sender.send(operators.remove(job.new.id))
        self.model.remove(job)

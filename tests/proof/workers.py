"""What workers do: claim, settle, renew, die, reap, promote and release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from cgjobs import keys
from cgjobs.broker import moves
from tests.proof.job import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED, HELD, MAX_CRASHES, QUEUES, Known
from tests.proof.strategies import ENDED, HOUR, endings, outcome, queues, wants, workers
from tests.proof.table import Table


class Workers(Table):
    """Turns of workers, heard and unheard."""

    @rule(data=st.data(), worker=workers, wants=wants, endings=st.lists(endings, max_size=3))
    def turn(self, data: st.DataObject, worker: str, wants: dict[str, int], endings: list[Any]) -> None:
        """Settle some of the jobs in hand, and claim; the reply may be lost, or the first try not arrive."""
        outcomes = []
        for kind, delay, blob in endings[: len(self.hands[worker])]:
            claimed = data.draw(st.sampled_from(self.hands[worker]))
            outcomes.append(outcome(kind, claimed, delay, blob))
        self._turn(worker, outcomes, wants, data.draw(st.sampled_from(["heard", "heard", "late", "lost"])))

    @rule(worker=workers, queue=queues, n=st.integers(1, 8))
    def claim(self, worker: str, queue: str, n: int) -> None:
        self._turn(worker, [], {queue: n}, "heard")

    @precondition(lambda self: self.model.claimable())
    @rule(data=st.data(), worker=workers, n=st.integers(1, 8), ending=endings)
    def work(self, data: st.DataObject, worker: str, n: int, ending: Any) -> None:
        self.claim(worker=worker, queue=data.draw(st.sampled_from(self.model.claimable())), n=n)
        running = self.model.of(ACTIVE)
        if running and data.draw(st.integers(0, 3)) == 0:
            self._cancel(self._one(data, running).new.id)
        self.settle_all(data=data, worker=worker, ending=ending)

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data(), worker=workers, ending=endings)
    def settle_all(self, data: st.DataObject, worker: str, ending: Any) -> None:
        kind, delay, blob = ending
        outcomes = [outcome(kind, claimed, delay, blob) for claimed in self.hands[worker]]
        self._turn(worker, outcomes, {}, data.draw(st.sampled_from(["heard", "heard", "twice"])))

    @rule(worker=workers, queue=queues, n=st.integers(1, 3), again=st.booleans())
    def claim_unheard(self, worker: str, queue: str, n: int, again: bool) -> None:
        """The lease of what the lost reply had may be over when it is asked for again."""
        self._turn(worker, [], {queue: n}, "lost")
        if again:
            self._end_leases(self.model.of(ACTIVE))
            self._ask_again(self.unheard[-1], heard=True)

    @precondition(lambda self: self.forgotten)
    @rule(data=st.data(), worker=workers, ending=endings)
    def settle_what_was_settled_or_forgotten_before(
        self, data: st.DataObject, worker: str, ending: Any
    ) -> None:
        """The outcome of a worker thought dead, or of an attempt that has ended: most tokens are stale."""
        kind, delay, blob = ending
        running_elsewhere = [c for c in self.forgotten if self.model.runs_again(c)]
        claimed = data.draw(st.sampled_from(running_elsewhere or self.forgotten))
        fate = data.draw(st.sampled_from(["heard", "lost"]))
        self._turn(worker, [outcome(kind, claimed, delay, blob)], {}, fate)

    @precondition(lambda self: self.unheard)
    @rule(data=st.data(), heard=st.booleans())
    def turn_sent_again_gives_the_same_jobs(self, data: st.DataObject, heard: bool) -> None:
        self._ask_again(data.draw(st.sampled_from(self.unheard)), heard=heard)

    @precondition(lambda self: any(self.hands.values()))
    @rule(worker=workers)
    def renew(self, worker: str) -> None:
        self._renew(worker)

    @precondition(lambda self: any(self.hands.values()))
    @rule(worker=workers)
    def crash(self, worker: str) -> None:
        self.forgotten += self.hands[worker]
        self.hands[worker] = []

    @precondition(lambda self: self.model.of(ACTIVE))
    @rule(data=st.data(), all_of_them=st.booleans())
    def leases_end(self, data: st.DataObject, all_of_them: bool) -> None:
        active = self.model.of(ACTIVE)
        self._end_leases(active if all_of_them else [self._one(data, active)])

    @precondition(lambda self: self.model.of(ACTIVE))
    @rule(worker=workers)
    def all_freeze_and_one_takes_over(self, worker: str) -> None:
        """The other worker still holds jobs that are this one's now."""
        self._end_leases(self.model.of(ACTIVE))
        self.reap(limit=500)
        self._turn(worker, [], dict.fromkeys(QUEUES, 8), "heard")

    @precondition(lambda self: self.model.of(ACTIVE))
    @rule(limit=st.sampled_from([1, 500, 500]))
    def reap(self, limit: int) -> None:
        reaped = self.sender.send(moves.reap(max_crashes=MAX_CRASHES, limit=limit))
        assert list(reaped.jobs) == self.model.reap(limit)
        assert reaped.set_aside == ()
        self._dropped(reaped.dropped)

    @precondition(
        lambda self: (
            self.model.of(DELAYED, HELD) or self.model.ghosts or self.model.untold or self.model.too_many
        )
    )
    @rule(which=st.sampled_from([QUEUES, QUEUES[:1], QUEUES[1:]]), limit=st.sampled_from([1, 1000, 1000]))
    def promote(self, which: Sequence[str], limit: int) -> None:
        promotion = self.sender.send(moves.promote(which, limit=limit))
        assert promotion.promoted == self.model.promote(which, limit)
        delayed = [job for queue in which for job in self.model.of(DELAYED, queue=queue)]
        at_once = bool(self.model.untold) or any(job.due for job in delayed)
        assert (promotion.next_due is None) == (not delayed and not at_once)
        assert (promotion.next_due == timedelta(0)) == at_once
        self._dropped(promotion.dropped)
        assert promotion.paused.keys() == self.model.paused & set(which)
        assert promotion.set_aside == ()
        assert set(promotion.held) == self.model.groups(which)

    @precondition(lambda self: self.model.claimable())
    @rule(data=st.data(), worker=workers, n=st.integers(2, 8), wait=st.sampled_from([timedelta(0), HOUR]))
    def claim_and_hold(self, data: st.DataObject, worker: str, n: int, wait: timedelta) -> None:
        """Several jobs of a group: what a worker of an older release does. ``wait`` chooses the group."""
        self.work(data=data, worker=worker, n=n, ending=("hold", wait, b""))

    @precondition(lambda self: self.model.of(HELD))
    @rule(data=st.data(), limit=st.sampled_from([1, 2, 1000]))
    def release(self, data: st.DataObject, limit: int) -> None:
        job = self._one(data, self.model.of(HELD))
        queue, group = job.new.queue, job.group
        released = self.sender.send(moves.release([(queue, group)], limit=limit))
        assert released.released == self.model.release(queue, group, limit)
        assert released.set_aside == ()

    @precondition(lambda self: self.model.of(DELAYED))
    @rule(data=st.data())
    def delayed_jobs_become_due(self, data: st.DataObject) -> None:
        for job in data.draw(st.permutations(self.model.of(DELAYED)))[:3]:
            self.model.moment += 1
            job.due = (self.model.moment - 100_000, job.new.id)  # before those that were postponed by nothing
            self.server.zadd(keys.delayed(job.new.queue), {job.new.id: self.model.moment})

    @precondition(lambda self: self.model.of(*ENDED))
    @rule(data=st.data())
    def an_ended_job_was_kept_long_enough(self, data: st.DataObject) -> None:
        job = self._one(data, self.model.of(*ENDED))
        self._forget(job)

    def _forget(self, job: Known) -> None:
        """The server has let the keys go whose time is over, and nobody has swept the entry."""
        self.model.expire(job)
        job_id = job.new.id
        self.server.delete(
            *(keys.job(job_id), keys.results(job_id), keys.log(job_id)),
            *(keys.dependencies(job_id), keys.depends_on(job_id)),
        )
        self.server.zadd(STATE_KEYS[job.place](job.new.queue), {job.new.id: 1})


STATE_KEYS: dict[str, Callable[[str], str]] = {
    COMPLETED: keys.completed,
    FAILED: keys.failed,
    CANCELLED: keys.cancelled,
}

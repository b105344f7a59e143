"""The moves of a broker in any order, on a real server and on the model of it, compared after each.

Workers, clients, operators and schedulers are played by hand: each move is a prepared call. A lost reply is
one that nobody looks at; a worker that dies is one whose jobs nobody settles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import attrs
import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cgjobs import keys
from cgjobs.broker import Call, Sender, health, moves, operators, pages, reads
from cgjobs.broker.values import STATES, Claimed, NewJob, SetAside, Settlement, Turn
from cgjobs.errors import DependencyNotFound, JobNotFound, JobStateError
from cgjobs.model import JobState, Priority, QueueStats
from tests.proof.dependents import DEFERRED
from tests.proof.model import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    DELAYED,
    FAILED,
    GROUPS,
    HELD,
    MAX_CRASHES,
    QUEUES,
    SUBTYPE,
    WAITING,
    Known,
    Model,
    seen,
)

T = TypeVar("T")
HOUR = timedelta(hours=1)
LEASE = timedelta(minutes=5)
MANY = 10  # jobs, when some may be taken out
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
READY = (None, timedelta(0), LONG_AGO)
LATER = (HOUR, datetime(2100, 1, 1, tzinfo=UTC))
UNDER_WAY = (WAITING, ACTIVE, DELAYED, HELD, DEFERRED)
ENDED = (COMPLETED, FAILED, CANCELLED)

queues = st.sampled_from(QUEUES)
workers = st.sampled_from(["w1", "w2"])
kinds = st.sampled_from(
    [
        *("completed", "completed", "failed", "retry", "failed", "quarantine", "snooze", "hold", "return"),
        *("crashed", "cancelled"),
    ]
)
wants = st.dictionaries(queues, st.integers(0, 5), max_size=2)
priorities = st.sampled_from(Priority)
PLAIN = NewJob(
    queue=QUEUES[0],
    id="",  # one that was never used
    own_id=False,
    priority=Priority.NORMAL,
    due=None,
    data=b"",
    description=f"{SUBTYPE}()",
    timeout=None,
    attempts=3,
    keep_completed=timedelta(0),
    keep_failed=HOUR,
    extra={},
)
LATE = {"expires_at": "1.5"}
DEBOUNCED = {"unique": "d", "unique_until": "started", "debounce": "86400000"}
KEYS = [
    {"unique": "k", "unique_until": "done"},
    {"unique": "k", "unique_until": "started"},
    {"unique": "k", "unique_until": "86400000"},
    {"unique": "k", "unique_until": "done", **LATE},
    {"unique": "d", "unique_until": "done"},
]
extras = st.sampled_from([{}, {}, {}, {}, LATE, *KEYS, DEBOUNCED, DEBOUNCED, {**DEBOUNCED, **LATE}])
single = st.builds(
    attrs.evolve,
    st.just(PLAIN),
    queue=queues,
    id=st.sampled_from(["", "", "own-1", "own-2"]),
    priority=priorities,
    due=st.sampled_from(READY * 2 + LATER),
    attempts=st.integers(1, 3),
    keep_completed=st.sampled_from([timedelta(0), HOUR]),
    keep_failed=st.sampled_from([HOUR, HOUR, timedelta(0)]),
    extra=extras,
).map(lambda job: attrs.evolve(job, due=HOUR) if "debounce" in job.extra else job)
new_jobs = st.lists(single, min_size=1, max_size=4)
endings = st.tuples(kinds, st.sampled_from([timedelta(0), HOUR]), st.sampled_from([b"", b"bnVsbA=="]))


@attrs.frozen
class Unheard:
    """A turn whose reply nobody has heard."""

    call: Call[Turn]
    worker: str
    wants: dict[str, int]
    refused: tuple[str, ...]

    @property
    def token(self) -> str:
        return str(self.call.commands[0][4])


@attrs.frozen
class OneByOne:
    """Sends calls, and tells the model that another one begins."""

    sender: Sender
    model: Model

    def send(self, call: Call[T]) -> T:
        self.model.begin_call()
        return self.sender.send(call)


class Moves(RuleBasedStateMachine):
    """Any order of moves.

    Args:
        sender: Sends them, to a server that has the functions.
        server: The same server's data, to look behind the engine's back and to let time pass.
    """

    def __init__(self, sender: Sender, server: redis.Redis) -> None:
        super().__init__()
        server.flushdb()
        self.model = Model()
        self.sender, self.server = OneByOne(sender, self.model), server
        self.hands: dict[str, list[Claimed]] = {"w1": [], "w2": []}
        self.forgotten: list[Claimed] = []  # by workers that died, or were settled before
        self.unheard: list[Unheard] = []
        self.enqueued: list[tuple[Call[list[bool | str]], list[bool | str]]] = []
        self.made = 0

    # Clients

    @initialize(jobs=new_jobs, more=new_jobs)
    def begin(self, jobs: list[NewJob], more: list[NewJob]) -> None:
        self.enqueue(jobs + more, arrives=True)

    @rule(jobs=new_jobs, arrives=st.booleans())
    def enqueue(self, jobs: list[NewJob], arrives: bool) -> None:
        jobs = [self._named(job) for job in jobs]
        call = moves.enqueue(jobs)
        answer = self.sender.send(call if arrives else again(call))
        assert answer == [self.model.enqueue(job, delayed=job.due in LATER) for job in jobs]
        self.enqueued.append((call, answer))

    @rule(queue=queues, levels=st.lists(priorities, min_size=6, max_size=12))
    def enqueue_many(self, queue: str, levels: list[Priority]) -> None:
        self.enqueue([attrs.evolve(PLAIN, queue=queue, priority=level) for level in levels], arrives=True)

    @rule(data=st.data(), jobs=new_jobs, ignore=st.sampled_from([False, False, True]))
    def enqueue_with_dependencies(self, data: st.DataObject, jobs: list[NewJob], ignore: bool) -> None:
        """A later one of the call may wait for an earlier one; rarely for one that does not exist."""
        new: list[NewJob] = []
        for job in map(self._named, jobs):
            live = [known.new.id for known in self.model.of(*UNDER_WAY)][-4:]
            known = [*live, *live, *list(self.model.jobs)[-4:], *(earlier.id for earlier in new)] or ["none"]
            rare = ["own-1"] if data.draw(st.integers(0, 9)) == 0 else []
            ids = data.draw(st.lists(st.sampled_from([*known, *rare]), max_size=3))
            new.append(waiting_for(job, ids, ignore=ignore) if ids else job)
        call = moves.enqueue(new)
        if unknown := self.model.unknown(new):
            with pytest.raises(DependencyNotFound, match=unknown):
                self.sender.send(call)
            return
        answer = self.sender.send(call)
        assert answer == [self.model.enqueue(job, delayed=job.due in LATER) for job in new]
        self.enqueued.append((call, answer))

    @precondition(lambda self: self.model.jobs)
    @rule(
        data=st.data(), n=st.integers(2, 6), ignore=st.booleans(), keep=st.sampled_from([HOUR, timedelta(0)])
    )
    def enqueue_many_that_wait_for_one(
        self, data: st.DataObject, n: int, ignore: bool, keep: timedelta
    ) -> None:
        """More than one call tells, and each but the first may be waited for by the next."""
        likely = [*self.model.of(*UNDER_WAY)[-4:], *self.model.of(FAILED, CANCELLED)[-2:]]
        one = self._one(data, likely or [*self.model.jobs.values()]).new.id
        jobs = [attrs.evolve(self._named(PLAIN), queue=data.draw(queues), keep_failed=keep) for _ in range(n)]
        jobs = [waiting_for(job, [one], ignore=ignore) for job in jobs]
        chained = data.draw(st.lists(st.sampled_from(jobs), max_size=4))
        jobs += [waiting_for(self._named(PLAIN), [job.id], ignore=False) for job in chained]
        call = moves.enqueue(jobs)
        answer = self.sender.send(call)
        assert answer == [self.model.enqueue(job, delayed=False) for job in jobs]
        self.enqueued.append((call, answer))

    @precondition(lambda self: self.enqueued)
    @rule(data=st.data())
    def enqueue_sent_again_adds_nothing_and_answers_the_same(self, data: st.DataObject) -> None:
        call, answer = data.draw(st.sampled_from(self.enqueued))
        assert self.sender.send(again(call)) == answer

    @rule(job=single, extra=st.sampled_from([*KEYS, DEBOUNCED, DEBOUNCED]))
    def enqueue_with_a_key(self, job: NewJob, extra: dict[str, str]) -> None:
        due = HOUR if "debounce" in extra else None
        self.enqueue([attrs.evolve(job, id="", extra=extra, due=due)], arrives=True)

    # Workers

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

    def _ask_again(self, lost: Unheard, *, heard: bool) -> None:
        reply = self.sender.send(again(lost.call))
        left = {}
        for queue, n in lost.wants.items():
            held = [job for job in self.model.of(ACTIVE, queue=queue) if job.token == lost.token]
            given = [claimed for claimed in reply.jobs if claimed.queue == queue]
            assert {claimed.id for claimed in given[: len(held)]} == {job.new.id for job in held}
            for claimed in given[: len(held)]:
                self.model.agrees(claimed)
            for job in held:
                job.lease_over = False
            more = max(0, n - len(held))
            self.model.readied.discard(queue)
            left[queue] = self.model.claim(queue, more, lost.token, given[len(held) :], expired(reply, queue))
        left |= {queue: len(self.model.waiting(queue)) for queue in self.model.readied - self.model.paused}
        self._dropped(reply.dropped)
        assert reply.refused == lost.refused
        assert reply.set_aside == ()
        assert dict(reply.left) == {queue: count for queue, count in left.items() if count}
        self._runs_at(lost.worker, reply.jobs)
        if heard:
            self.unheard.remove(lost)
            self.hands[lost.worker] += reply.jobs

    @precondition(lambda self: any(self.hands.values()))
    @rule(worker=workers)
    def renew(self, worker: str) -> None:
        held = self.hands[worker]
        call = moves.renew(
            worker, [(c.queue, c.id, c.token) for c in held], lease=LEASE, ttl=LEASE, busy=bool(held)
        )
        renewal = self.sender.send(call)
        assert not renewal.known
        assert renewal.lost == tuple((c.id, c.token) for c in held if not self.model.holds(c))
        for claimed in held:
            if self.model.holds(claimed):
                self.model.jobs[claimed.id].lease_over = False

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

    @precondition(lambda self: self.model.of(DELAYED, HELD) or self.model.ghosts or self.model.untold)
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
        self.model.expire(job)
        job_id = job.new.id
        self.server.delete(
            keys.job(job_id), keys.results(job_id), keys.dependencies(job_id), keys.depends_on(job_id)
        )
        self.server.zadd(STATE_KEYS[job.place](job.new.queue), {job.new.id: 1})

    # Operators and schedulers

    @precondition(lambda self: len(self.model.paused) < len(QUEUES))
    @rule(queue=queues)
    def pause(self, queue: str) -> None:
        assert self.sender.send(moves.pause(queue)) == (queue not in self.model.paused)
        self.model.paused.add(queue)

    @rule(queue=queues)
    def resume(self, queue: str) -> None:
        assert self.sender.send(moves.resume(queue)) == (queue in self.model.paused)
        self.model.paused.discard(queue)

    def _twice(self, call: Call[T]) -> T:
        """An operator's reply is lost, and the call sent again."""
        answer = self.sender.send(call)
        assert self.sender.send(again(call)) == answer
        return answer

    @precondition(lambda self: len(self.model.jobs) > MANY)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        held = [job.new.id for job in self.model.of(HELD)]
        job_id = data.draw(st.sampled_from(["own-1", "own-2", *held, *held, *self.model.jobs]))
        job = self.model.jobs.get(job_id)
        if job is None or job.place == ACTIVE:
            with pytest.raises(JobNotFound if job is None else JobStateError):
                self.sender.send(operators.remove(job_id))
        else:
            assert self._twice(operators.remove(job_id)) is STATES[job.place]
            self.model.remove(job)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        running = [job.new.id for job in self.model.of(ACTIVE)]
        apart = [job.new.id for job in self.model.of(HELD, DEFERRED, DELAYED)]
        ended = [job.new.id for job in self.model.of(*ENDED)][-3:]
        job_id = data.draw(
            st.sampled_from([*running, *running, *apart, *ended, *list(self.model.jobs)[-5:], "own-1"])
        )
        self._cancel(job_id)

    def _cancel(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.place in ENDED:
            with pytest.raises(JobNotFound if job is None else JobStateError):
                self.sender.send(operators.cancel(job_id))
            return
        assert self._twice(operators.cancel(job_id)) is STATES[job.place]
        if job.place == ACTIVE:
            self.model.mark_cancelled(job)
        else:
            self.model.cancel(job)

    @precondition(lambda self: any(self.model.cancels.values()))
    @rule(data=st.data(), all_of_them=st.booleans())
    def hear_of_cancels(self, data: st.DataObject, all_of_them: bool) -> None:
        """A worker asks once more than it has heard, as when a reply is lost."""
        worker = data.draw(st.sampled_from([name for name, asked in self.model.cancels.items() if asked]))
        asked = self.model.cancels[worker]
        heard = {*asked} if all_of_them else data.draw(st.sets(st.sampled_from(sorted(asked))))
        reply = self.sender.send(moves.cancels(worker, [tuple(member.split(":")) for member in heard]))
        asked -= heard
        assert {f"{job_id}:{token}" for job_id, token in reply} == asked

    @rule(data=st.data(), attempts=st.integers(1, 3))
    def retry(self, data: st.DataObject, attempts: int) -> None:
        ended = [job.new.id for job in self.model.of(*ENDED)]
        self._retry(data.draw(st.sampled_from(ended + ended + [*self.model.jobs, "own-1"])), attempts)

    @precondition(lambda self: any(job.key for job in self.model.of(*ENDED)))
    @rule(data=st.data(), another_has_the_key=st.booleans())
    def retry_one_with_a_key(self, data: st.DataObject, another_has_the_key: bool) -> None:
        job = self._one(data, [job for job in self.model.of(*ENDED) if job.key])
        if another_has_the_key:
            extra = {"unique": job.new.extra["unique"], "unique_until": "done"}
            self.enqueue([attrs.evolve(PLAIN, queue=job.new.queue, extra=extra)], arrives=True)
        self._retry(job.new.id, attempts=1)

    def _retry(self, job_id: str, attempts: int) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.place not in ENDED:
            with pytest.raises(JobNotFound if job is None else JobStateError):
                self.sender.send(operators.retry(job_id, attempts=attempts))
        elif holder := self.model.in_the_way(job):
            with pytest.raises(JobStateError, match=holder):
                self.sender.send(operators.retry(job_id, attempts=attempts))
        else:
            assert self._twice(operators.retry(job_id, attempts=attempts)) is STATES[job.place]
            self.model.retry(job, attempts)

    @precondition(lambda self: len(self.model.jobs) > MANY)
    @rule(queue=queues, case=st.sampled_from([(False, 2), (False, 1000), (True, 1000)]))
    def drain(self, queue: str, case: tuple[bool, int]) -> None:
        delayed, limit = case
        later = self.server.zrange(keys.delayed(queue), 0, -1) if delayed else []
        drained = self.sender.send(moves.drain(queue, delayed=delayed, limit=limit))
        assert drained == self.model.drain(queue, delayed=[str(i, "ascii") for i in later], limit=limit)

    @rule(
        data=st.data(),
        schedule=st.sampled_from(["nightly", "hourly"]),
        slot=st.sampled_from([0, 0, 1, 1, 2, 3, 4, 5]),
        jobs=new_jobs,
    )
    def fire(self, data: st.DataObject, schedule: str, slot: int, jobs: list[NewJob]) -> None:
        if slot == 5:  # not yet due
            wait = self.sender.send(moves.fire(schedule, datetime.now(UTC) + HOUR, "", jobs))
            assert wait.state == "early"
            assert HOUR / 2 < wait.wait <= HOUR
            return
        jobs = [self._named(job) for job in jobs]
        at = LONG_AGO + slot * HOUR
        begun = self.model.parts.get((schedule, slot), 0)
        first = data.draw(st.sampled_from([begun, begun, begun, 0]))
        last = data.draw(st.booleans())
        fired = self.sender.send(moves.fire(schedule, at, "", jobs, first=first, last=last))
        if self.model.slots.get(schedule, -1) >= slot:
            assert fired.state == "known"
            return
        if first == begun:
            for job in jobs:
                self.model.enqueue(job, delayed=job.due in LATER)
            begun += len(jobs)
            if last:  # a later slot that was begun stays so
                self.model.slots[schedule] = slot
                self.model.parts.pop((schedule, slot), None)
            else:
                self.model.parts = {key: n for key, n in self.model.parts.items() if key[0] != schedule}
                self.model.parts[schedule, slot] = begun
            assert fired.state == ("fired" if last else "begun")
        else:
            assert fired.state == "begun"
        assert fired.jobs == begun

    # Everybody

    @rule()
    def reading_changes_nothing(self) -> None:
        before = self._dump()
        for queue in QUEUES:
            for place, state in STATES.items():
                page = self.sender.send(pages.page(queue, state, 0, 1000))
                wanted = [job.new.id for job in self.model.of(place, queue=queue)]
                if state is JobState.WAITING:
                    assert list(page.ids) == self.model.waiting(queue)
                elif wanted:
                    ghosts = [g[2] for g in self.model.ghosts if g[:2] == (place, queue)]
                    assert sorted(page.ids) == sorted(wanted + ghosts)
        for job_id in [*list(self.model.jobs)[-6:], "own-1", "own-2"]:
            known, found = self.model.jobs.get(job_id), self.sender.send(reads.job(job_id))
            assert (found and found.state) == (known and STATES[known.place])
        self.sender.send(health.places(QUEUES, 100))
        self.sender.send(health.leases(QUEUES, 100))
        self.sender.send(reads.queue_names())
        self.sender.send(reads.stats(QUEUES))
        assert self._dump() == before

    @invariant()
    def each_job_is_where_the_model_has_it_and_nowhere_else(self) -> None:
        self.model.moment += 1
        assert seen(self.server) == self.model.picture()
        for job in self.model.of(DEFERRED):
            assert job.outstanding == [*job.dependencies.values()].count("") > 0

    @invariant()
    def stats_agree(self) -> None:
        stats = self.sender.send(reads.stats(QUEUES))
        for queue in QUEUES:
            ghosts = sum(ghost[:2] == (FAILED, queue) for ghost in self.model.ghosts)
            assert stats[queue].stats == QueueStats(
                waiting=len(self.model.of(WAITING, HELD, queue=queue)),
                active=len(self.model.of(ACTIVE, queue=queue)),
                completed=self.model.completed[queue],
                failed=len(self.model.of(FAILED, queue=queue)) + ghosts,
                delayed=len(self.model.of(DELAYED, queue=queue)),
                paused=queue in self.model.paused,
            )

    @invariant()
    def no_worker_sleeps_beside_ready_work(self) -> None:
        for queue in QUEUES:
            tokens = self.server.llen(keys.wake(queue))
            assert tokens in (0, 1)
            assert tokens or queue in self.model.paused or not self.model.waiting(queue)

    # How

    def _named(self, job: NewJob) -> NewJob:
        self.made += 1
        data = b"[%d]" % self.made
        return attrs.evolve(job, id=job.id or f"job-{self.made:04}", own_id=bool(job.id), data=data)

    def _one(self, data: st.DataObject, jobs: Sequence[Known]) -> Known:
        return data.draw(st.sampled_from(jobs))

    def _end_leases(self, jobs: Sequence[Known]) -> None:
        for job in jobs:
            job.lease_over = True
            self.server.zadd(keys.LEASES, {job.lease: 1})

    def _turn(self, worker: str, outcomes: list[Settlement], wants: dict[str, int], fate: str) -> None:
        for queue in (queue for queue, n in wants.items() if n):
            self.server.lpop(keys.wake(queue))  # it was woken; whoever leaves work behind wakes the next
        call = moves.turn(worker, outcomes, wants, lease=LEASE, largest=1 << 20)
        turn = self.sender.send(again(call) if fate == "late" else call)
        counted = [(outcome, self.model.settle(outcome)) for outcome in outcomes]
        self.forgotten = [*self.forgotten, *(outcome.job for outcome, _ in counted)][-20:]
        self.hands[worker] = [c for c in self.hands[worker] if all(c is not o.job for o in outcomes)]
        assert turn.refused == tuple(outcome.job.id for outcome, counts in counted if not counts)
        set_aside = [o for o, counts in counted if counts and o.kind == "quarantine"]
        assert [entry.entry for entry in turn.set_aside] == [o.job.id for o in set_aside]
        unheard, left = Unheard(call, worker, wants, turn.refused), {}
        for queue, n in wants.items():
            given = [claimed for claimed in turn.jobs if claimed.queue == queue]
            self.model.readied.discard(queue)
            left[queue] = self.model.claim(queue, n, unheard.token, given, expired(turn, queue))
        left |= {queue: len(self.model.waiting(queue)) for queue in self.model.readied - self.model.paused}
        self._dropped(turn.dropped)
        self._runs_at(worker, turn.jobs)
        assert dict(turn.left) == {queue: count for queue, count in left.items() if count}
        if fate == "lost":
            self.unheard = [*self.unheard, unheard][-5:]
        elif fate == "twice":
            self.unheard.append(unheard)
            self._ask_again(unheard, heard=True)
        else:
            self.hands[worker] += turn.jobs

    def _dropped(self, dropped: Sequence[SetAside]) -> None:
        of_dependencies = [(entry.queue, entry.entry) for entry in dropped if is_dependent(entry)]
        assert sorted(of_dependencies) == sorted(self.model.dropped)

    def _runs_at(self, worker: str, jobs: Sequence[Claimed]) -> None:
        for claimed in jobs:
            self.model.jobs[claimed.id].worker = worker

    def _dump(self) -> dict[Any, Any]:
        names = sorted(self.server.keys())
        with self.server.pipeline() as pipeline:
            for name in names:
                pipeline.execute_command("DUMP", name)  # type: ignore[no-untyped-call]
                pipeline.execute_command("PEXPIRETIME", name)  # type: ignore[no-untyped-call]
            return dict(zip(names, zip(*[iter(pipeline.execute())] * 2, strict=True), strict=True))


STATE_KEYS: dict[str, Callable[[str], str]] = {
    COMPLETED: keys.completed,
    FAILED: keys.failed,
    CANCELLED: keys.cancelled,
}


def is_dependent(dropped: SetAside) -> bool:
    """Whether a job failed since its dependency did; otherwise it has expired."""
    return dropped.reason.startswith("its dependency")


def expired(turn: Turn, queue: str) -> list[str]:
    """Ids of the queue's jobs that came too late."""
    return [entry.entry for entry in turn.dropped if entry.queue == queue and not is_dependent(entry)]


def waiting_for(job: NewJob, ids: Sequence[str], *, ignore: bool) -> NewJob:
    """The job as it is enqueued with these dependencies."""
    extra = {"dependency_id": ids[0], "dependency_ids": json.dumps(ids)}
    if ignore:
        extra["allow_dependency_failures"] = "1"
    own = {} if "debounce" in job.extra else job.extra  # which nobody puts off while it waits for others
    return attrs.evolve(job, extra={**own, **extra})


def outcome(kind: Any, claimed: Claimed, delay: timedelta, blob: bytes) -> Settlement:
    """How a claimed job ended, with all that its kind may carry."""
    postponed = kind in ("retry", "crashed", "snooze")
    group = GROUPS[bool(delay)] if kind == "hold" else ""
    return Settlement(
        kind,
        claimed,
        SUBTYPE,
        7,
        delay if postponed else timedelta(0),
        "ValueError: no",
        blob=blob,
        group=group,
    )


def again(call: Call[T]) -> Call[T]:
    """The call as it is sent when no reply came to the first try."""
    return Call(call.again, call.parse)

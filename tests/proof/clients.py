"""What clients and schedulers do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from cgjobs.broker import moves
from cgjobs.broker.values import NewJob
from cgjobs.errors import DependencyNotFound
from cgjobs.model import Priority
from tests.proof.job import CANCELLED, FAILED
from tests.proof.strategies import (
    DEBOUNCED,
    HOUR,
    KEYS,
    LATER,
    LONG_AGO,
    PLAIN,
    UNDER_WAY,
    again,
    new_jobs,
    priorities,
    queues,
    single,
    waiting_for,
)
from tests.proof.table import Table

schedules = st.sampled_from(["nightly", "hourly"])


class Clients(Table):
    """Jobs are enqueued, one by one, many at once, with keys and with dependencies."""

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

    @rule(
        data=st.data(),
        schedule=schedules,
        slot=st.sampled_from([0, 0, 1, 1, 2, 3, 4, 5]),
        jobs=new_jobs,
    )
    def fire(self, data: st.DataObject, schedule: str, slot: int, jobs: list[NewJob]) -> None:
        if slot == 5:  # not yet due
            wait = self.sender.send(moves.fire(schedule, datetime.now(UTC) + HOUR, "", jobs))
            assert wait.state == "early"
            assert HOUR / 2 < wait.wait <= HOUR
            return
        begun = self.model.parts.get((schedule, slot), 0)
        first = data.draw(st.sampled_from([begun, begun, begun, 0]))
        self._fire(schedule, slot, jobs, first, last=data.draw(st.booleans()))

    @rule(schedule=schedules, slot=st.integers(0, 4), jobs=new_jobs, more=new_jobs)
    def fire_a_part_that_is_there(
        self, schedule: str, slot: int, jobs: list[NewJob], more: list[NewJob]
    ) -> None:
        """Another scheduler has read the slot before the first one added its part."""
        begun = self.model.parts.get((schedule, slot), 0)
        self._fire(schedule, slot, jobs, begun, last=False)
        self._fire(schedule, slot, more, begun, last=False)

    def _fire(self, schedule: str, slot: int, jobs: list[NewJob], first: int, last: bool) -> None:
        jobs = [self._named(job) for job in jobs]
        begun = self.model.parts.get((schedule, slot), 0)
        at = LONG_AGO + slot * HOUR
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

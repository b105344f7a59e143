"""What must be true of jobs after each move: the engine's promises in Python, without a server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from cgjobs.broker.values import Claimed, NewJob, Settlement
from cgjobs.model import Priority
from tests.proof.dependents import DEFERRED
from tests.proof.job import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    COUNTED,
    DELAYED,
    FAILED,
    GROUPS,
    HELD,
    MAX_CRASHES,
    QUEUES,
    SUBTYPE,
    WAITING,
    Known,
)
from tests.proof.marks import Marks

# The stated share is 8, 4, 2, 1 of 15: so many picks in a row may pass over a level in which a job waits.
_PATIENCE = {Priority.CRITICAL: 3, Priority.HIGH: 4, Priority.NORMAL: 7, Priority.LOW: 14}


@attrs.define
class Model(Marks):
    """All jobs, where they are, and what was counted."""

    lines: dict[tuple[str, Priority], list[str]] = attrs.field(
        factory=lambda: {(queue, level): [] for queue in QUEUES for level in Priority}
    )
    held: dict[tuple[str, str], list[str]] = attrs.field(
        factory=lambda: {(queue, group): [] for queue in QUEUES for group in GROUPS}
    )
    paused: set[str] = attrs.field(factory=set)
    completed: Counter[str] = attrs.field(factory=Counter)
    cancels: dict[str, set[str]] = attrs.field(factory=dict)
    slots: dict[str, int] = attrs.field(factory=dict)
    keyed: dict[tuple[str, str], tuple[str, bool]] = attrs.field(factory=dict)  # key -> id, for a time
    parts: dict[tuple[str, int], int] = attrs.field(factory=dict)  # jobs of a slot that is not complete
    passed: Counter[tuple[str, Priority]] = attrs.field(factory=Counter)
    moment: int = 1000

    def entries_before(self, job: Known) -> int:
        """How many are in front of it where jobs are in a list."""
        if job.place == WAITING:
            return self.lines[job.new.queue, job.new.priority].index(job.new.id)
        return self.held[job.new.queue, job.group].index(job.new.id) if job.place == HELD else 0

    def of(self, *places: str, queue: str = "") -> list[Known]:
        return [job for job in self.jobs.values() if job.place in places and queue in ("", job.new.queue)]

    def waiting(self, queue: str) -> list[str]:
        return [job_id for level in Priority for job_id in self.lines[queue, level]]

    def claimable(self) -> list[str]:
        return [queue for queue in QUEUES if queue not in self.paused and self.waiting(queue)]

    def holds(self, claimed: Claimed) -> bool:
        """Whether this claim is the running attempt of its job."""
        job = self.jobs.get(claimed.id)
        return job is not None and job.place == ACTIVE and job.token == claimed.token

    def runs_again(self, claimed: Claimed) -> bool:
        """Whether another attempt of its job runs by now."""
        job = self.jobs.get(claimed.id)
        return job is not None and job.place == ACTIVE and job.token != claimed.token

    # Moves

    def enqueue(self, new: NewJob, *, delayed: bool) -> bool | str:
        if new.id in self.jobs:
            return False
        job = Known(new, left=new.attempts - 1, created=self.calls, keeps_due=delayed)
        holder = self._take(job)
        if holder and "debounce" in new.extra:
            first = self.jobs.get(holder)
            if first and "debounce" in first.new.extra:
                if not first.started:
                    self.instead[new.id] = holder
                    self._take_over(first, new)
                    return holder
                holder = ""
                self.keyed[new.queue, new.extra["unique"]] = (new.id, False)
        if holder:
            self.instead[new.id] = holder
            return holder
        self.jobs[new.id] = job
        if new.own_id:
            del self.entries[new.id]
        if "dependency_ids" in new.extra:
            self._place(job, DEFERRED)
            self.begin_waiting(job)
        else:
            self._place(job, DELAYED if delayed else WAITING)
        return True

    def claim(
        self, queue: str, n: int, token: str, given: Sequence[Claimed], dropped: Sequence[str] = ()
    ) -> int:
        """Check what a claim gave and dropped of one queue; gives how many jobs it must say are left."""
        size, taken = len(self.waiting(queue)), len(given) + len(dropped)
        assert taken == (0 if queue in self.paused else min(n, size))
        for level in Priority:
            line = self.lines[queue, level]
            here = {*dropped, *(claimed.id for claimed in given)} & {*line}
            assert {*line[: len(here)]} == here, "first come, first served"
        for job_id in dropped:
            job = self.jobs[job_id]
            assert self.late(job)
            self.counters[f"expired|{queue}"] += 1
            self._fail(job)
            self.ended(job, "failed")
        for claimed in given:
            job = self.jobs[claimed.id]
            assert not self.late(job)
            line = self.lines[queue, job.new.priority]
            assert line[0] == claimed.id, "first come, first served"
            if not dropped:  # else nobody knows between which of these they were taken
                self._keep_the_share(queue, job.new.priority)
            line.pop(0)
            job.place, job.token, job.lease_over, job.started = ACTIVE, token, False, True
            if job.until == "started":
                self._release(job)
            self.agrees(claimed)
        if dropped:
            self.passed.clear()
        return 0 if queue in self.paused or n == 0 else len(self.waiting(queue))

    def late(self, job: Known) -> bool:
        """Whether it must not start any more; a retry by hand lets it."""
        return "expires_at" in job.new.extra and not job.made and not job.recoveries

    def agrees(self, claimed: Claimed) -> None:
        """A claimed job says what the model knows of it."""
        job = self.jobs[claimed.id]
        told = (claimed.queue, claimed.data, claimed.retries_made, claimed.retries_left, claimed.recoveries)
        assert told == (job.new.queue, job.new.data, job.made, job.left, job.recoveries)
        assert (claimed.token, claimed.priority) == (job.token, job.new.priority.value)
        assert dict(claimed.dependencies) == job.dependencies
        assert claimed.checkpoint.decode() == job.checkpoint

    def settle(self, outcome: Settlement) -> bool:
        """Whether the outcome counts; if so the job has moved."""
        queue, job_id = outcome.job.queue, outcome.job.id
        if not self.holds(outcome.job):
            self.counters[f"stale|{queue}|{outcome.subtype}"] += 1
            return False
        job = self.jobs[job_id]
        if outcome.kind == "cancelled" or (job.cancel and outcome.kind not in ("completed", "quarantine")):
            self.cancel(job)
            return True
        self.counters[f"{COUNTED[outcome.kind]}|{queue}|{outcome.subtype}"] += 1
        if outcome.kind == "completed":
            self.completed[queue] += 1
            if not job.new.keep_completed:
                del self.entries[job_id]
            self.entries[job_id] += bool(outcome.blob)
            job.result, job.checkpoint = outcome.blob.decode(), ""
            if job.until == "done":
                self._release(job)
            if job.new.keep_completed:
                self._place(job, COMPLETED)
                self.keep_at_most(job)
            else:
                self.jobs.pop(job_id)
            self.ended(job, "completed")
        elif outcome.kind in ("failed", "quarantine", "unknown"):
            if outcome.kind == "quarantine":
                self.counters[f"quarantined|{queue}"] += 1
            self._mark_unknown(job, outcome.kind == "unknown")
            self._fail(job)
            self.ended(job, "failed")
        elif outcome.kind == "hold":
            self._place(job, HELD)
            job.group = outcome.group
            self.held[queue, job.group].append(job_id)
        elif outcome.kind == "return":
            self._place(job, WAITING, front=True)
        else:
            if outcome.kind in ("retry", "crashed"):
                job.recoveries += outcome.kind == "crashed"
                self.entries[job_id] += 1
                job.made, job.left = job.made + 1, max(0, job.left - 1)
            self._place(job, DELAYED)
            job.due = None if outcome.delay else (self.moment, job_id)
        return True

    def reap(self, limit: int) -> list[tuple[str, str, str]]:
        fates = []
        for job in sorted((job for job in self.of(ACTIVE) if job.lease_over), key=lambda job: job.lease)[
            :limit
        ]:
            queue, job_id = job.new.queue, job.new.id
            job.recoveries += 1
            self.counters[f"recovered|{queue}"] += 1
            if job.cancel:
                fate = "cancelled"
                self.cancel(job)
            elif job.begun == job.token:
                fate = "unknown"
                self._mark_unknown(job, True)
                self.fail(job)
                self.ended(job, "failed")
            elif job.recoveries >= MAX_CRASHES:
                fate = "poison"
                self.fail(job)
                self.ended(job, "failed")
            else:
                fate = "recovered"
                self._place(job, WAITING, front=True)
            fates.append((queue, job_id, fate))
        return fates

    def promote(self, queues: Sequence[str], limit: int) -> int:
        promoted = 0
        for queue in queues:
            due = [job for job in self.of(DELAYED, queue=queue) if job.due]
            for job in sorted(due, key=lambda job: job.due or (0, ""))[: limit - promoted]:
                self._place(job, WAITING)
                promoted += 1
            self.sweep(queue)
        self.go_on_telling()
        return promoted

    def release(self, queue: str, group: str, limit: int) -> int:
        released = self.held[queue, group][:limit]
        for job_id in reversed(released):
            self._place(self.jobs[job_id], WAITING, front=True)
        return len(released)

    def groups(self, queues: Sequence[str]) -> set[tuple[str, str]]:
        return {key for key, ids in self.held.items() if ids and key[0] in queues}

    def remove(self, job: Known) -> None:
        self._leave(job)
        self._release(job)
        self.forget(job.new.id)
        self.ended(job, "removed")

    def cancel(self, job: Known) -> None:
        """End it as cancelled."""
        self._release(job)
        self._place(job, CANCELLED)
        self.counters[f"cancelled|{job.new.queue}"] += 1
        if not job.new.keep_failed:
            self.forget(job.new.id)
        self.ended(job, "cancelled")

    def mark_cancelled(self, job: Known) -> None:
        """Somebody wants it cancelled while it runs."""
        job.cancel = True
        self.cancels.setdefault(job.worker, set()).add(f"{job.new.id}:{job.token}")

    def in_the_way(self, job: Known) -> str:
        """The job that has the key of one that shall be retried, if another one has it."""
        holder = self._holder(job.key) if job.key else ""
        return holder if holder != job.new.id else ""

    def retry(self, job: Known, attempts: int) -> None:
        self._take(job)
        extra = {name: value for name, value in job.new.extra.items() if name != "expires_at"}
        job.new = attrs.evolve(job.new, extra=extra)
        if job.place == COMPLETED:  # its result must not be taken for that of the next run
            del self.entries[job.new.id]
        job.made, job.left, job.recoveries, job.cancel, job.result = 0, attempts - 1, 0, False, ""
        job.meta, job.begun, job.unknown = "", "", False
        waits = "dependency_ids" in job.new.extra and self.wait_again(job)
        self._place(job, DEFERRED if waits else WAITING)

    def drain(self, queue: str, *, delayed: Sequence[str], limit: int) -> int:
        """``delayed``: those to remove too, in the server's order."""
        held = [job_id for group in GROUPS for job_id in self.held[queue, group]]
        waiting = [self.jobs[job_id] for job_id in [*self.waiting(queue), *held]][:limit]
        later = [self.jobs[job_id] for job_id in delayed]
        for job in waiting + later:
            self.remove(job)
        return len(waiting + later)

    def fail(self, job: Known) -> None:
        self.counters[f"failed|{job.new.queue}|{SUBTYPE}"] += 1
        self._fail(job)

    def make_ready(self, job: Known) -> bool:
        self._place(job, DELAYED if job.keeps_due else WAITING)
        return not job.keeps_due

    def _fail(self, job: Known) -> None:
        self.entries[job.new.id] += 1
        self._release(job)
        self._place(job, FAILED)
        if not job.new.keep_failed:
            self.forget(job.new.id)
        else:
            self.keep_at_most(job)

    def _mark_unknown(self, job: Known, unknown: bool) -> None:
        job.unknown = unknown
        if unknown:
            self.counters[f"unknown|{job.new.queue}|{SUBTYPE}"] += 1

    def _holder(self, key: tuple[str, str]) -> str:
        holder, timed = self.keyed.get(key, ("", False))
        return holder if timed or holder in self.jobs else ""

    def _take(self, job: Known) -> str:
        """Take its key, or give the job that has it."""
        if job.key is None:
            return ""
        if holder := self._holder(job.key):
            return holder
        self.keyed[job.key] = (job.new.id, job.until.isdigit())
        return ""

    def _release(self, job: Known) -> None:
        if job.key and self.keyed.get(job.key, ("",))[0] == job.new.id:
            del self.keyed[job.key]

    def _take_over(self, job: Known, later: NewJob) -> None:
        level = job.new.priority if job.place == WAITING else later.priority
        job.new = attrs.evolve(later, id=job.new.id, own_id=job.new.own_id, priority=level)
        job.left, job.due = later.attempts - 1, None
        self.counters[f"debounced|{later.queue}|{SUBTYPE}"] += 1

    def _leave(self, job: Known) -> None:
        line = self.lines[job.new.queue, job.new.priority]
        if job.new.id in line:
            line.remove(job.new.id)
        if job.place == HELD:
            self.held[job.new.queue, job.group].remove(job.new.id)

    def _place(self, job: Known, place: str, *, front: bool = False) -> None:
        self._leave(job)
        if place == WAITING:
            line = self.lines[job.new.queue, job.new.priority]
            line.insert(0 if front else len(line), job.new.id)
        self.ghosts.discard((place, job.new.queue, job.new.id))
        job.place, job.token, job.due, job.group = place, "", None, ""
        job.ended = self.calls

    def _keep_the_share(self, queue: str, taken: Priority) -> None:
        for level in Priority:
            waits = level is not taken and bool(self.lines[queue, level])
            self.passed[queue, level] = self.passed[queue, level] + 1 if waits else 0
            assert self.passed[queue, level] <= _PATIENCE[level], f"a {level} job is passed over too long"

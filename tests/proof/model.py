"""What must be true of jobs after each move: the engine's promises in Python, without a server.

`Model.picture` says which keys a server must then have; `seen` reads those that a real one has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import redis

from cgjobs import keys
from cgjobs.broker.values import Claimed, NewJob, Settlement
from cgjobs.model import Priority
from tests.proof.dependents import DEFERRED, Dependents

QUEUES = ("alpha", "beta")
SUBTYPE = "work.note"
MAX_CRASHES = 3
AHEAD, PAST = True, False

WAITING, ACTIVE, DELAYED, COMPLETED, FAILED = "queued", "started", "scheduled", "finished", "failed"
HELD, CANCELLED = "held", "canceled"
GROUPS = ("type:work.note", "version:work.note:2")
_REGISTRIES = {
    DELAYED: keys.delayed,
    COMPLETED: keys.completed,
    FAILED: keys.failed,
    CANCELLED: keys.cancelled,
    DEFERRED: keys.deferred,
}
_COUNTED = {
    "completed": "completed",
    "retry": "retried",
    "crashed": "retried",
    "failed": "failed",
    "quarantine": "failed",
    "snooze": "snoozed",
    "hold": "held",
    "return": "returned",
}
# The stated share is 8, 4, 2, 1 of 15: so many picks in a row may pass over a level in which a job waits.
_PATIENCE = {Priority.CRITICAL: 3, Priority.HIGH: 4, Priority.NORMAL: 7, Priority.LOW: 14}


@attrs.define
class Known:
    """One job as it must be; ``due`` is its place among the delayed jobs that are due."""

    new: NewJob
    place: str = WAITING
    token: str = ""
    left: int = 0
    made: int = 0
    recoveries: int = 0
    due: tuple[int, str] | None = None
    lease_over: bool = False
    started: bool = False
    group: str = ""
    worker: str = ""
    cancel: bool = False
    result: str = ""
    created: int = 0
    waited_for: bool = False
    dependencies: dict[str, str] = attrs.field(factory=dict)  # how each ended
    outstanding: int = 0
    failed_dependencies: int = 0
    dependency_bytes: int = 0
    keeps_due: bool = False

    @property
    def ignores_failures(self) -> bool:
        return "allow_dependency_failures" in self.new.extra

    @property
    def key(self) -> tuple[str, str] | None:
        """Its unique key, with the queue."""
        return (self.new.queue, self.new.extra["unique"]) if "unique" in self.new.extra else None

    @property
    def until(self) -> str:
        return self.new.extra.get("unique_until", "")

    @property
    def lease(self) -> str:
        return f"{self.new.queue}:{self.new.id}:{self.token}"


@attrs.define
class Model(Dependents):
    """All jobs, where they are, and what was counted."""

    lines: dict[tuple[str, Priority], list[str]] = attrs.field(
        factory=lambda: {(queue, level): [] for queue in QUEUES for level in Priority}
    )
    held: dict[tuple[str, str], list[str]] = attrs.field(
        factory=lambda: {(queue, group): [] for queue in QUEUES for group in GROUPS}
    )
    # Entries of ended jobs whose time is over: the hash is gone, promote sweeps the entry.
    ghosts: set[tuple[str, str, str]] = attrs.field(factory=set)
    entries: Counter[str] = attrs.field(factory=Counter)
    paused: set[str] = attrs.field(factory=set)
    completed: Counter[str] = attrs.field(factory=Counter)
    cancels: dict[str, set[str]] = attrs.field(factory=dict)
    slots: dict[str, int] = attrs.field(factory=dict)
    keyed: dict[tuple[str, str], tuple[str, bool]] = attrs.field(factory=dict)  # key -> id, for a time
    parts: dict[tuple[str, int], int] = attrs.field(factory=dict)  # jobs of a slot that is not complete
    passed: Counter[tuple[str, Priority]] = attrs.field(factory=Counter)
    moment: int = 1000

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
        self.counters[f"{_COUNTED[outcome.kind]}|{queue}|{outcome.subtype}"] += 1
        if outcome.kind == "completed":
            self.completed[queue] += 1
            if not job.new.keep_completed:
                del self.entries[job_id]
            self.entries[job_id] += bool(outcome.blob)
            job.result = outcome.blob.decode()
            if job.until == "done":
                self._release(job)
            self._place(job, COMPLETED) if job.new.keep_completed else self.jobs.pop(job_id)
            self.ended(job, "completed")
        elif outcome.kind in ("failed", "quarantine"):
            if outcome.kind == "quarantine":
                self.counters[f"quarantined|{queue}"] += 1
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
            self.ghosts = {ghost for ghost in self.ghosts if ghost[1] != queue}
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

    def forget(self, job_id: str) -> None:
        del self.jobs[job_id], self.entries[job_id]

    def expire(self, job: Known) -> None:
        """The time for which an ended job is kept is over: the server lets its hash go, not yet its entry."""
        self.ghosts.add((job.place, job.new.queue, job.new.id))
        self.forget(job.new.id)

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

    def _keep_the_share(self, queue: str, taken: Priority) -> None:
        for level in Priority:
            waits = level is not taken and bool(self.lines[queue, level])
            self.passed[queue, level] = self.passed[queue, level] + 1 if waits else 0
            assert self.passed[queue, level] <= _PATIENCE[level], f"a {level} job is passed over too long"

    # What a server must have

    def picture(self) -> dict[str, Any]:
        """Key -> content, as `seen` reads them: every key that is about jobs, and no other."""
        wanted: dict[str, Any] = {
            keys.waiting(queue, level): line for (queue, level), line in self.lines.items() if line
        }
        wanted |= self.picture_of_dependents()
        for worker, members in self.cancels.items():
            if members:
                wanted[keys.cancels(worker)] = sorted(members)
        for (queue, group), ids in self.held.items():
            if ids:
                wanted[keys.held(f"{queue}:{group}")] = list(ids)
                wanted.setdefault(keys.groups(queue), {})[group] = PAST
                wanted.setdefault(keys.deferred(queue), {}).update(dict.fromkeys(ids, AHEAD))
        for place, queue, job_id in self.ghosts:
            wanted.setdefault(_REGISTRIES[place](queue), {})[job_id] = PAST
        for job_id, job in self.jobs.items():
            queue = job.new.queue
            if job.place == ACTIVE:
                wanted.setdefault(keys.active(queue), {})[f"{job_id}:{job.token}"] = AHEAD
                wanted.setdefault(keys.LEASES, {})[job.lease] = PAST if job.lease_over else AHEAD
            elif job.place in _REGISTRIES:
                past = job.due or job.place == DEFERRED
                wanted.setdefault(_REGISTRIES[job.place](queue), {})[job_id] = PAST if past else AHEAD
            wanted[keys.job(job_id)] = [
                "deferred" if job.place == HELD else job.place,
                job.token,
                queue,
                str(job.made),
                str(job.left),
                str(job.recoveries),
                job.new.data.decode(),
                self._lasts(job_id),
                job.group,
                job.cancel,
                job.waited_for,
                "expires_at" in job.new.extra,
                [str(n) for n in (job.outstanding, job.failed_dependencies, job.dependency_bytes)],
            ]
        for (queue, key), (holder, timed) in self.keyed.items():
            wanted[keys.unique(f"{queue}:{key}")] = [holder, not timed]
        for job_id, count in self.entries.items():
            if count:
                wanted[keys.results(job_id)] = [count, self._lasts(job_id)]
        if counted := {name: str(number) for name, number in self.counters.items() if number}:
            wanted[keys.METRICS] = counted
        return wanted

    def _lasts(self, job_id: str) -> bool:
        """What a job is and left behind has an end of its time only once the job has ended."""
        return job_id in self.jobs and self.jobs[job_id].place in (WAITING, ACTIVE, DELAYED, HELD, DEFERRED)


_SEEN = """
local t = redis.call('TIME')
local now, found = t[1] + t[2] / 1e6, {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'list' and not string.find(key, '^cgjobs:wake:') then
    found[key] = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'zset' then
    local least = string.find(key, '^rq:wip:') and 9999999998 or now
    local members, all = {}, redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do members[all[i]] = tonumber(all[i + 1]) > least end
    found[key] = members
  elseif kind == 'set' and (string.find(key, ':dependents$') or string.find(key, '^cgjobs:cancels:')) then
    found[key] = redis.call('SORT', key, 'ALPHA')
  elseif string.find(key, '^rq:job::') then
    found[key] = {redis.call('SORT', key, 'ALPHA'), redis.call('PTTL', key) == -1}
  elseif string.find(key, '^cgjobs:dependencies:') then
    local ends, all = {}, redis.call('HGETALL', key)
    for i = 1, #all, 2 do ends[all[i]] = all[i + 1] end
    found[key] = {ends, redis.call('PTTL', key) == -1}
  elseif string.find(key, '^rq:job:') then
    local f = redis.call('HMGET', key, 'status', 'token', 'origin', 'number_of_retries', 'retries_left',
                         'recoveries', 'data', 'held', 'cancel', 'dependents', 'outstanding',
                         'dependencies_failed', 'dependency_bytes', 'expires_at')
    found[key] = {f[1] or '', f[2] or '', f[3] or '', f[4] or '0', f[5] or '0', f[6] or '0', f[7] or '',
                  redis.call('PTTL', key) == -1, f[8] or '', f[9] == '1', f[10] == '1', f[14] ~= false,
                  {f[11] or '0', f[12] or '0', f[13] or '0'}}
  elseif string.find(key, '^cgjobs:unique:') then
    found[key] = {redis.call('GET', key), redis.call('PTTL', key) == -1}
  elseif string.find(key, '^rq:results:') then
    found[key] = {redis.call('XLEN', key), redis.call('PTTL', key) == -1}
  elseif key == 'cgjobs:metrics' then
    local fields, all = {}, redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      if not string.find(all[i], '^seconds_') then fields[all[i]] = all[i + 1] end
    end
    found[key] = fields
  end
end
return cjson.encode(found)
"""


def seen(server: redis.Redis) -> dict[str, Any]:
    """Key -> content of every key that is about jobs, all at one moment."""
    return dict(json.loads(bytes(server.eval(_SEEN, 0))))

"""What may start under limits, and when: the promises of functions/limits.lua in Python, without a server.

Which jobs are held and which wait in the queue's list is the functions' own affair; here both are ready.
"""

from __future__ import annotations

import attrs

from cgjobs.broker.values import Claimed, Settlement

READY, ACTIVE, DELAYED = "ready", "active", "delayed"


@attrs.define
class Job:
    """One job that has not ended; ``fresh`` until it has started once."""

    id: str
    key: str
    place: str = READY
    token: str = ""
    fresh: bool = True
    lease_over: bool = False
    due: int = 0


@attrs.frozen
class Caps:
    """Of one queue, and of each key in it; 0 for no limit. Windows are in seconds."""

    running: int = 0
    starts: int = 0
    window: int = 0
    key_running: int = 0
    key_starts: int = 0
    key_window: int = 0

    def row(self) -> tuple[int, ...]:
        """As a claim takes them."""
        window, key_window = (self.window * 1000, self.key_window * 1000)
        return (self.running, self.starts, window, self.key_running, self.key_starts, key_window)


@attrs.define
class Starting:
    """The jobs of one queue, in the order in which they were enqueued, and the starts that still count.

    Attributes:
        now: In seconds; only the machine lets time pass.
        started: When jobs of each key started, and of all keys (None).
        waits: Until when nothing of a key, or of the queue (None), may start.
        told: By key, the jobs that were told to wait: the last one is in front.
    """

    caps: Caps
    jobs: dict[str, Job] = attrs.field(factory=dict)
    now: int = 0
    started: dict[str | None, list[int]] = attrs.field(factory=dict)
    waits: dict[str | None, int] = attrs.field(factory=dict)
    paused: bool = False
    refused: int = 0
    told: dict[str, list[str]] = attrs.field(factory=dict)

    def of(self, place: str, key: str | None = None) -> list[Job]:
        return [job for job in self.jobs.values() if job.place == place and key in (None, job.key)]

    def holds(self, claimed: Claimed) -> bool:
        job = self.jobs.get(claimed.id)
        return job is not None and job.place == ACTIVE and job.token == claimed.token

    def may_start(self) -> bool:
        """Whether some job is ready and no limit is in its way."""
        if self.paused or not self._has_room(None, self.caps.running, self.caps.starts, self.caps.window):
            return False
        return any(not job.key or self._key_has_room(job.key) for job in self.of(READY))

    def start(self, claimed: Claimed) -> None:
        """A claim gave this job: nothing was in its way, and it is the first of its key."""
        job = self.jobs[claimed.id]
        assert job.place == READY
        assert not self.paused
        assert self._has_room(None, self.caps.running, self.caps.starts, self.caps.window), (
            "the queue is full"
        )
        assert not job.key or self._key_has_room(job.key), f"the key {job.key!r} is full"
        told = [other for other in self.told.get(job.key, []) if self.jobs.get(other) in self.of(READY)]
        assert not told or told[-1] == job.id, "who was told to wait is in front of its key"
        self.told[job.key] = told[:-1]
        if job.fresh:
            line = [other.id for other in self.of(READY, job.key) if other.fresh]
            assert line[0] == job.id, "first come, first served"
        job.place, job.token, job.fresh, job.lease_over = ACTIVE, claimed.token, False, False
        for name in {None, job.key or None}:
            self.started.setdefault(name, []).append(self.now)

    def settle(self, outcome: Settlement) -> bool:
        if not self.holds(outcome.job):
            return False
        job = self.jobs[outcome.job.id]
        job.place, job.token = READY, ""
        if outcome.kind in ("completed", "failed", "cancelled"):
            del self.jobs[job.id]
        elif outcome.kind in ("retry", "snooze") or (outcome.group == "key" and not job.key):
            job.place, job.due = DELAYED, self.now + int(outcome.delay.total_seconds())
        elif outcome.kind == "limited":
            name = job.key if outcome.group == "key" else None
            ends = self.now + int(outcome.delay.total_seconds())
            self.waits[name] = max(ends, self.waits.get(name, 0))
            if name:
                self.told.setdefault(name, []).append(job.id)
        return True

    def reap(self) -> set[str]:
        taken = [job for job in self.of(ACTIVE) if job.lease_over]
        for job in taken:
            job.place, job.token = READY, ""
        return {job.id for job in taken}

    def promote(self) -> int:
        due = [job for job in self.of(DELAYED) if job.due <= self.now]
        for job in due:
            job.place = READY
        return len(due)

    def length(self) -> int:
        return len(self.of(READY)) + len(self.of(DELAYED))

    def _key_has_room(self, key: str) -> bool:
        return self._has_room(key, self.caps.key_running, self.caps.key_starts, self.caps.key_window)

    def _has_room(self, name: str | None, running: int, starts: int, window: int) -> bool:
        if self.waits.get(name, 0) > self.now or (running and len(self.of(ACTIVE, name)) >= running):
            return False
        recent = [at for at in self.started.get(name, []) if at + window > self.now]
        return not starts or len(recent) < starts

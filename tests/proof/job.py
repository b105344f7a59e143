"""One job as the model knows it, and the words for where it is."""

from __future__ import annotations

import attrs

from cgjobs.broker.values import NewJob

QUEUES = ("alpha", "beta")
SUBTYPE = "work.note"
MAX_CRASHES = 3
AHEAD, PAST = True, False

WAITING, ACTIVE, DELAYED, COMPLETED, FAILED = "queued", "started", "scheduled", "finished", "failed"
HELD, CANCELLED = "held", "canceled"
RETAINED = {COMPLETED: "result_max", FAILED: "failure_max"}
EFFECTS = ("mail", "pay")
GROUPS = ("type:work.note", "version:work.note:2")
# Under which name an outcome is counted.
COUNTED = {
    "completed": "completed",
    "retry": "retried",
    "crashed": "retried",
    "failed": "failed",
    "unknown": "failed",
    "quarantine": "failed",
    "snooze": "snoozed",
    "hold": "held",
    "limited": "limited",
    "return": "returned",
}


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
    ended: int = 0  # in which call
    marks: dict[str, str] = attrs.field(factory=dict)  # effects that may happen once
    checkpoint: str = ""
    meta: str = ""
    logged: tuple[str, int] = ("", 0)  # by which attempt, and how many lines of it
    lines: list[str] = attrs.field(factory=list)
    begun: str = ""  # the attempt of a job that may not run twice
    unknown: bool = False

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

    def most(self, place: str) -> int:
        """How many jobs of its queue are kept when it ends so; 0: any number."""
        return int(self.new.extra.get(RETAINED.get(place, ""), 0))

    @property
    def lease(self) -> str:
        return f"{self.new.queue}:{self.new.id}:{self.token}"

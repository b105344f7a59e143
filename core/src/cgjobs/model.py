"""Jobs, queues and what can be said of them: frozen values without input or output."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from cgjobs.duration import format_duration, parse_duration

MAX_RATE = 100_000
"""Most starts of a `Rate`: the broker remembers each of them for the length of its window."""
MAX_WINDOW = timedelta(days=366)
_UNITS = frozenset({"ms", "s", "m", "h", "d"})
MOST_KEPT = 1_000_000_000
"""Most jobs that `Keep` counts."""


class JobState(enum.StrEnum):
    """Where a job is. Each job is in exactly one state."""

    WAITING = "waiting"
    """Ready; the next free worker takes it."""
    ACTIVE = "active"
    """Claimed by a worker under a lease."""
    DELAYED = "delayed"
    """Due later: enqueued with a delay, waiting for a retry, or snoozed."""
    DEFERRED = "deferred"
    """Waits for other jobs."""
    HELD = "held"
    """Set aside until it can run: no worker that looked at it knows its type, for one."""
    COMPLETED = "completed"
    """Ended well."""
    FAILED = "failed"
    """Ended badly; kept so that somebody can look at it and retry it."""
    CANCELLED = "cancelled"
    """Ended because somebody said so."""

    @property
    def final(self) -> bool:
        """True when the job will not move by itself any more."""
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


class Priority(enum.StrEnum):
    """How soon a waiting job is taken. A stated share keeps the lower levels from starving."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class BackoffKind(enum.StrEnum):
    """How the wait grows from attempt to attempt."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"


@attrs.frozen
class Backoff:
    """How long to wait before the next attempt.

    Args:
        kind: ``fixed`` waits ``delay`` each time; ``exponential`` doubles it: after failed attempt n the
            wait is ``delay * 2**(n - 1)`` (the formula of BullMQ).
        delay: The first wait; not negative.
        ceiling: No wait grows past this.
        jitter: Share of the wait added at random, 0 to 1. Only ever added: never earlier than asked.
    """

    kind: BackoffKind = attrs.field(default=BackoffKind.EXPONENTIAL, converter=BackoffKind)
    delay: timedelta = attrs.field(default=timedelta(seconds=1))
    ceiling: timedelta = attrs.field(default=timedelta(hours=1))
    jitter: float = attrs.field(default=0.1)

    @delay.validator
    @ceiling.validator
    def _not_negative(self, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
        if value < timedelta(0):
            raise ValueError(f"{attribute.name} is {value}; it must not be negative")

    @jitter.validator
    def _share(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise ValueError(f"jitter is {value}; it must be from 0 to 1")

    @classmethod
    def fixed(cls, delay: timedelta, *, jitter: float = 0.1) -> Backoff:
        """Wait ``delay`` before each attempt."""
        return cls(BackoffKind.FIXED, delay, max(delay, timedelta(hours=1)), jitter)

    @classmethod
    def exponential(
        cls, delay: timedelta, *, ceiling: timedelta = timedelta(hours=1), jitter: float = 0.1
    ) -> Backoff:
        """Wait ``delay``, then twice, four times, ... up to ``ceiling``."""
        return cls(BackoffKind.EXPONENTIAL, delay, ceiling, jitter)


@attrs.frozen
class Rate:
    """So many starts in any window of a length: ``Rate(100, timedelta(minutes=1))``, written ``100/1m``.

    It is no average: whichever window of that length one looks at, no more jobs started in it.

    Args:
        count: 1 to 100,000 starts.
        window: From 1 ms to 366 days.
    """

    count: int = attrs.field()
    window: timedelta = attrs.field()

    @count.validator
    def _some(self, _attribute: attrs.Attribute[int], value: int) -> None:
        if not 1 <= value <= MAX_RATE:
            raise ValueError(f"a rate of {value} starts is not from 1 to {MAX_RATE:,}")

    @window.validator
    def _bounded(self, _attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
        if not timedelta(milliseconds=1) <= value <= MAX_WINDOW:
            raise ValueError(f"a rate over {value} is not over 1 ms to 366 days")

    @classmethod
    def parse(cls, text: object) -> Rate:
        """Read ``100/1m``; raises `ValueError`, which says how to write it."""
        hint = "write it like 100/1m: so many starts in any window of that length"
        count, slash, window = text.partition("/") if isinstance(text, str) else ("", "", "")
        if not slash:
            raise ValueError(f"{text!r} is not a rate; {hint}")
        if not re.fullmatch(r"[0-9]{1,9}", count.strip()):
            raise ValueError(f"{count.strip()!r} is no whole number of starts; {hint}")
        if window.strip() in _UNITS:
            raise ValueError(f"{text!r} is not a rate; write {count.strip()}/1{window.strip()}")
        try:
            return cls(int(count), parse_duration(window))
        except ValueError as error:
            raise ValueError(f"{text!r} is not a rate: {error}") from None

    def __str__(self) -> str:
        return f"{self.count}/{format_duration(self.window)}"


@attrs.frozen
class Keep:
    """How long a job is kept once it has ended, and with how many others.

    Args:
        age: At most this long; zero removes it at once.
        count: So many ended jobs of the queue at most, at least 1, those that would go first by age going
            first; None for any number.
    """

    age: timedelta = attrs.field(default=timedelta(days=30))
    count: int | None = attrs.field(default=None)

    @age.validator
    def _not_negative(self, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
        if value < timedelta(0):
            raise ValueError(f"age is {value}; it must not be negative")

    @count.validator
    def _some(self, attribute: attrs.Attribute[int | None], value: int | None) -> None:
        if value is not None and not 1 <= value <= MOST_KEPT:
            raise ValueError(
                f"count is {value}; it must be from 1 to {MOST_KEPT}; to keep none, set age to zero"
            )


@attrs.frozen
class Cron:
    """When a schedule fires.

    Args:
        expression: Five fields with the meaning of crontab(5), or a nickname such as ``@daily``.
        timezone: IANA name of the zone in which the fields are read.
    """

    expression: str
    timezone: str = "UTC"


@attrs.frozen
class Progress:
    """How far a running job is.

    Args:
        done: Units done so far; not negative.
        total: Units in all, or None when unknown.
        message: What is being done, for people.
    """

    done: float
    total: float | None = None
    message: str = ""

    @property
    def fraction(self) -> float | None:
        """From 0 to 1, or None when the total is unknown."""
        if self.total is None:
            return None
        return min(1.0, max(0.0, self.done / self.total)) if self.total > 0 else 1.0


@attrs.frozen
class AttemptError:
    """What went wrong in one attempt.

    Args:
        attempt: Which attempt, counted from 1.
        at: When it ended, by the server's clock.
        error: Class and message, one line.
        traceback: Traceback without frame locals, or ``""``.
        worker: Name of the worker that ran it.
    """

    attempt: int
    at: datetime
    error: str
    traceback: str
    worker: str


@attrs.frozen
class LogLine:
    """One line that a handler logged, as it is kept with the job.

    Args:
        level: ``info``, ``warn`` or ``error``; in tests ``debug`` too.
        event: What happened.
        fields: What was said of it, secrets hidden; of a line that was too long ``{"cut": <its beginning>}``.
        at: When, by the worker's clock (aware, UTC).
        attempt: In which attempt, from 1.
    """

    level: str
    event: str
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    at: datetime | None = None
    attempt: int = 1


@attrs.frozen
class Dependency:
    """What became of a job that another one depends on.

    Args:
        state: How it ended; a removed one counts as cancelled.
        result: What it returned, in wire form; None when nothing.
        result_dropped: True when it returned something too large to be handed on: more than 48 KiB of JSON,
            or more than 768 KiB together with the others.
    """

    state: JobState
    result: Any = None
    result_dropped: bool = False


@attrs.frozen
class Job:
    """One job as the broker has it.

    Args:
        id: Unique in the broker; 1 to 128 of ``A-Z a-z 0-9 _ -``.
        queue: Name of its queue.
        name: Full name of its subtype, such as ``notification.email``.
        state: Where it is.
        payload: The payload in wire form, ``type`` and camelCase keys; ``{}`` when unreadable.
        priority: Its level.
        attempt: The attempt that runs or runs next, counted from 1.
        attempts: How many attempts it has in all.
        recoveries: How often it was taken back from a dead worker, which uses up no attempt, or crashed the
            process of its isolated handler, which does.
        correlation_id: Ties log lines of one request together.
        created_at, started_at, ended_at: By the server's clock; None when that has not happened.
        run_at: When a delayed job is due, otherwise None.
        timeout: Longest run of one attempt, or None.
        progress: Last report of the handler, or None.
        worker: Name of the worker that has or had it, or ``""``.
        errors: The errors of its attempts, oldest first (the last 50).
        result: What the handler returned, in wire form; None when nothing or not kept.
        outcome_unknown: Whether it failed and nobody knows what it did: it may not run twice, and its worker
            died, was stopped, or ran out of time while it ran.
        checkpoint: What its handler wrote last with ``ctx.checkpoint``; None when nothing or no longer kept.
        depends_on: Ids of the jobs that must end before it starts.
        duplicate: True when an enqueue found this id or its unique key taken and added nothing.
        tags: The words to find it by.
        debounced: How many further enqueues were taken into it; it has the payload of the last one.
        payload_version: Version of the stored payload.
        held: The group of a held job, such as ``type:notification.sms``; otherwise ``""``.
        held_reason: Why it was held, for people, or ``""``.
    """

    id: str
    queue: str
    name: str
    state: JobState
    payload: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    priority: Priority = Priority.NORMAL
    attempt: int = 1
    attempts: int = 1
    recoveries: int = 0
    correlation_id: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    run_at: datetime | None = None
    timeout: timedelta | None = None
    progress: Progress | None = None
    worker: str = ""
    errors: tuple[AttemptError, ...] = ()
    result: Any = None
    outcome_unknown: bool = False
    checkpoint: Any = None
    depends_on: tuple[str, ...] = ()
    duplicate: bool = False
    tags: tuple[str, ...] = ()
    debounced: int = 0
    payload_version: int = 1
    held: str = ""
    held_reason: str = ""


@attrs.frozen
class BatchCounts:
    """How far a batch is.

    Args:
        total: Its jobs.
        done: Those that have ended, in whatever way.
        failed: Those of them that failed, or were cancelled or removed.
    """

    total: int
    done: int
    failed: int

    @property
    def pending(self) -> int:
        """Jobs that have not ended."""
        return self.total - self.done


@attrs.frozen
class QueueStats:
    """The specification's six numbers of one queue. Reading them changes nothing.

    Args:
        waiting: Jobs ready to be taken, all priorities, those of a paused queue and held ones included.
        active: Jobs that workers run now.
        completed: Jobs completed since the queue exists; only grows, also when they are not kept.
        failed: Failed jobs kept now.
        delayed: Jobs due later.
        paused: Whether the queue is paused.
        limited_until: Nothing starts before then, since a handler met a rate limit; None when there is no
            such time.
    """

    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int
    paused: bool
    limited_until: datetime | None = None


@attrs.frozen
class WorkerInfo:
    """One running worker as the broker knows it.

    Args:
        name: Unique name.
        queues: The queues it serves.
        pid: Process id on its host.
        hostname: Its host.
        state: ``idle``, ``busy`` or ``suspended``.
        started_at: When it started.
        last_seen_at: Its last heartbeat.
    """

    name: str
    queues: tuple[str, ...]
    pid: int
    hostname: str
    state: str
    started_at: datetime | None
    last_seen_at: datetime | None

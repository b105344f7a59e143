"""What goes into the moves and comes out of them: frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import attrs
import orjson

from cgjobs.config import QueueConfig
from cgjobs.model import JobState, Priority, Rate

# RQ's names of a job's state, as they stand in its hash.
STATES: Mapping[str, JobState] = {
    "queued": JobState.WAITING,
    "started": JobState.ACTIVE,
    "scheduled": JobState.DELAYED,
    "deferred": JobState.DEFERRED,
    "created": JobState.DEFERRED,
    "ready_to_enqueue": JobState.DEFERRED,
    "finished": JobState.COMPLETED,
    "failed": JobState.FAILED,
    "canceled": JobState.CANCELLED,
    "stopped": JobState.CANCELLED,
    "held": JobState.HELD,  # not RQ's: what our functions answer for a deferred job that is held
}

OutcomeKind = Literal[
    "completed",
    "retry",
    "crashed",
    "failed",
    "unknown",
    "quarantine",
    "cancelled",
    "snooze",
    "hold",
    "limited",
    "return",
]


@attrs.frozen
class SetAside:
    """Something that stood where a job should be and was put into quarantine.

    Args:
        queue: The queue concerned, or ``""``.
        entry: What it was, at most 200 characters.
        reason: Why it is no job.
    """

    queue: str
    entry: str
    reason: str


@attrs.frozen
class NewJob:
    """A job on its way into the broker.

    Args:
        queue: Where it waits.
        id: Its id; ``own_id`` when the caller chose it.
        priority: Its level.
        due: Wait this long, or until then; None: ready at once.
        data: The envelope in RQ's call form.
        description: One line for people, without secrets.
        timeout: Longest run of one attempt, for RQ's tools in whole seconds; None for no limit.
        attempts: How often it is tried in all.
        keep_completed, keep_failed: How long it is kept after its end.
        extra: Further fields of its hash.
    """

    queue: str
    id: str
    own_id: bool
    priority: Priority
    due: timedelta | datetime | None
    data: bytes
    description: str
    timeout: timedelta | None
    attempts: int
    keep_completed: timedelta
    keep_failed: timedelta
    extra: Mapping[str, str]

    def arguments(self) -> tuple[str | bytes | int, ...]:
        """The arguments of the server-side function, in its order."""
        due = ""
        if isinstance(self.due, timedelta):
            due = f"+{milliseconds(self.due)}"
        elif self.due is not None:
            due = str(math.ceil(self.due.timestamp() * 1000))
        return (
            self.queue,
            self.id,
            int(self.own_id),
            self.priority.value,
            due,
            self.data,
            self.description,
            math.ceil(self.timeout.total_seconds()) if self.timeout else -1,
            self.attempts - 1,
            math.ceil(self.keep_completed.total_seconds()),
            math.ceil(self.keep_failed.total_seconds()),
            orjson.dumps(self.extra) if self.extra else "",
        )


@attrs.frozen
class ProducerLimits:
    """What an enqueue must keep to.

    Args:
        most: How many jobs may wait in a queue, by queue; others have no limit.
        memory_share: So much of the server's memory is for producers; None: the functions' own default.
    """

    most: Mapping[str, int] = attrs.field(factory=dict)
    memory_share: float | None = None

    def arguments(self) -> tuple[bytes, ...]:
        """What stands behind the jobs; nothing when there is nothing to say."""
        said: dict[str, object] = {}
        if self.most:
            said["most"] = self.most
        if self.memory_share is not None:
            said["share"] = self.memory_share
        return (orjson.dumps(said),) if said else ()


UNLIMITED = ProducerLimits()


@attrs.frozen
class Claimed:
    """A job under a lease, as the claim gave it; ``checkpoint`` is JSON, or empty when there is none."""

    queue: str
    id: str
    token: str
    data: bytes
    retries_made: int
    retries_left: int
    recoveries: int
    created_at: str
    priority: str
    timeout_ms: str
    backoff: str
    checkpoint: bytes = b""
    dependencies: Mapping[str, str] = attrs.field(factory=dict, eq=False)
    """What became of each job that it depends on: how it ended and, after a space, its result's base64."""
    enqueued_at: str = ""
    """Since when it has been ready, when that is not ``created_at``."""
    started_at: str = attrs.field(default="", eq=False)
    """When its last run began; empty before the first one."""


@attrs.frozen
class Settlement:
    """How one claimed job ended, ready to be sent.

    Args:
        kind: ``completed``, ``retry``, ``crashed`` (a retry after its process ended), ``failed``,
            ``unknown`` (failed, and nobody knows what it did), ``quarantine`` (failed, since it is no job of
            ours), ``cancelled``, ``snooze``, ``hold``, ``limited`` (to the front, and its queue or key waits)
            or ``return``.
        job: The claimed job.
        subtype: Full name of its subtype, ``""`` when unknown: a label of the counters.
        run_us: How long the attempt ran, in microseconds.
        delay: Wait before the next attempt; for ``retry``, ``snooze`` and ``limited``.
        error: Class and message of the error, one line; for ``hold`` why.
        blob: Base64: the result's JSON (``completed``) or the zlib-compressed traceback.
        group: For ``hold``: what the job waits for, see `cgjobs.hold`.
            For ``limited``: what waits, ``queue`` or ``key``.
    """

    kind: OutcomeKind
    job: Claimed
    subtype: str = ""
    run_us: int = 0
    delay: timedelta = timedelta(0)
    error: str = ""
    blob: bytes = b""
    group: str = ""

    def as_row(self) -> tuple[str | int, ...]:
        """The outcome as the server-side function takes it."""
        job = self.job
        delay_ms = milliseconds(self.delay) if self.delay else 0
        blob = self.blob.decode("ascii")
        return (
            self.kind,
            job.queue,
            job.id,
            job.token,
            self.subtype,
            self.run_us,
            delay_ms,
            self.error,
            blob,
            *((self.group,) if self.group else ()),
        )


@attrs.frozen
class Turn:
    """The reply to one turn of a worker.

    Args:
        refused: Ids of jobs whose outcome came too late: they belong to another attempt by now.
        jobs: What was claimed.
        left: Waiting jobs in the queues that still have some.
        set_aside: What was no job.
        dropped: Jobs that have failed, since they had expired or a dependency of theirs failed.
        later: How long to wait before asking again, for each queue whose jobs wait for a rate.
    """

    refused: tuple[str, ...]
    jobs: tuple[Claimed, ...]
    left: Mapping[str, int]
    set_aside: tuple[SetAside, ...] = ()
    dropped: tuple[SetAside, ...] = ()
    later: Mapping[str, timedelta] = attrs.field(factory=dict)


@attrs.frozen
class Promotion:
    """The reply to a promote.

    Args:
        promoted: Jobs made ready.
        next_due: How long until the next one is due; None when there is none.
        paused: Those of the queues asked for that are paused, with what names the pause.
        set_aside: What was no job.
        held: (queue, group) of each group of held jobs that a worker may be able to run.
        dropped: Jobs that have failed since a dependency of theirs did.
    """

    promoted: int
    next_due: timedelta | None
    paused: Mapping[str, str]
    set_aside: tuple[SetAside, ...]
    held: tuple[tuple[str, str], ...] = ()
    dropped: tuple[SetAside, ...] = ()


@attrs.frozen
class Release:
    """The reply to a release.

    Args:
        released: Held jobs made ready.
        set_aside: What was no job.
    """

    released: int
    set_aside: tuple[SetAside, ...]


@attrs.frozen
class Firing:
    """The reply to a fire.

    Args:
        state: ``fired`` when that call completed the slot, ``known`` when it had been fired before, ``begun``
            when more of its jobs are to come, ``early`` when it is not due.
        jobs: How many of its jobs are there; those that come next begin at this one.
        wait: How long until it is due, when it is early.
    """

    state: Literal["fired", "known", "begun", "early"]
    jobs: int = 0
    wait: timedelta = timedelta(0)


@attrs.frozen
class Renewal:
    """The reply to a renew.

    Args:
        known: Whether the worker's entry exists.
        lost: (id, token) of each job that is no longer this worker's.
        epoch: What names the time since the broker last lost its data; ``""`` when it has just lost it.
    """

    known: bool
    lost: tuple[tuple[str, str], ...]
    epoch: str


@attrs.frozen
class Reaping:
    """The reply to a reap.

    Args:
        jobs: (queue, id, ``recovered``, ``poison``, ``unknown`` or ``cancelled``) for each job taken back.
        set_aside: What was no job.
        dropped: Jobs that have failed since a dependency of theirs did.
    """

    jobs: tuple[tuple[str, str, str], ...]
    set_aside: tuple[SetAside, ...]
    dropped: tuple[SetAside, ...] = ()


def claim_limits(queue: QueueConfig) -> tuple[int, ...]:
    """The limits of a queue as a claim takes them, 0 for no limit."""
    return (queue.max_running or 0, *_rate(queue.rate), queue.key_concurrency or 0, *_rate(queue.key_rate))


def _rate(rate: Rate | None) -> tuple[int, int]:
    return (0, 0) if rate is None else (rate.count, milliseconds(rate.window))


def milliseconds(duration: timedelta) -> int:
    """Whole milliseconds, rounded up: never earlier than asked."""
    return math.ceil(duration / timedelta(milliseconds=1))

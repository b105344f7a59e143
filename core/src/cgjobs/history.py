"""What happened in each hour: how many jobs of each kind, how long they waited and ran, and what failed.

Workers keep it in the broker, see `cgjobs.recorder`; it is for reports and says nothing of single jobs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import attrs

from cgjobs.broker import Steps, hours
from cgjobs.errors import Fault, InvalidOption

GROWTH = 1.2
"""Each bucket of a `Histogram` ends at so many times the end of the one before."""
MOST_BUCKETS = 128
"""The last bucket; it ends at 158 days."""
HOUR = timedelta(hours=1)
_MILLISECOND, _MICROSECOND = timedelta(milliseconds=1), timedelta(microseconds=1)


@attrs.frozen
class Histogram:
    """How long something took, in fixed buckets: bucket *n* ends at 1.2 ** n milliseconds.

    Args:
        counts: How many were in each bucket.
        total: The sum of all durations.
    """

    counts: Mapping[int, int] = attrs.field(factory=dict)
    total: timedelta = timedelta(0)

    @property
    def count(self) -> int:
        """How many were measured."""
        return sum(self.counts.values())

    @property
    def mean(self) -> timedelta | None:
        """The mean, exact; None when none was measured."""
        return self.total / count if (count := self.count) else None

    def percentile(self, percent: float) -> timedelta | None:
        """The duration that so many percent did not exceed, within 10 % or 1 ms; None when there is none.

        Args:
            percent: From 0 to 100.

        Raises:
            ValueError: It is not.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent} is not from 0 to 100 percent")
        rank, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return _MILLISECOND * (GROWTH ** (bucket - 0.5) if bucket else 0.5)
        return None

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(Counter(self.counts) + Counter(other.counts), self.total + other.total)


@attrs.frozen
class JobHour:
    """What happened to the jobs of one name in one hour, or in several.

    Attempts count when they end. What a job did is counted in the hour in which it did it.

    Args:
        start: Begin of the hour, aware UTC; of several the first.
        queue: Their queue.
        name: Full name of their subtype.
        enqueued: Enqueued in this hour, of those that have begun since.
        started: Attempts that began.
        completed: Jobs that completed.
        failed: Jobs that failed for good.
        retried: Attempts that failed and are tried again.
        crashed: Those of them whose child process ended.
        snoozed: Runs that a handler put off; ``limited`` those that met a rate limit.
        cancelled: Jobs that were ended while they ran.
        held: Jobs that their worker could not run.
        returned: Jobs that a stopping worker handed back.
        wait: From being ready to the start of an attempt; not of those that were handed back or held between.
        run: How long attempts ran.
        busy: How long jobs ran in this hour, in sum.
        errors: How many attempts failed by the class of their error, the 20 first ones of an hour; the others
            are ``other``.
    """

    start: datetime
    queue: str
    name: str
    enqueued: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    crashed: int = 0
    snoozed: int = 0
    limited: int = 0
    cancelled: int = 0
    held: int = 0
    returned: int = 0
    wait: Histogram = attrs.field(factory=Histogram)
    run: Histogram = attrs.field(factory=Histogram)
    busy: timedelta = timedelta(0)
    errors: Mapping[str, int] = attrs.field(factory=dict)

    def __add__(self, other: JobHour) -> JobHour:
        summed: Any = _sum(self, other)
        return summed  # type: ignore[no-any-return]


@attrs.frozen
class QueueHour:
    """What was seen of one queue in one hour, or in several.

    Args:
        start: Begin of the hour, aware UTC; of several the first.
        queue: Its name.
        lost: Jobs whose worker died while they ran.
        dropped: Jobs that failed without having run: expired, or a dependency failed.
        samples: How often the queue was looked at.
        waiting_sum: How many jobs waited then, in sum; `waiting` is their mean.
        waiting_most: The most that waited.
        oldest: How long the job that waited longest had been ready, at most.
        slots: How long the places of all workers were there, in sum.
        fires: Slots of its schedule that were fired with jobs; ``skipped`` those without.
        lateness: From when a slot was due until it was fired, by the broker's clock.
    """

    start: datetime
    queue: str
    lost: int = 0
    dropped: int = 0
    samples: int = 0
    waiting_sum: int = 0
    waiting_most: int = attrs.field(default=0, metadata={"largest": True})
    oldest: timedelta = attrs.field(default=timedelta(0), metadata={"largest": True})
    slots: timedelta = timedelta(0)
    fires: int = 0
    skipped: int = 0
    lateness: Histogram = attrs.field(factory=Histogram)

    @property
    def waiting(self) -> float | None:
        """How many jobs waited in the mean; None when nobody looked."""
        return self.waiting_sum / self.samples if self.samples else None

    def __add__(self, other: QueueHour) -> QueueHour:
        summed: Any = _sum(self, other)
        return summed  # type: ignore[no-any-return]


@attrs.frozen
class History:
    """What happened between two times, hour by hour.

    Args:
        since, until: The times asked for, in whole hours, aware UTC.
        jobs: One for each hour and job name in which something happened, in order.
        queues: One for each hour and queue, in order.
    """

    since: datetime
    until: datetime
    jobs: tuple[JobHour, ...]
    queues: tuple[QueueHour, ...]

    def by_name(self) -> dict[str, JobHour]:
        """All hours of each job name in one, by name."""
        return {hour.name: hour for hour in _merged(self.jobs, lambda hour: hour.name)}

    def by_queue(self) -> dict[str, QueueHour]:
        """All hours of each queue in one, by queue."""
        return {hour.queue: hour for hour in _merged(self.queues, lambda hour: hour.queue)}


def read_history(since: datetime, until: datetime, queue: str | None = None) -> Steps[History]:
    """What happened from the hour of ``since`` to the end of that in which ``until`` is.

    Raises:
        InvalidOption: A time has no zone, or ``until`` is before ``since``.
    """
    faults = [
        Fault(name, f"{value} has no time zone; give an aware datetime")
        for name, value in (("since", since), ("until", until))
        if value.tzinfo is None
    ]
    if not faults and since > until:
        faults.append(Fault("until", f"{until} is before {since}"))
    if faults:
        raise InvalidOption("the history", faults)
    first = int(since.timestamp() // 3600)
    end = max(first + 1, math.ceil(until.timestamp() / 3600))
    kept: list[hours.Kept] = yield hours.kept(first, end, queue)
    jobs: list[JobHour] = []
    queues: list[QueueHour] = []
    cells = [(hour, each) for each in kept for hour in range(each.first, each.last + 1)]
    for at in range(0, len(cells), hours.PAGE):
        part = cells[at : at + hours.PAGE]
        found: list[dict[str, int]] = yield hours.read([(hour, each.queue, each.name) for hour, each in part])
        for (hour, each), fields in zip(part, found, strict=True):
            if fields and each.name:
                jobs.append(_job_hour(_time(hour), each.queue, each.name, fields))
            elif fields:
                queues.append(_queue_hour(_time(hour), each.queue, fields))
    return History(
        _time(first),
        _time(end),
        tuple(sorted(jobs, key=lambda hour: (hour.start, hour.name))),
        tuple(sorted(queues, key=lambda hour: (hour.start, hour.queue))),
    )


def _time(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3600, UTC)


def _job_hour(start: datetime, queue: str, name: str, fields: Mapping[str, int]) -> JobHour:
    counts = {key: fields[key] for key in hours.JOB_COUNTS if key in fields}
    errors = {key.removeprefix("e:"): number for key, number in fields.items() if key.startswith("e:")}
    return JobHour(
        start,
        queue,
        name,
        **counts,
        wait=_histogram(fields, "w"),
        run=_histogram(fields, "r"),
        busy=_MICROSECOND * fields.get("busy", 0),
        errors=errors,
    )


def _queue_hour(start: datetime, queue: str, fields: Mapping[str, int]) -> QueueHour:
    return QueueHour(
        start,
        queue,
        lost=fields.get("lost", 0),
        dropped=fields.get("dropped", 0),
        samples=fields.get("samples", 0),
        waiting_sum=fields.get("waiting", 0),
        waiting_most=fields.get("waiting_most", 0),
        oldest=_MILLISECOND * fields.get("oldest", 0),
        slots=_MILLISECOND * fields.get("slots", 0),
        fires=fields.get("fires", 0),
        skipped=fields.get("skipped", 0),
        lateness=_histogram(fields, "l"),
    )


def _histogram(fields: Mapping[str, int], letter: str) -> Histogram:
    counts = {
        int(key[1:]): number
        for key, number in fields.items()
        if key[0] == letter and key[1:].isdecimal() and int(key[1:]) <= MOST_BUCKETS
    }
    return Histogram(counts, _MICROSECOND * fields.get(f"{letter}:sum", 0))


def _merged(found: Iterable[Any], key: Any) -> Iterator[Any]:
    groups: dict[str, list[Any]] = {}
    for hour in found:
        groups.setdefault(key(hour), []).append(hour)
    return (reduce(_sum, group) for _, group in sorted(groups.items()))


def _sum(first: Any, second: Any) -> Any:
    """Two hours in one: numbers added, but where the largest counts."""
    changes: dict[str, Any] = {"start": min(first.start, second.start)}
    for field in attrs.fields(type(first)):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if field.metadata.get("largest"):
            changes[field.name] = max(one, other)
        elif isinstance(one, Mapping):
            changes[field.name] = dict(Counter(one) + Counter(other))
        elif isinstance(one, (int, timedelta, Histogram)):
            changes[field.name] = one + other
    return attrs.evolve(first, **changes)

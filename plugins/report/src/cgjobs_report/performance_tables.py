"""The tables of a performance report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from cgjobs import Histogram, JobHour, QueueHour
from cgjobs_report.document import Column, Row, Table, label
from cgjobs_report.payloads import Granularity
from cgjobs_report.performance_totals import PERCENTILES, Totals, seconds
from cgjobs_report.period import Span

H = TypeVar("H", JobHour, QueueHour)


def types(jobs: Sequence[JobHour]) -> Table:
    """Each type, the one with most jobs first."""
    columns = [
        Column(key="name", title="Type"),
        Column(key="queue", title="Queue", shown=False),
        Column(key="enqueued", title="Enqueued", unit="count", shown=False),
        Column(key="completed", title="Completed", unit="count"),
        Column(key="failed", title="Failed", unit="count"),
        Column(key="retried", title="Retried", unit="count"),
        Column(key="cancelled", title="Cancelled", unit="count", shown=False),
        Column(key="crashed", title="Crashed", unit="count", shown=False),
        Column(key="snoozed", title="Snoozed", unit="count", shown=False),
        *_percentile_columns("wait", "Wait", shown=(95,)),
        *_percentile_columns("run", "Run", shown=(50, 95, 99)),
        Column(key="busy", title="Busy", unit="seconds", shown=False),
    ]
    rows: list[tuple[Any, ...]] = [
        (
            one.name,
            one.queue,
            one.enqueued,
            one.completed,
            one.failed,
            one.retried,
            one.cancelled,
            one.crashed,
            one.snoozed,
            *(seconds(one.wait, percent) for percent in PERCENTILES),
            *(seconds(one.run, percent) for percent in PERCENTILES),
            one.busy.total_seconds(),
        )
        for one in _summed(jobs, lambda hour: f"{hour.queue} {hour.name}").values()
    ]
    rows.sort(key=lambda row: (-row[3], row[0]))
    return Table(key="type", title="By type", columns=tuple(columns), rows=tuple(rows), wide=True)


def _percentile_columns(key: str, title: str, shown: tuple[int, ...]) -> list[Column]:
    return [
        Column(key=f"{key}_p{percent}", title=f"{title} p{percent}", unit="seconds", shown=percent in shown)
        for percent in PERCENTILES
    ]


def ranking(key: str, title: str, of: str, jobs: Sequence[JobHour], top: int) -> Table:
    """The types of which the slowest attempts took longest."""
    columns = (
        Column(key="name", title="Type"),
        Column(key="p99", title="p99", unit="seconds"),
        Column(key="attempts", title="Attempts", unit="count"),
    )
    rows: list[tuple[str, float, int]] = []
    for name, one in _summed(jobs, lambda hour: hour.name).items():
        histogram: Histogram = getattr(one, of)
        slowest = seconds(histogram, 99)
        if slowest is not None:
            rows.append((name, slowest, histogram.count))
    rows.sort(key=lambda row: (-row[1], row[0]))
    return Table(key=key, title=title, columns=columns, rows=tuple(rows[:top]), bar="p99")


def failures(jobs: Sequence[JobHour], top: int) -> Table:
    """Failed attempts by the class of their error, most of them first."""
    columns = (
        Column(key="error", title="Error"),
        Column(key="type", title="Type", shown=False),
        Column(key="attempts", title="Attempts", unit="count"),
    )
    counts: Counter[tuple[str, str]] = Counter()
    for hour in jobs:
        for error, count in hour.errors.items():
            counts[error, hour.name] += count
    rows = [(f"{error}, {name}", name, count) for (error, name), count in counts.items()]
    rows.sort(key=lambda row: (-row[2], row[0]))
    return Table(
        key="failure",
        title="Failed attempts by error",
        columns=columns,
        rows=tuple(rows[:top]),
        bar="attempts",
        nothing="No attempt failed.",
    )


def schedules(queues: Sequence[QueueHour]) -> Table:
    """How late the slots of schedules were fired."""
    columns = (
        Column(key="queue", title="Schedule"),
        Column(key="fires", title="Fired", unit="count"),
        Column(key="skipped", title="Without jobs", unit="count"),
        Column(key="lateness_p50", title="Late p50", unit="seconds", shown=False),
        Column(key="lateness_p95", title="Late p95", unit="seconds"),
    )
    rows: list[Row] = [
        (queue, one.fires, one.skipped, seconds(one.lateness, 50), seconds(one.lateness, 95))
        for queue, one in _summed(queues, lambda hour: hour.queue).items()
        if one.fires or one.skipped
    ]
    return Table(
        key="schedule",
        title="Punctuality of schedules",
        columns=columns,
        rows=tuple(rows),
        nothing="No schedule was due.",
    )


def queues(jobs: Sequence[JobHour], queues: Sequence[QueueHour]) -> Table:
    """Each queue, as it was seen and as its jobs ran."""
    columns = (
        Column(key="queue", title="Queue"),
        Column(key="completed", title="Completed", unit="count"),
        Column(key="failed", title="Failed", unit="count"),
        Column(key="lost", title="Lost with a worker", unit="count"),
        Column(key="waiting_mean", title="Waiting, mean", unit="decimal"),
        Column(key="waiting_most", title="Most", unit="count"),
        Column(key="oldest", title="Oldest", unit="seconds"),
        Column(key="wait_p95", title="Wait p95", unit="seconds"),
        Column(key="utilisation", title="Utilisation", unit="share"),
    )
    seen = _summed(queues, lambda hour: hour.queue)
    ran = _summed(jobs, lambda hour: hour.queue)
    rows: list[Row] = []
    for queue in sorted({*seen, *ran}):
        own = Totals.of(
            [hour for hour in jobs if hour.queue == queue], [hour for hour in queues if hour.queue == queue]
        )
        one = seen.get(queue)
        rows.append(
            (
                queue,
                own.completed,
                own.failed,
                one.lost if one else 0,
                one.waiting if one else None,
                one.waiting_most if one else None,
                own.oldest.total_seconds(),
                seconds(own.wait, 95),
                own.utilisation,
            )
        )
    return Table(key="queue", title="By queue", columns=columns, rows=tuple(rows), wide=True)


def over_time(parts: list[Totals], spans: tuple[Span, ...], granularity: Granularity) -> Table:
    """What the charts draw, for data."""
    columns = (
        Column(key="name", title=granularity.capitalize()),
        Column(key="start", title="Start", unit="time"),
        Column(key="completed", title="Completed", unit="count"),
        Column(key="failed", title="Failed", unit="count"),
        Column(key="retried", title="Retried", unit="count"),
        *_percentile_columns("wait", "Wait", shown=PERCENTILES),
        *_percentile_columns("run", "Run", shown=PERCENTILES),
        Column(key="utilisation", title="Utilisation", unit="share"),
    )
    rows = tuple(
        (
            label(span, granularity),
            span.local_start,
            part.completed,
            part.failed,
            part.retried,
            *(seconds(part.wait, percent) for percent in PERCENTILES),
            *(seconds(part.run, percent) for percent in PERCENTILES),
            part.utilisation,
        )
        for span, part in zip(spans, parts, strict=True)
    )
    return Table(key=granularity, title="Over time", columns=columns, rows=rows, most=0)


def _summed(hours: Iterable[H], key: Callable[[H], str]) -> dict[str, H]:
    found: dict[str, H] = {}
    for hour in hours:
        at = key(hour)
        found[at] = found[at] + hour if at in found else hour
    return found

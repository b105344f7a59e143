"""The history of the jobs themselves as a report: throughput, waits, runs, failures, schedules, utilisation.

The history is kept in whole hours and says nothing of single jobs; durations are in buckets, so that
percentiles are right within 10 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from cgjobs import Histogram, History, JobHour, QueueHour
from cgjobs_report import performance_tables
from cgjobs_report.document import Chart, KeyFigure, Report, Series, Unit
from cgjobs_report.payloads import Performance
from cgjobs_report.performance_totals import PERCENTILES, Totals, seconds
from cgjobs_report.period import Span, cut

STEPS = 2
"""How often a handler reports progress before it writes."""
_LOOKS = ("main", "third", "bad")
_NOTES = (
    "Of 100 attempts 95 were no longer than p95; percentiles are right within 10 %.",
    "A wait is from when a job is ready to the start of an attempt.",
    "Utilisation is the share of the workers' places in which a job ran.",
)
_NOTHING = ("Nothing ran", "No job was enqueued, ran or ended in this period, as far as its history goes.")

H = TypeVar("H", JobHour, QueueHour)


def performance_report(
    history: History,
    previous: History | None,
    span: Span,
    payload: Performance,
    asked_at: datetime,
    generated_at: datetime,
) -> Report:
    """Make a report of a history.

    Args:
        history: Of the period, and of the whole hours around it.
        previous: Likewise of the period before; None when it is not compared.
        span: The period.
        payload: What was asked for.
        asked_at, generated_at: Moments that the report tells.
    """
    jobs, queues = _chosen(history.jobs, span, payload), _chosen(history.queues, span, payload)
    now, before = Totals.of(jobs, queues), None
    if previous is not None:
        earlier = span.before()
        before = Totals.of(
            _chosen(previous.jobs, earlier, payload), _chosen(previous.queues, earlier, payload)
        )
        before = before if before.ended else None
    granularity = payload.params.granularity
    spans = cut(span, granularity)
    parts = [Totals.of(*part) for part in zip(_split(jobs, spans), _split(queues, spans), strict=True)]
    nothing = not now.ended and not now.run.count
    return Report(
        kind="performance",
        subject="Performance of the jobs",
        span=span,
        timezone=payload.params.timezone,
        before=span.before() if before is not None else None,
        granularity=granularity,
        asked_at=asked_at,
        generated_at=generated_at,
        figures=_figures(now, before),
        charts=_charts(parts, spans, payload),
        tables=(
            performance_tables.types(jobs),
            performance_tables.ranking("longest_run", "Longest runs", "run", jobs, payload.params.top),
            performance_tables.ranking("longest_wait", "Longest waits", "wait", jobs, payload.params.top),
            performance_tables.failures(jobs, payload.params.top),
            performance_tables.schedules(queues),
            performance_tables.queues(jobs, queues),
            performance_tables.over_time(parts, spans, granularity),
        ),
        facts=(("Only queues", ", ".join(payload.queues)),) if payload.queues else (),
        warnings=_warnings(jobs, queues, span),
        notes=_NOTES,
        nothing=_NOTHING if nothing else None,
    )


def _chosen(hours: Iterable[H], span: Span, payload: Performance) -> tuple[H, ...]:
    """The hours of the period and of the queues that were asked for."""
    wanted = set(payload.queues)
    return tuple(
        hour for hour in hours if span.start <= hour.start < span.end and (not wanted or hour.queue in wanted)
    )


def _split(hours: Sequence[H], spans: Sequence[Span]) -> list[list[H]]:
    parts: list[list[H]] = [[] for _ in spans]
    ordered, at = sorted(hours, key=lambda hour: hour.start), 0
    for hour in ordered:
        while hour.start >= spans[at].end:
            at += 1
        parts[at].append(hour)
    return parts


def _figures(now: Totals, before: Totals | None) -> tuple[KeyFigure, ...]:
    def figure(
        key: str, name: str, value: Callable[[Totals], float | None], unit: Unit = "count", note: str = ""
    ) -> KeyFigure:
        welcome = {"completed": "more", "utilisation": None}.get(key, "less")
        return KeyFigure(
            key=key,
            name=name,
            value=value(now),
            before=None if before is None else value(before),
            unit=unit,
            better=welcome,  # type: ignore[arg-type]  # of the three words
            note=note,
        )

    return (
        figure("completed", "Jobs completed", lambda one: one.completed),
        figure("failed", "Jobs failed", lambda one: one.failed),
        figure("failure_share", "Failed, of all ended", lambda one: one.failing, "share"),
        figure("retried", "Attempts retried", lambda one: one.retried),
        figure("wait_p95", "Wait, p95", lambda one: seconds(one.wait, 95), "seconds"),
        figure("run_p95", "Run, p95", lambda one: seconds(one.run, 95), "seconds"),
        figure("oldest", "Longest wait seen", lambda one: one.oldest.total_seconds(), "seconds"),
        figure("utilisation", "Utilisation", lambda one: one.utilisation, "share"),
    )


def _charts(parts: list[Totals], spans: tuple[Span, ...], payload: Performance) -> tuple[Chart, ...]:
    granularity = payload.params.granularity

    def lines(key: str, title: str, of: Callable[[Totals], Histogram]) -> Chart:
        series = tuple(
            Series(name=f"p{percent}", values=tuple(seconds(of(part), percent) for part in parts), look=look)  # type: ignore[arg-type]
            for percent, look in zip(PERCENTILES, _LOOKS, strict=True)
        )
        return Chart(
            key=key,
            title=f"{title} per {granularity}",
            kind="lines",
            unit="seconds",
            buckets=spans,
            granularity=granularity,
            series=series,
        )

    ended = (
        Series(name="Completed", values=tuple(part.completed for part in parts)),
        Series(name="Failed", values=tuple(part.failed for part in parts), look="bad"),
    )
    utilised = Series(name="Utilisation", values=tuple(part.utilisation for part in parts))
    return (
        Chart(
            key="jobs",
            title=f"Jobs per {granularity}",
            buckets=spans,
            granularity=granularity,
            series=ended,
        ),
        lines("wait", "Wait", lambda part: part.wait),
        lines("run", "Run", lambda part: part.run),
        Chart(
            key="utilisation",
            title=f"Utilisation per {granularity}",
            unit="share",
            buckets=spans,
            granularity=granularity,
            series=(utilised,),
        ),
    )


def _warnings(jobs: Sequence[JobHour], queues: Sequence[QueueHour], span: Span) -> tuple[str, ...]:
    warnings = []
    starts = [hour.start for hour in jobs] + [hour.start for hour in queues]
    if starts and min(starts) - span.start >= timedelta(days=1):
        first = min(starts).astimezone(span.zone)
        warnings.append(f"The history begins on {first:%Y-%m-%d %H:%M}: the period may be incomplete.")
    if any(moment.timestamp() % 3600 for moment in (span.start, span.end)):
        warnings.append("The history has whole hours of UTC: one counts for the period in which it begins.")
    return tuple(warnings)

"""The handler of ``report.usage`` and the schedule of reports."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs

from cgjobs import Context, Discard, Slot, subtype
from cgjobs_report import figures, files
from cgjobs_report.files import ReportFile
from cgjobs_report.formats import WRITERS
from cgjobs_report.payloads import Params, Usage
from cgjobs_report.period import resolve
from cgjobs_report.ports import snapshot
from cgjobs_report.settings import Settings
from cgjobs_report.usage import usage_report


@attrs.frozen(kw_only=True)
class ReportPeriod:
    """What a report covers.

    Args:
        from_: Its first moment.
        to: The first moment after it.
        timezone: The zone in which its days begin and end.
    """

    from_: datetime
    to: datetime
    timezone: str


@attrs.frozen(kw_only=True)
class UsageResult:
    """A report that was written.

    Args:
        files: One for each format.
        rows: Messages counted.
        period: What it covers.
        warnings: What the reader should know about the numbers.
    """

    files: tuple[ReportFile, ...]
    rows: int
    period: ReportPeriod
    warnings: tuple[str, ...] = ()


@subtype("report.usage", timeout=timedelta(minutes=10))
def usage(payload: Usage, ctx: Context) -> UsageResult:
    """Write a report of how ChatGenius was used in a period.

    The period depends on when the job was enqueued, not on when it runs: a retry on the next day reports the
    same month, and replaces the files of the first attempt.
    """
    settings, params = ctx.settings(Settings), payload.params
    asked_at = (ctx.job.created_at or datetime.now(UTC)).astimezone(UTC)
    span = resolve(params, asked_at)
    formats = tuple(dict.fromkeys(payload.formats))
    total = figures.STEPS + len(formats)
    steps = iter(range(total))

    def step(what: str) -> None:
        ctx.progress(next(steps), total, what)

    with snapshot(settings.database) as db:
        counted = figures.count(db, span, params, step)
    warnings = counted.warnings
    if span.end > asked_at:
        warnings += ("The period had not ended when the report was requested.",)
    generated_at = (ctx.job.started_at or datetime.now(UTC)).astimezone(UTC)
    report = usage_report(attrs.evolve(counted, warnings=warnings), asked_at, generated_at)
    name, written = files.stem(span, params), []
    for kind in formats:
        step(kind)
        with files.building(settings.directory, name, kind) as path:
            WRITERS[kind](report, path)
            written.append(files.publish(path, settings.directory, name, kind))
    ctx.progress(total, total)
    return UsageResult(
        files=tuple(written),
        rows=counted.totals.messages,
        period=ReportPeriod(from_=span.local_start, to=span.local_end, timezone=params.timezone),
        warnings=warnings,
    )


def monthly(slot: Slot) -> Iterator[Usage]:
    """The report of the month before the slot's, however late the slot is handled."""
    settings = slot.settings(Settings)
    if settings.database is None:
        raise Discard("no database to report on: set database in [plugins.report]")
    span = resolve(Params(period="last_month", timezone=settings.timezone), slot.at)
    first, last = (moment.date().isoformat() for moment in (span.local_start, span.local_end))
    yield Usage(params=Params(from_=first, to=last, timezone=settings.timezone), formats=("html", "csv"))

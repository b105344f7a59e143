"""The handlers of the reports, and their schedule."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs

from cgjobs import Context, Slot, subtype
from cgjobs_report import delivery, paper
from cgjobs_report.delivery import ReportFile
from cgjobs_report.document import Report
from cgjobs_report.payloads import Audit, Params, Payload, Performance, Usage
from cgjobs_report.period import resolve
from cgjobs_report.settings import Settings
from cgjobs_report.spool import Spool

_TIMEOUT = timedelta(minutes=30)


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
class ReportResult:
    """A report that was written.

    Args:
        files: One for each format.
        rows: What was counted: messages, entries of the log, attempts.
        period: What it covers.
        warnings: What the reader should know about the numbers.
        source_lag: Seconds by which the database was behind, when it is a replica; None otherwise.
        generated_at: When the numbers were read.
        keep_until: Until when the files are to be kept; nothing here deletes them.
        notification_jobs: Ids of the jobs that mail it.
    """

    files: tuple[ReportFile, ...]
    rows: int
    period: ReportPeriod
    warnings: tuple[str, ...] = ()
    source_lag: float | None = None
    generated_at: datetime
    keep_until: datetime
    notification_jobs: tuple[str, ...] = ()


@subtype("report.usage", timeout=_TIMEOUT, idempotent=True)
def usage(payload: Usage, ctx: Context) -> ReportResult:
    """Write a report of how ChatGenius was used in a period.

    The period depends on when the job was enqueued, not on when it runs: a retry on the next day reports the
    same month, and replaces the files of the first attempt.
    """
    from cgjobs_report import figures, snapshot  # with SQLAlchemy: only for who needs it
    from cgjobs_report.usage_report import usage_report

    job = _Job(payload, ctx, figures.STEPS)
    with snapshot.reading(ctx, job.look) as (db, connection):
        counted = figures.count(db, connection, job.span, payload.params, job.step)
        lag = snapshot.lag(db, connection)
    return job.finish(usage_report(counted, job.asked_at, job.generated_at), counted.totals.messages, lag)


@subtype("report.audit", timeout=_TIMEOUT, idempotent=True)
def audit(payload: Audit, ctx: Context) -> ReportResult:
    """Write a report of the audit log: who did what when, with a digest of the entries."""
    from cgjobs_report import audit_log, snapshot

    job = _Job(payload, ctx, audit_log.STEPS)
    with Spool(times=frozenset({0})) as spool:
        with snapshot.reading(ctx, job.look) as (db, connection):
            report = audit_log.audit_report(
                db, connection, job.span, payload, spool, job.step, job.asked_at, job.generated_at
            )
            lag = snapshot.lag(db, connection)
        return job.finish(report, len(spool), lag)


@subtype("report.performance", timeout=_TIMEOUT, idempotent=True)
def performance(payload: Performance, ctx: Context) -> ReportResult:
    """Write a report of the jobs themselves: throughput, waits, runs, failures, schedules, utilisation.

    It is made of the history that workers keep for ``worker.history``, 35 days unless configured.
    """
    from cgjobs_report import performance_report as history

    job = _Job(payload, ctx, history.STEPS)
    job.step("the period")
    queue = payload.queues[0] if len(set(payload.queues)) == 1 else None
    now = ctx.client.history(job.span.start, job.span.end, queue)
    job.step("the period before")
    earlier = job.span.before()
    before = ctx.client.history(earlier.start, earlier.end, queue) if payload.params.compare else None
    report = history.performance_report(now, before, job.span, payload, job.asked_at, job.generated_at)
    return job.finish(report, sum(hour.started for hour in now.jobs))


class _Job:
    """What the reports have in common: period, progress, files, mails."""

    def __init__(self, payload: Payload, ctx: Context, steps: int) -> None:
        self._payload, self._ctx = payload, ctx
        self._settings = ctx.settings(Settings)
        self.asked_at = (ctx.job.created_at or datetime.now(UTC)).astimezone(UTC)
        self.generated_at = (ctx.job.started_at or datetime.now(UTC)).astimezone(UTC)
        self.span = resolve(payload.params, self.asked_at)
        if "pdf" in payload.formats:
            paper.refuse_when_missing()
        self._store = delivery.store_of(payload, ctx)
        self._done, self._total, self._doing = -1, steps + len(set(payload.formats)), ""

    def step(self, doing: str) -> None:
        """Report the next step."""
        self._done, self._doing = self._done + 1, doing
        self.look()

    def finish(self, report: Report, rows: int, lag: float | None = None) -> ReportResult:
        """Write the files, tell the people, say what was done."""
        warnings = report.warnings
        if self.span.end > self.asked_at:
            warnings += ("The period had not ended when the report was requested.",)
        if lag is not None and lag > 60 and self.span.end > self.generated_at - timedelta(seconds=lag):
            warnings += (f"The database was {lag:,.0f} seconds behind its primary.",)
        keep_until = self.asked_at + self._payload.retention
        kept = f"To be kept until {keep_until:%Y-%m-%d}."
        report = attrs.evolve(report, warnings=warnings, notes=(*report.notes, kept))
        files = delivery.write(report, self._payload, self._store, self.step)
        mails = delivery.notify(report, files, self._payload, self._store, self._ctx)
        self._ctx.progress(self._total, self._total)
        start, end, zone = self.span.local_start, self.span.local_end, self._payload.params.timezone
        return ReportResult(
            files=files,
            rows=rows,
            period=ReportPeriod(from_=start, to=end, timezone=zone),
            warnings=warnings,
            source_lag=lag,
            generated_at=self.generated_at,
            keep_until=keep_until,
            notification_jobs=mails,
        )

    def look(self) -> None:
        """Report the step that goes on; raises `JobCancelled` when the job was cancelled."""
        self._ctx.progress(max(self._done, 0), self._total, self._doing)


def monthly(slot: Slot) -> Iterator[Usage]:
    """The report of the month before the slot's, however late the slot is handled."""
    settings = slot.settings(Settings)
    span = resolve(Params(period="last_month", timezone=settings.timezone), slot.at)
    first, last = (moment.date().isoformat() for moment in (span.local_start, span.local_end))
    params = Params(from_=first, to=last, timezone=settings.timezone)
    yield Usage(params=params, formats=settings.formats, notify=settings.notify)

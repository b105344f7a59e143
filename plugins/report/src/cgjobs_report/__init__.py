"""The report jobs of ChatGenius."""

from __future__ import annotations

from cgjobs import Cron, Processor, Subtype, hookimpl
from cgjobs_report.files import ReportFile
from cgjobs_report.handlers import ReportPeriod, UsageResult, monthly, usage
from cgjobs_report.payloads import Params, Usage
from cgjobs_report.settings import Settings

__all__ = ["Params", "ReportFile", "ReportPeriod", "Settings", "Usage", "UsageResult"]


@hookimpl
def cgjobs_processors() -> list[Processor]:
    """Own the job type ``report``, with a report of each month."""
    return [Processor("report", concurrency=2, schedule=Cron("0 0 1 * *"), on_schedule=monthly)]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Usage, UsageResult]]:
    """Add ``report.usage``."""
    return [usage]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """Read ``[plugins.report]``."""
    return Settings

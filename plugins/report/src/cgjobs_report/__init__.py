"""The report jobs of ChatGenius."""

from __future__ import annotations

from typing import Any

from cgjobs import Cron, Processor, Subtype, hookimpl
from cgjobs_report.delivery import ReportFile
from cgjobs_report.handlers import ReportPeriod, ReportResult, audit, monthly, usage
from cgjobs_report.payloads import Audit, Params, Usage
from cgjobs_report.settings import Settings

__all__ = ["Audit", "Params", "ReportFile", "ReportPeriod", "ReportResult", "Settings", "Usage"]


@hookimpl
def cgjobs_processors() -> list[Processor]:
    """Own the job type ``report``, with a report of each month."""
    return [Processor("report", concurrency=2, schedule=Cron("0 0 1 * *"), on_schedule=monthly)]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Any, ReportResult]]:
    """Add ``report.usage`` and ``report.audit``."""
    return [usage, audit]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """Read ``[plugins.report]``."""
    return Settings

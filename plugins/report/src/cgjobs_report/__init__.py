"""The report jobs of ChatGenius."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cgjobs import Cron, Finding, Processor, Subtype, hookimpl
from cgjobs_report.delivery import ReportFile
from cgjobs_report.handlers import ReportPeriod, ReportResult, audit, monthly, performance, usage
from cgjobs_report.payloads import Audit, Params, Performance, Usage
from cgjobs_report.settings import Settings

__all__ = [
    "Audit",
    "Params",
    "Performance",
    "ReportFile",
    "ReportPeriod",
    "ReportResult",
    "Settings",
    "Usage",
]


@hookimpl
def cgjobs_processors() -> list[Processor]:
    """Own the job type ``report``, with a report of each month."""
    return [Processor("report", concurrency=2, schedule=Cron("0 0 1 * *"), on_schedule=monthly)]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Any, ReportResult]]:
    """Add ``report.usage``, ``report.audit`` and ``report.performance``."""
    return [usage, audit, performance]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """Read ``[plugins.report]``."""
    return Settings


@hookimpl
def cgjobs_checks(settings: Callable[[type[Any]], Any]) -> Iterator[Finding]:
    """Their tables, the store, the extras."""
    from cgjobs_report.checks import check  # with SQLAlchemy

    return check(settings)

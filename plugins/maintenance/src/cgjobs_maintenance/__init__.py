"""The maintenance jobs of ChatGenius: databases and caches that stay small and quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from cgjobs import Backoff, Cron, Finding, Processor, Subtype, hookimpl
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance.checks import check
from cgjobs_maintenance.handlers import cache, reindex, vacuum
from cgjobs_maintenance.payloads import Cache, Reindex, Vacuum
from cgjobs_maintenance.results import CacheResult, ReindexResult, TablesVacuumed, VacuumResult
from cgjobs_maintenance.schedule import weekly
from cgjobs_maintenance.settings import Settings

__all__ = [
    "Cache",
    "CacheResult",
    "Reindex",
    "ReindexResult",
    "Settings",
    "TablesVacuumed",
    "Vacuum",
    "VacuumResult",
]


@hookimpl
def cgjobs_processors() -> list[Processor]:
    """The job type ``maintenance``, each Sunday at midnight."""
    return [
        Processor(
            "maintenance",
            backoff=Backoff.exponential(timedelta(minutes=1)),
            schedule=Cron("0 0 * * 0"),
            on_schedule=weekly,
            max_running=1,
        )
    ]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Any, Any]]:
    """``maintenance.vacuum``, ``maintenance.reindex`` and ``maintenance.cache``."""
    return [vacuum, reindex, cache]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """The table ``[plugins.maintenance]``."""
    return Settings


@hookimpl
def cgjobs_checks(settings: Callable[[type[Any]], Any]) -> Iterable[Finding]:
    """Whether what is configured can be reached."""
    return check(settings(Settings), settings(DataSettings))

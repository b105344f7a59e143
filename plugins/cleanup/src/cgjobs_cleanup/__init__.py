"""The cleanup jobs of ChatGenius: what is old is deleted, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from cgjobs import Backoff, Cron, Finding, Processor, Subtype, hookimpl
from cgjobs_cleanup.checks import check_all
from cgjobs_cleanup.handlers import files, logs, messages
from cgjobs_cleanup.payloads import Files, Logs, Messages
from cgjobs_cleanup.results import (
    FilesResult,
    LogsResult,
    LogsSkipped,
    MessagesResult,
    MessagesSkipped,
    PathError,
    Skipped,
)
from cgjobs_cleanup.schedule import nightly
from cgjobs_cleanup.settings import MessagesPolicy, Nightly, Policy, Settings, StoreRoot

__all__ = [
    "Files",
    "FilesResult",
    "Logs",
    "LogsResult",
    "LogsSkipped",
    "Messages",
    "MessagesPolicy",
    "MessagesResult",
    "MessagesSkipped",
    "Nightly",
    "PathError",
    "Policy",
    "Settings",
    "Skipped",
    "StoreRoot",
]


@hookimpl
def cgjobs_processors() -> list[Processor]:
    """The job type ``cleanup``, each midnight."""
    return [
        Processor(
            "cleanup",
            backoff=Backoff.exponential(timedelta(minutes=1)),
            schedule=Cron("0 0 * * *"),
            on_schedule=nightly,
        )
    ]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Any, Any]]:
    """``cleanup.files``, ``cleanup.logs`` and ``cleanup.messages``."""
    return [files, logs, messages]


@hookimpl
def cgjobs_checks(settings: Callable[[type[Any]], Any]) -> Iterator[Finding]:
    """Whether the three can do their work here."""
    return check_all(settings)


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """The table ``[plugins.cleanup]``."""
    return Settings

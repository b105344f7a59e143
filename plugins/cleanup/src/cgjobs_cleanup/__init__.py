"""The cleanup jobs of ChatGenius: old files are deleted, and nothing else."""

from __future__ import annotations

from datetime import timedelta

from cgjobs import Backoff, Cron, Processor, Subtype, hookimpl
from cgjobs_cleanup.handlers import files
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.results import FilesResult, PathError, Skipped
from cgjobs_cleanup.schedule import nightly
from cgjobs_cleanup.settings import Nightly, Policy, Settings

__all__ = ["Files", "FilesResult", "Nightly", "PathError", "Policy", "Settings", "Skipped"]


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
def cgjobs_subtypes() -> list[Subtype[Files, FilesResult]]:
    """``cleanup.files``."""
    return [files]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """The table ``[plugins.cleanup]``."""
    return Settings

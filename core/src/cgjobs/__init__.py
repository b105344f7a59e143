"""Background jobs over Redis: typed payloads, plugins, nothing lost.

The names that users need are here; everything else is in the modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cgjobs.client import AsyncClient, Client
from cgjobs.config import Config
from cgjobs.context import Context
from cgjobs.errors import (
    BrokerError,
    BrokerUnavailable,
    CgjobsError,
    ConfigError,
    Fault,
    InvalidOption,
    InvalidPayload,
    JobFailed,
    JobNotFound,
    JobStateError,
    PayloadTooLarge,
    PluginError,
    ProcessorNotFound,
    QueueNotFound,
    SubtypeNotFound,
    WaitTimeout,
)
from cgjobs.event import Event
from cgjobs.hookspecs import hookimpl
from cgjobs.model import Backoff, Cron, Job, JobState, Priority, Progress, QueueStats
from cgjobs.outcomes import Discard, JobCancelled, JobTimeout, Retry, Snooze
from cgjobs.processor import Processor, Slot
from cgjobs.subtype import Subtype, subtype

if TYPE_CHECKING:
    from cgjobs.compat import perform

__all__ = [
    "AsyncClient",
    "Backoff",
    "BrokerError",
    "BrokerUnavailable",
    "CgjobsError",
    "Client",
    "Config",
    "ConfigError",
    "Context",
    "Cron",
    "Discard",
    "Event",
    "Fault",
    "InvalidOption",
    "InvalidPayload",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobNotFound",
    "JobState",
    "JobStateError",
    "JobTimeout",
    "PayloadTooLarge",
    "PluginError",
    "Priority",
    "Processor",
    "ProcessorNotFound",
    "Progress",
    "QueueNotFound",
    "QueueStats",
    "Retry",
    "Slot",
    "Snooze",
    "Subtype",
    "SubtypeNotFound",
    "WaitTimeout",
    "hookimpl",
    "perform",
    "subtype",
]


def __getattr__(name: str) -> Any:
    # Loaded when it is called for: who enqueues has no need of rq.
    if name == "perform":
        return import_module("cgjobs.compat").perform
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Background jobs over Redis: typed payloads, plugins, nothing lost.

The names that users need are here; everything else is in the modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cgjobs.command import Command
from cgjobs.config import Config
from cgjobs.context import Context
from cgjobs.errors import (
    BrokerDenied,
    BrokerError,
    BrokerFull,
    BrokerUnavailable,
    BrokerUnsupported,
    CgjobsError,
    ConfigError,
    DependencyNotFound,
    Fault,
    FunctionsMissing,
    InvalidOption,
    InvalidPayload,
    JobFailed,
    JobNotFound,
    JobStateError,
    PayloadTooLarge,
    PluginError,
    ProcessorNotFound,
    QueueFull,
    QueueNotFound,
    SubtypeNotFound,
    WaitTimeout,
)
from cgjobs.event import Event
from cgjobs.finding import Finding
from cgjobs.hookspecs import hookimpl
from cgjobs.model import (
    Backoff,
    BatchCounts,
    Cron,
    Dependency,
    Job,
    JobState,
    Keep,
    LogLine,
    Priority,
    Progress,
    QueueStats,
    Rate,
)
from cgjobs.once import Once
from cgjobs.options import JobOptions
from cgjobs.outcomes import (
    Discard,
    JobCancelled,
    JobTimeout,
    OutcomeUnknown,
    RateLimited,
    Retry,
    Snooze,
)
from cgjobs.processor import Processor, Slot
from cgjobs.subtype import Subtype, subtype

if TYPE_CHECKING:
    from cgjobs.client import AsyncClient, Client
    from cgjobs.compat import perform
    from cgjobs.flow import Flow
    from cgjobs.history import Histogram, History, JobHour, QueueHour

# Loaded when they are called for: a plugin needs no client, and who enqueues has no need of rq.
_LAZY = {
    "AsyncClient": "cgjobs.client",
    "Client": "cgjobs.client",
    "Flow": "cgjobs.flow",
    "Histogram": "cgjobs.history",
    "History": "cgjobs.history",
    "JobHour": "cgjobs.history",
    "QueueHour": "cgjobs.history",
    "perform": "cgjobs.compat",
}

__all__ = [
    "AsyncClient",
    "Backoff",
    "BatchCounts",
    "BrokerDenied",
    "BrokerError",
    "BrokerFull",
    "BrokerUnavailable",
    "BrokerUnsupported",
    "CgjobsError",
    "Client",
    "Command",
    "Config",
    "ConfigError",
    "Context",
    "Cron",
    "Dependency",
    "DependencyNotFound",
    "Discard",
    "Event",
    "Fault",
    "Finding",
    "Flow",
    "FunctionsMissing",
    "Histogram",
    "History",
    "InvalidOption",
    "InvalidPayload",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobHour",
    "JobNotFound",
    "JobOptions",
    "JobState",
    "JobStateError",
    "JobTimeout",
    "Keep",
    "LogLine",
    "Once",
    "OutcomeUnknown",
    "PayloadTooLarge",
    "PluginError",
    "Priority",
    "Processor",
    "ProcessorNotFound",
    "Progress",
    "QueueFull",
    "QueueHour",
    "QueueNotFound",
    "QueueStats",
    "Rate",
    "RateLimited",
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
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

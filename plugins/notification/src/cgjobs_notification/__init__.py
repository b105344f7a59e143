"""The notification jobs of ChatGenius."""

from __future__ import annotations

from cgjobs import Processor, Subtype, hookimpl
from cgjobs_notification.handlers import EmailResult, email
from cgjobs_notification.payloads import Content, Email
from cgjobs_notification.settings import Settings

__all__ = ["Content", "Email", "EmailResult", "Settings"]


@hookimpl
def cgjobs_processors() -> list[Processor]:
    """Own the job type ``notification``."""
    return [Processor("notification", concurrency=5, attempts=5)]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Email, EmailResult]]:
    """Add ``notification.email``."""
    return [email]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """Read ``[plugins.notification]``."""
    return Settings

"""The notification jobs of ChatGenius."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cgjobs import Finding, Processor, Subtype, hookimpl
from cgjobs_notification.mail.handler import EmailResult, email
from cgjobs_notification.mail.unsubscribe import Unsubscription, read_unsubscribe_token
from cgjobs_notification.payloads import Attachment, Content, Email, Note, Push, Sms
from cgjobs_notification.push.handler import DeviceOutcome, PushResult, push
from cgjobs_notification.settings import Settings
from cgjobs_notification.sms.handler import SmsResult, sms

__all__ = [
    "Attachment",
    "Content",
    "DeviceOutcome",
    "Email",
    "EmailResult",
    "Note",
    "Push",
    "PushResult",
    "Settings",
    "Sms",
    "SmsResult",
    "Unsubscription",
    "read_unsubscribe_token",
]


@hookimpl
def cgjobs_processors() -> list[Processor]:
    """Own the job type ``notification``."""
    return [Processor("notification", concurrency=5, attempts=5)]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Any, Any]]:
    """Add ``notification.email``, ``notification.push`` and ``notification.sms``."""
    return [email, push, sms]


@hookimpl
def cgjobs_checks(settings: Callable[[type[Any]], Any]) -> Iterable[Finding]:
    """What is missing or out of reach."""
    from cgjobs_notification.checks import check

    return check(settings)


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """Read ``[plugins.notification]``."""
    return Settings

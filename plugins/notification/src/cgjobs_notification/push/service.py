"""What all services of push messages have in common: what is sent, what comes back, how it may go wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import attrs

from cgjobs import Retry
from cgjobs_notification.http_reply import retry_after
from cgjobs_notification.payloads import Note, Urgency
from cgjobs_notification.recipient import Device

if TYPE_CHECKING:
    import httpx2

_TRANSIENT = frozenset({408, 425, 429})
_READ = 65_536
"""So much of a reply is read: push services have little to say, and an endpoint may be anybody's."""


@attrs.frozen(kw_only=True)
class Message:
    """A push message ready to be sent.

    Args:
        id: The same in every attempt of a job.
        note: What it shows.
        urgency: How soon a sleeping device is woken.
        ttl: How long the service keeps it.
        collapse_key: A later message with this key takes its place.
        now: When it is sent (aware).
    """

    id: str
    note: Note
    urgency: Urgency
    ttl: timedelta
    collapse_key: str | None
    now: datetime


@attrs.frozen(kw_only=True)
class Sent:
    """A service took the message.

    Args:
        status: What it replied, or 0.
        provider_id: What it calls the message, or empty.
        delivered: Whether a service took it; False in the outbox.
    """

    status: int = 0
    provider_id: str = ""
    delivered: bool = True


class NotSent(Exception):
    """The service will not take this message for this device.

    Args:
        reason: Why, in its words.
        status: What it replied, or 0.
    """

    def __init__(self, reason: str, status: int = 0) -> None:
        self.reason, self.status = reason, status
        super().__init__(reason)


class DeviceGone(NotSent):
    """Nor any other: the device has unsubscribed."""


class CredentialsRefused(Exception):
    """The service does not let us in; that is no fault of any device.

    Args:
        reason: What it said, and what to look at.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class PushService(Protocol):
    """Takes push messages for one kind of device; safe to use from several threads."""

    def send(self, device: Device, message: Message) -> Sent:
        """Hand over one message for one device.

        Raises:
            Retry: It was not taken now.
            NotSent: It will never be taken.
            DeviceGone: Nothing will be taken for this device.
            CredentialsRefused: Our credentials are wrong.
        """


def post(
    client: httpx2.Client,
    url: str,
    *,
    service: str,
    headers: dict[str, str] | None = None,
    content: bytes | None = None,
    json: object = None,
) -> tuple[int, dict[str, str], bytes]:
    """Send a request; gives status, headers and the first 64 KiB of the reply.

    Raises:
        Retry: There was no reply.
    """
    import httpx2

    try:
        with client.stream("POST", url, headers=headers, content=content, json=json) as reply:
            body = b""
            for piece in reply.iter_bytes():
                body += piece
                if len(body) >= _READ:
                    break
            return reply.status_code, dict(reply.headers), body[:_READ]
    except httpx2.HTTPError as error:
        raise Retry(f"{service}: {type(error).__name__}: {error}") from error


def raise_if_transient(service: str, status: int, headers: dict[str, str], reason: str) -> None:
    """Raise `Retry` for a status that passes, after what ``Retry-After`` says."""
    if status in _TRANSIENT or status >= 500:
        raise Retry(f"{service}: {status} {reason}".rstrip(), after=retry_after(headers))

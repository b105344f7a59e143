"""ntfy: topics on a server of one's own, or on ntfy.sh."""

from __future__ import annotations

import re

import httpx2
import orjson

from cgjobs_notification.http_reply import said
from cgjobs_notification.push.service import (
    CredentialsRefused,
    Message,
    NotSent,
    Sent,
    post,
    raise_if_transient,
)
from cgjobs_notification.push.settings import NtfySettings
from cgjobs_notification.recipient import Device

_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}\Z")
_PRIORITY = {"very-low": 1, "low": 2, "normal": 3, "high": 4}


class Ntfy:
    """Topics of ntfy. The server is the one of the settings; a subscription names a topic alone.

    Args:
        settings: The server.
    """

    def __init__(self, settings: NtfySettings) -> None:
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        self._http = httpx2.Client(
            base_url=settings.server,
            headers=headers,
            timeout=settings.timeout.total_seconds(),
            follow_redirects=False,
        )

    def send(self, device: Device, message: Message) -> Sent:
        """Publish it as JSON, so that no text can become a header."""
        if not _TOPIC.match(device.address):
            raise NotSent(f"{device.address[:80]!r} is no topic of ntfy: use 1 to 64 of A-Z a-z 0-9 _ -")
        note = message.note
        content: dict[str, object] = {
            "topic": device.address,
            "title": note.title,
            "message": note.body or note.title,
            "priority": _PRIORITY[message.urgency],
        }
        content |= {name: value for name, value in (("click", note.url), ("icon", note.icon)) if value}
        content |= {"tags": [note.tag]} if note.tag else {}
        status, headers, body = post(self._http, "/", service="ntfy", json=content)
        if 200 <= status < 300:
            return Sent(status=status, provider_id=_id(body))
        raise_if_transient("ntfy", status, headers, said(body))
        if status in (401, 403):
            raise CredentialsRefused(f"ntfy: {status} {said(body)}; look at token")
        raise NotSent(said(body) or "refused", status)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _id(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["id"])
    except (ValueError, KeyError, TypeError):
        return ""

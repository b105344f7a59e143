"""Apple's push service, over HTTP/2 with a signed token."""

from __future__ import annotations

import ssl
import threading
import uuid
from datetime import UTC, datetime, timedelta

import httpx2
import orjson

from cgjobs import Discard
from cgjobs_notification.extras import library
from cgjobs_notification.http_reply import said
from cgjobs_notification.push.service import (
    CredentialsRefused,
    DeviceGone,
    Message,
    NotSent,
    Sent,
    post,
    raise_if_transient,
)
from cgjobs_notification.push.settings import ApnsSettings
from cgjobs_notification.recipient import Device

MOST_BYTES = 4_096
_NAMESPACE = uuid.UUID("6b5b0f0e-5d2f-4a53-9a7b-3a1c6c7e9d10")
_RENEWED = timedelta(minutes=40)  # Apple refuses a token after 60 min, and one that is renewed within 20
_GONE = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken"})
_PRIORITY = {"very-low": "1", "low": "5", "normal": "5", "high": "10"}


class Apns:
    """iPhones and Macs. All messages of a worker go over one connection, under one token.

    Args:
        settings: The key, and where Apple is.

    Raises:
        Discard: The extra is missing, or the key is none.
    """

    def __init__(self, settings: ApnsSettings) -> None:
        self._settings = settings
        self._jwt = library("jwt", "push")
        library("h2", "push")
        self._lock = threading.Lock()
        self._token, self._signed_at = "", datetime.min.replace(tzinfo=UTC)
        try:
            self._key = settings.key_file.read_text("ascii")
            verify = ssl.create_default_context(cafile=settings.ca_file)
            self._sign(0)
        except Exception as error:  # PyJWT and cryptography raise what they stumble over
            raise Discard(
                f"[plugins.notification.push.apns] key_file {settings.key_file}: {error}"
            ) from error
        self._http = httpx2.Client(
            base_url=settings.endpoint, http2=True, verify=verify, timeout=settings.timeout.total_seconds()
        )

    def send(self, device: Device, message: Message) -> Sent:
        """Send it to one device token; ``apns-id`` is the same in every attempt."""
        if not device.address.isalnum() or not device.address.isascii():
            raise DeviceGone("BadDeviceToken: it is no hexadecimal token", 400)
        content = _content(message)
        if len(content) > MOST_BYTES:
            raise NotSent(f"the message has {len(content):,} bytes; Apple takes {MOST_BYTES:,}", 413)
        apns_id = str(uuid.uuid5(_NAMESPACE, f"{message.id} {device.id}"))
        for token in (self._bearer(message.now), None):
            status, reply, body = post(
                self._http,
                f"/3/device/{device.address}",
                service="APNs",
                headers=self._headers(message, apns_id, token or self._bearer(message.now, anew=True)),
                content=content,
            )
            reason = _reason(body)
            if reason != "ExpiredProviderToken" or token is None:
                break  # an expired token is signed anew, once
        if status == 200:
            return Sent(status=status, provider_id=reply.get("apns-id", apns_id))
        raise_if_transient("APNs", status, reply, reason)
        if status == 410 or reason in _GONE:
            raise DeviceGone(reason, status)
        if status in (401, 403):
            raise CredentialsRefused(f"APNs: {status} {reason}; look at key_file, key_id, team_id and topic")
        raise NotSent(reason or "refused", status)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _headers(self, message: Message, apns_id: str, token: str) -> dict[str, str]:
        headers = {
            "authorization": f"bearer {token}",
            "apns-id": apns_id,
            "apns-topic": self._settings.topic,
            "apns-push-type": "alert",
            "apns-priority": _PRIORITY[message.urgency],
            "apns-expiration": str(int((message.now + message.ttl).timestamp()) if message.ttl else 0),
        }
        if message.collapse_key is not None:
            headers["apns-collapse-id"] = message.collapse_key
        return headers

    def _bearer(self, now: datetime, *, anew: bool = False) -> str:
        with self._lock:
            if anew or not self._token or now - self._signed_at >= _RENEWED:
                self._token, self._signed_at = self._sign(int(now.timestamp())), now
            return self._token

    def _sign(self, at: int) -> str:
        claims = {"iss": self._settings.team_id, "iat": at}
        token: str = self._jwt.encode(
            claims, self._key, algorithm="ES256", headers={"kid": self._settings.key_id}
        )
        return token


def _content(message: Message) -> bytes:
    note = message.note
    aps: dict[str, object] = {"alert": {"title": note.title, "body": note.body}, "sound": "default"}
    if note.tag:
        aps["thread-id"] = note.tag
    return orjson.dumps(note.data | ({"url": note.url} if note.url else {}) | {"aps": aps})


def _reason(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["reason"]) if body else ""
    except (ValueError, KeyError, TypeError):
        return said(body)

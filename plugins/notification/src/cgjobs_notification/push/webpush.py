"""Web Push: encrypted for the browser (RFC 8291), signed by us (RFC 8292), sent to the endpoint it gave."""

from __future__ import annotations

import base64
import binascii
import threading
from datetime import datetime, timedelta

import orjson

from cgjobs import Discard
from cgjobs_notification.extras import library
from cgjobs_notification.http_reply import said
from cgjobs_notification.payloads import Note
from cgjobs_notification.push.guard import Forbidden, Resolve, check_endpoint, guarded_client, resolve
from cgjobs_notification.push.service import (
    CredentialsRefused,
    DeviceGone,
    Message,
    NotSent,
    Sent,
    post,
    raise_if_transient,
)
from cgjobs_notification.push.settings import WebPushSettings
from cgjobs_notification.recipient import Device

MOST_BYTES = 3_993
"""So much text fits into the 4,096 bytes that every browser's service takes (RFC 8030, 7.2)."""
_SIGNED_FOR = timedelta(hours=12)  # services refuse more than 24 h (RFC 8292, 2)
_RENEW = timedelta(hours=1)
_MOST_ORIGINS = 1_000


class WebPush:
    """Browsers. Connections are shared by the messages of a worker.

    Args:
        settings: Our key, and which endpoints are allowed.
        resolve: Looks names up.

    Raises:
        Discard: The extra is missing, or the key is none.
    """

    def __init__(self, settings: WebPushSettings, *, resolve: Resolve = resolve) -> None:
        self._settings = settings
        self._pywebpush = library("pywebpush", "push")
        self._vapid = self._key()
        self._signed: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()
        timeout = settings.timeout.total_seconds()
        if settings.insecure_endpoints:
            import httpx2

            self._http = httpx2.Client(timeout=timeout, follow_redirects=False, trust_env=False)
        else:
            self._http = guarded_client(timeout, resolve)

    def send(self, device: Device, message: Message) -> Sent:
        """Encrypt it for the browser and send it to its endpoint."""
        settings = self._settings
        try:
            origin = check_endpoint(
                device.address, settings.allowed_hosts, insecure=settings.insecure_endpoints
            )
            body = self._encrypt(device, message.note)
            headers = {
                "Authorization": self._signature(origin, message.now),
                "Content-Encoding": "aes128gcm",
                "Content-Type": "application/octet-stream",
                "TTL": str(int(message.ttl.total_seconds())),
                "Urgency": message.urgency,
            }
            if message.collapse_key is not None:
                headers["Topic"] = message.collapse_key
            status, reply, text = post(
                self._http, device.address, service="web push", headers=headers, content=body
            )
        except Forbidden as error:
            raise NotSent(str(error)) from error
        if 200 <= status < 300:
            return Sent(status=status, provider_id=reply.get("location", "")[:500])
        reason = said(text)
        raise_if_transient("web push", status, reply, reason)
        if status in (404, 410):
            raise DeviceGone(reason or "the browser has unsubscribed", status)
        if status in (401, 403):
            raise CredentialsRefused(f"web push: {status} {reason}; look at private_key and contact")
        raise NotSent(reason or "refused", status)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _encrypt(self, device: Device, note: Note) -> bytes:
        text = orjson.dumps({name: value for name, value in _shown(note).items() if value})
        if len(text) > MOST_BYTES:
            raise NotSent(f"the message has {len(text):,} bytes; a browser takes {MOST_BYTES:,}", 413)
        keys = {"p256dh": device.p256dh, "auth": device.auth}
        try:
            if len(_bytes(device.p256dh)) != 65 or len(_bytes(device.auth)) != 16:
                raise ValueError("p256dh has 65 bytes and auth has 16")
            pusher = self._pywebpush.WebPusher({"endpoint": device.address, "keys": keys})
            encrypted: bytes = pusher.encode(text)["body"]
        except (ValueError, binascii.Error, self._pywebpush.WebPushException) as error:
            raise NotSent(f"the subscription's keys are none: {error}") from error
        return encrypted

    def _signature(self, origin: str, now: datetime) -> str:
        with self._lock:
            header, until = self._signed.get(origin, ("", now))
            if until - now < _RENEW:
                if len(self._signed) >= _MOST_ORIGINS:
                    self._signed.clear()
                until = now + _SIGNED_FOR
                claims = {"aud": origin, "exp": int(until.timestamp()), "sub": self._settings.contact}
                header = self._vapid.sign(claims)["Authorization"]
                self._signed[origin] = header, until
            return header

    def _key(self) -> _Signer:
        vapid = library("py_vapid", "push").Vapid02
        settings = self._settings
        try:
            if settings.private_key_file is not None:
                made: _Signer = vapid.from_pem(settings.private_key_file.read_bytes())
            else:
                made = vapid.from_string(settings.private_key)
        except Exception as error:  # cryptography raises what it stumbles over; the key is in none of it
            raise Discard(
                f"[plugins.notification.push.webpush] has no VAPID key: {type(error).__name__}; "
                "make one with: vapid --gen"
            ) from error
        return made


class _Signer:
    """The part of py_vapid's class that is used here."""

    def sign(self, claims: dict[str, object]) -> dict[str, str]:
        """The headers for these claims."""
        raise NotImplementedError


def _shown(note: Note) -> dict[str, object]:
    return {
        "title": note.title,
        "body": note.body,
        "url": note.url,
        "icon": note.icon,
        "tag": note.tag,
        "data": note.data,
    }


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))

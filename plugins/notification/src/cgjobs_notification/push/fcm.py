"""Firebase Cloud Messaging, the v1 HTTP interface."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import httpx2
import orjson

from cgjobs import Discard, Retry
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
from cgjobs_notification.push.settings import FcmSettings
from cgjobs_notification.recipient import Device

_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_PRIORITY = {"very-low": "normal", "low": "normal", "normal": "normal", "high": "high"}


class Fcm:
    """Telephones with Android, and what else Firebase reaches.

    Args:
        settings: The service account, and where Firebase is.

    Raises:
        Discard: The extra is missing, or the file holds no service account.
    """

    def __init__(self, settings: FcmSettings) -> None:
        account = library("google.oauth2.service_account", "push")
        self._errors = library("google.auth.exceptions", "push")
        try:
            self._credentials = account.Credentials.from_service_account_file(
                str(settings.credentials), scopes=[_SCOPE]
            )
        except (OSError, ValueError) as error:
            raise Discard(
                f"[plugins.notification.push.fcm] credentials {settings.credentials}: {error}"
            ) from error
        project = settings.project or self._credentials.project_id
        if not project:
            raise Discard("[plugins.notification.push.fcm] needs project: the service account names none")
        self._url = f"{settings.endpoint.rstrip('/')}/v1/projects/{project}/messages:send"
        self._http = httpx2.Client(timeout=settings.timeout.total_seconds(), follow_redirects=False)
        self._lock = threading.Lock()

    def send(self, device: Device, message: Message) -> Sent:
        """Send it to one registration token."""
        status, headers, body = post(
            self._http,
            self._url,
            service="FCM",
            headers={"Authorization": f"Bearer {self._token()}"},
            json={"message": _message(device, message)},
        )
        if status == 200:
            return Sent(status=status, provider_id=_name(body))
        code, reason = _error(body)
        raise_if_transient("FCM", status, headers, reason)
        if code == "UNREGISTERED" or status == 404:
            raise DeviceGone(reason, status)
        if status in (401, 403):
            raise CredentialsRefused(f"FCM: {status} {reason}; look at credentials and project")
        raise NotSent(reason or "refused", status)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _token(self) -> str:
        with self._lock:  # the first of several threads fetches it for all
            if not self._credentials.valid:
                try:
                    self._credentials.refresh(self._request)
                except self._errors.RefreshError as error:
                    if getattr(error, "retryable", False):
                        raise Retry(f"FCM: no access token: {error}") from error
                    raise CredentialsRefused(f"FCM: no access token: {error.args[0]}") from error
                except self._errors.GoogleAuthError as error:
                    raise Retry(f"FCM: no access token: {error}") from error
            token: str = self._credentials.token
            return token

    def _request(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **more: Any,
    ) -> _Reply:
        """google-auth's way to the network, over our client."""
        try:
            reply = self._http.request(method, url, content=body, headers=dict(headers or {}))
        except httpx2.HTTPError as error:
            raise self._errors.TransportError(error) from error
        return _Reply(reply.status_code, dict(reply.headers), reply.content)


class _Reply:
    """What google-auth wants a reply to be."""

    def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.status, self.headers, self.data = status, headers, data


def _message(device: Device, message: Message) -> dict[str, object]:
    note = message.note
    shown = {"title": note.title, "body": note.body, "image": note.icon}
    data = note.data | ({"url": note.url} if note.url else {})
    android: dict[str, object] = {
        "priority": _PRIORITY[message.urgency],
        "ttl": f"{int(message.ttl.total_seconds())}s",
    }
    if message.collapse_key:
        android["collapse_key"] = message.collapse_key
    if note.tag:
        android["notification"] = {"tag": note.tag}
    made: dict[str, object] = {
        "token": device.address,
        "notification": {name: value for name, value in shown.items() if value},
        "android": android,
    }
    return made | ({"data": data} if data else {})


def _name(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["name"])
    except (ValueError, KeyError, TypeError):
        return ""


def _error(body: bytes) -> tuple[str, str]:
    """The code and the words of an error, whatever was sent instead of one."""
    try:
        error = orjson.loads(body)["error"]
        codes = [detail.get("errorCode", "") for detail in error.get("details", ())]
        code = next((str(code) for code in codes if code), str(error.get("status", "")))
        return code, f"{code} {error.get('message', '')}".strip()
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", said(body)

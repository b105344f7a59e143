"""Providers over HTTP: Twilio, Vonage, and any gateway that takes one request."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import orjson

from cgjobs import Discard, OutcomeUnknown, Retry
from cgjobs_notification.extras import library
from cgjobs_notification.http_reply import retry_after, said
from cgjobs_notification.sms.gateway import Taken, Text
from cgjobs_notification.sms.phone import mask
from cgjobs_notification.sms.settings import HttpGateway, Twilio, Vonage

_NOT_TAKEN = frozenset({429, 503})
"""After these a message was not taken. After any other 5xx nobody knows: a gateway behind a gateway."""


class TwilioGateway:
    """Twilio.

    Args:
        settings: The account.
    """

    def __init__(self, settings: Twilio) -> None:
        self._http = _Http("Twilio", settings.timeout.total_seconds())
        self._url = (
            f"{settings.endpoint.rstrip('/')}/2010-04-01/Accounts/{settings.account_sid}/Messages.json"
        )
        self._login = (settings.account_sid, settings.auth_token)

    def send(self, text: Text) -> Taken:
        """Create a message; it is taken when it has a ``sid``."""
        fields = {"To": text.to.e164, "Body": text.text}
        # A messaging service is named like a sender, and written elsewhere.
        fields["MessagingServiceSid" if text.sender.startswith("MG") else "From"] = text.sender
        status, reply = self._http.send("POST", self._url, data=fields, auth=self._login)
        if status in (200, 201) and reply.get("sid"):
            return Taken(provider="twilio", provider_id=str(reply["sid"]))
        code, message = reply.get("code", ""), str(reply.get("message", ""))
        raise self._http.refused(status, f"{code} {message}".strip(), text)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class VonageGateway:
    """Vonage. It replies 200 to everything and says in the reply what became of each part.

    Args:
        settings: The account.
    """

    _AGAIN = frozenset({"1", "5"})  # throttled; internal error, not sent

    def __init__(self, settings: Vonage) -> None:
        self._http = _Http("Vonage", settings.timeout.total_seconds())
        self._url = f"{settings.endpoint.rstrip('/')}/sms/json"
        self._login = {"api_key": settings.api_key, "api_secret": settings.api_secret}

    def send(self, text: Text) -> Taken:
        """Send it; when one part was taken and another was not, nobody knows what arrives."""
        fields = {
            "from": text.sender,
            "to": text.to.e164.removeprefix("+"),
            "text": text.text,
            "type": "text" if text.segments.encoding == "gsm7" else "unicode",
            "client-ref": text.id[:100],
        }
        status, reply = self._http.send("POST", self._url, data=self._login | fields)
        parts = reply.get("messages")
        if status != 200 or not isinstance(parts, list) or not parts:
            raise self._http.refused(status, str(reply.get("title", "")), text)
        failed = [part for part in parts if str(part.get("status")) != "0"]
        if not failed:
            return Taken(provider="vonage", provider_id=str(parts[0].get("message-id", "")))
        reason = f"Vonage: {failed[0].get('status')} {_hidden(str(failed[0].get('error-text', '')), text)}"
        if len(failed) < len(parts):
            raise OutcomeUnknown(f"{reason}; {len(parts) - len(failed)} of {len(parts)} parts were taken")
        raise Retry(reason) if str(failed[0].get("status")) in self._AGAIN else Discard(reason)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class AnyGateway:
    """Any gateway that takes a message as one request.

    Args:
        settings: The request.
    """

    def __init__(self, settings: HttpGateway) -> None:
        self._settings = settings
        self._http = _Http("the gateway", settings.timeout.total_seconds())

    def send(self, text: Text) -> Taken:
        """Fill in the fields and send the request."""
        settings = self._settings
        values = {"{to}": text.to.e164, "{sender}": text.sender, "{text}": text.text, "{id}": text.id}
        fields = {name: _filled(value, values) for name, value in (settings.form or settings.json).items()}
        how = "json" if settings.json else "params" if settings.method == "GET" else "data"
        status, reply = self._http.send(
            settings.method, settings.url, headers=settings.headers, **{how: fields}
        )
        if status in settings.accepted:
            found = reply.get(settings.id_field or "", reply.get("", ""))
            return Taken(provider="http", provider_id=_hidden(str(found), text)[:200])
        raise self._http.refused(status, str(reply.get("", "")), text)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class _Http:
    """A client that tells what was certainly not sent from what perhaps was."""

    def __init__(self, name: str, timeout: float) -> None:
        self._name = name
        self._httpx: ModuleType = library("httpx2", "sms")
        self._client = self._httpx.Client(timeout=timeout, follow_redirects=False)
        self.close: Callable[[], None] = self._client.close

    def send(self, method: str, url: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Send a request; gives the status and the reply as JSON, or its first words under ``""``.

        Raises:
            Retry: There was no connection.
            OutcomeUnknown: There was one, and no reply.
        """
        httpx = self._httpx
        try:
            reply = self._client.request(method, url, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Retry(f"{self._name}: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise OutcomeUnknown(
                f"{self._name} did not reply ({type(error).__name__}): it may have taken the message"
            ) from error
        if reply.status_code in _NOT_TAKEN:
            raise Retry(f"{self._name}: {reply.status_code}", after=retry_after(dict(reply.headers)))
        try:
            found = orjson.loads(reply.content)
        except ValueError:
            found = None
        return reply.status_code, found if isinstance(found, dict) else {"": said(reply.content)}

    def refused(self, status: int, reason: str, text: Text) -> Discard:
        """The error for a reply that does not say that the message was taken."""
        words = f"{self._name}: {status} {_hidden(reason, text)}".rstrip()
        if status >= 500:
            return OutcomeUnknown(f"{words}: it may have taken the message")
        if 200 <= status < 300:
            return OutcomeUnknown(f"{words}: its reply is none that was expected")
        return Discard(words)


def _hidden(words: str, text: Text) -> str:
    """Words of a provider without the number, which they like to repeat."""
    number = text.to.e164
    return words.replace(number, mask(number)).replace(number.removeprefix("+"), mask(number))


def _filled(template: str, values: dict[str, str]) -> str:
    """A template with its places filled in, once: what is filled in may itself look like a place."""
    return re.sub("|".join(map(re.escape, values)), lambda place: values[place[0]], template)

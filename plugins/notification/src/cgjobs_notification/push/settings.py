"""The table ``[plugins.notification.push]``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import attrs

from cgjobs_notification.checked import positive, state_directory, web_address
from cgjobs_notification.payloads import Kind

_TIMEOUT = timedelta(seconds=10)


@attrs.frozen(kw_only=True)
class WebPushSettings:
    """Browsers. Give ``private_key`` or ``private_key_file``.

    Args:
        private_key: Our VAPID key as base64url, raw or DER; never shown.
        private_key_file: The same as a PEM file.
        contact: Whom a push service may write to: ``mailto:ops@example.com``.
        allowed_hosts: Patterns of hosts to which messages are sent. Empty: to any host of the public
            internet.
        insecure_endpoints: For tests only: ``http``, private addresses and any port are allowed too.
        timeout: Longest wait for a connection or a reply.
    """

    private_key: str = attrs.field(default="", repr=False)
    private_key_file: Path | None = None
    contact: str = attrs.field()
    allowed_hosts: tuple[str, ...] = (
        "fcm.googleapis.com",
        "*.push.services.mozilla.com",
        "*.notify.windows.com",
        "*.push.apple.com",
    )
    insecure_endpoints: bool = False
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)

    @contact.validator
    def _a_contact(self, attribute: attrs.Attribute[Any], value: str) -> None:
        mail = value.startswith("mailto:") and "@" in value
        if not (mail or value.startswith("https://")):
            raise ValueError(f"contact is {value!r}; write it like mailto:ops@example.com")

    def __attrs_post_init__(self) -> None:
        if bool(self.private_key) == (self.private_key_file is not None):
            raise ValueError("give private_key or private_key_file; `vapid --gen` makes one")


@attrs.frozen(kw_only=True)
class FcmSettings:
    """Firebase Cloud Messaging.

    Args:
        credentials: JSON file of a service account.
        project: Id of the project; empty: that of the service account.
        endpoint: Where Firebase is.
        timeout: Longest wait for a connection or a reply.
    """

    credentials: Path = attrs.field()
    project: str = ""
    endpoint: str = attrs.field(default="https://fcm.googleapis.com", validator=web_address)
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)


@attrs.frozen(kw_only=True)
class ApnsSettings:
    """Apple's push service.

    Args:
        key_file: The ``.p8`` file with the signing key.
        key_id: Its id, ten characters.
        team_id: Id of the team, ten characters.
        topic: The app's bundle id.
        endpoint: Where Apple is; ``https://api.sandbox.push.apple.com`` for development builds.
        ca_file: PEM file of the authority that signed its certificate. None: the system's authorities.
        timeout: Longest wait for a connection or a reply.
    """

    key_file: Path = attrs.field()
    key_id: str = attrs.field(repr=True)
    team_id: str
    topic: str
    endpoint: str = attrs.field(default="https://api.push.apple.com", validator=web_address)
    ca_file: Path | None = None
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)


@attrs.frozen(kw_only=True)
class NtfySettings:
    """A server of ntfy.

    Args:
        server: Its address.
        token: Access token, or empty; never shown.
        timeout: Longest wait for a connection or a reply.
    """

    server: str = attrs.field(default="https://ntfy.sh", validator=web_address)
    token: str = attrs.field(default="", repr=False)
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)


@attrs.frozen(kw_only=True)
class PushSettings:
    """How push messages go out. Without any service they are only written to ``outbox``.

    Args:
        webpush: Browsers.
        fcm: Firebase.
        apns: Apple.
        ntfy: ntfy.
        title: Title of messages that are only a text.
        outbox: A directory of JSON files, used only without any service.
    """

    webpush: WebPushSettings | None = None
    fcm: FcmSettings | None = None
    apns: ApnsSettings | None = None
    ntfy: NtfySettings | None = None
    title: str = "ChatGenius"
    outbox: Path = attrs.field(factory=lambda: state_directory("outbox-push"))

    @property
    def configured(self) -> tuple[Kind, ...]:
        """The kinds of devices that can be reached."""
        return tuple(kind for kind in get_args(Kind) if getattr(self, kind) is not None)

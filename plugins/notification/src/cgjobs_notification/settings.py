"""The table ``[plugins.notification]``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from cgjobs import Backoff
from cgjobs_notification.checked import positive, state_directory, web_address
from cgjobs_notification.mail.settings import Smtp
from cgjobs_notification.payloads import Category
from cgjobs_notification.push.settings import PushSettings
from cgjobs_notification.sms.settings import SmsSettings

BACKOFF = Backoff.exponential(timedelta(seconds=15), ceiling=timedelta(minutes=15))
"""After 12 attempts 1 h 30 min have gone by, after 20 attempts 3 h 30 min: servers are down for that long."""


def _zone(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        ZoneInfo(value)
    except Exception as error:  # zoneinfo raises whatever the path stumbles over
        raise ValueError(f"no time zone {value!r}; write it like Europe/Berlin") from error


@attrs.frozen(kw_only=True)
class UnsubscribeSettings:
    """The page that unsubscribes; mails of the categories that one can unsubscribe from name it.

    Args:
        url: Where it is. A token is added to its query; the page answers GET with a button and POST at once.
        secret: With which the token is signed, at least 16 characters; never shown.
    """

    url: str = attrs.field(validator=web_address)
    secret: str = attrs.field(repr=False, validator=attrs.validators.min_len(16))


@attrs.frozen(kw_only=True)
class Settings:
    """How messages go out. Users are looked up where ``[plugins.data]`` says.

    Args:
        smtp: The server for mails. None: mails are only written to ``outbox``.
        push: The services for push messages.
        sms: The provider of text messages.
        outbox: A maildir, used only without ``smtp``; any mail reader opens it.
        allow_direct_addresses: Whether a job may name an address or a number (``to``) instead of a user.
        subject: Subject of mails that are only a text.
        templates: Directory of the templates of mails; None: there are none.
        locale: The language of templates for users without one, such as ``en``.
        unsubscribe: The page that unsubscribes; None: mails name none.
        timezone: Whose clock quiet hours go by for users without a time zone.
        keep_deliveries: For how long the table of deliveries knows what was sent.
        skip_in_quiet_hours: Categories that are dropped in quiet hours instead of put off until they end.
    """

    smtp: Smtp | None = None
    push: PushSettings = attrs.field(factory=PushSettings)
    sms: SmsSettings = attrs.field(factory=SmsSettings)
    outbox: Path = attrs.field(factory=lambda: state_directory("outbox"))
    allow_direct_addresses: bool = False
    subject: str = "A message from ChatGenius"
    templates: Path | None = None
    locale: str = ""
    unsubscribe: UnsubscribeSettings | None = None
    timezone: str = attrs.field(default="UTC", validator=_zone)
    keep_deliveries: timedelta = attrs.field(default=timedelta(days=90), validator=positive)
    skip_in_quiet_hours: tuple[Category, ...] = ()

"""What to enqueue. Imports nothing heavy: every web process that enqueues imports this."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Literal

import attrs

Category = Literal["transactional", "mention", "digest", "security", "marketing"]
"""What a message is about: it decides whether preferences and quiet hours hold for it."""
Kind = Literal["webpush", "fcm", "apns", "ntfy"]
"""The service over which a device is reached."""
Urgency = Literal["very-low", "low", "normal", "high"]

MOST_DATA = 3_000
_TEMPLATE = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}\Z")
_COLLAPSE = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_LONGEST_TTL = timedelta(days=28)  # FCM's; a browser's service takes less and shortens it


def one_line(value: str) -> str:
    """Give back ``value`` if it can stand in a mail header.

    Raises:
        ValueError: It holds a line break or NUL, with which a text could smuggle in headers of its own.
    """
    # splitlines also knows the form feed and its like, at which some mail software ends a line.
    if "\0" in value or value.splitlines() not in ([], [value]):
        raise ValueError(f"{value!r} holds a line break or NUL; a mail header is one line")
    return value


def _one_line(instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    one_line(value or "")


def _aware(instance: object, attribute: attrs.Attribute[datetime | None], value: datetime | None) -> None:
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{value} has no offset; write it like 2026-11-24T12:00:00Z")


def _key(instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not (1 <= len(value) <= 200 and value.isprintable()):
        raise ValueError(f"{value!r} is no key: write 1 to 200 printable characters")


def _collapse(instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not _COLLAPSE.match(value):
        raise ValueError(f"{value!r} is no collapse key: use 1 to 32 of A-Z a-z 0-9 _ -")


def _ttl(instance: object, attribute: attrs.Attribute[Any], value: timedelta) -> None:
    if not timedelta(0) <= value <= _LONGEST_TTL:
        raise ValueError(f"{value} is not from 0s to 28d")


def _data(instance: object, attribute: attrs.Attribute[Any], value: dict[str, str]) -> None:
    size = sum(len(part.encode()) for pair in value.items() for part in pair)
    if size > MOST_DATA:
        raise ValueError(f"data has {size:,} bytes; at most {MOST_DATA:,} reach every kind of device")


def _inside(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if any(part in ("", ".", "..") for part in value.split("/")) or not value.isprintable():
        raise ValueError(f"{value!r} is no path within a store: relative, no empty part, no '.' and '..'")


def _template(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if not _TEMPLATE.match(value):
        raise ValueError(f"{value!r} is no name for a template: use A-Z a-z 0-9 _ - and / between parts")


def _some(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    if not value.strip():
        raise ValueError("it is empty")


Value = str | int | float | bool | None
"""What a template is filled in with."""


@attrs.frozen(kw_only=True)
class Content:
    """What a mail says: subject and text, or a template of the settings' directory.

    Args:
        subject: One line.
        text: The mail as plain text.
        html: The same as HTML, sent beside the text; None for text only. It is sent as it is: escape what
            users wrote.
        template: Name of a template, such as ``welcome``, instead of these three.
        data: The values of the template, by name.
        rows: Its lists of values, by name.
    """

    subject: str = attrs.field(default="", validator=_one_line)
    text: str = ""
    html: str | None = None
    template: str | None = attrs.field(default=None, validator=attrs.validators.optional(_template))
    data: dict[str, Value] = attrs.field(factory=dict)
    rows: dict[str, list[dict[str, Value]]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.template is None:
            if not (self.subject and (self.text or self.html)):
                raise ValueError("give subject and text, or template")
            if self.data or self.rows:
                raise ValueError("data and rows are of a template; give template too")
        elif self.subject or self.text or self.html is not None:
            raise ValueError("give subject and text, or template, not both")
        elif both := sorted(self.data.keys() & self.rows.keys()):
            raise ValueError(f"data and rows both have {', '.join(both)}")


@attrs.frozen(kw_only=True)
class Attachment:
    """A file that goes with a mail.

    Args:
        store: Name of the store it is in.
        path: Where it is there: relative, without ``..``.
        name: As the reader sees it; None: the last part of the path.
    """

    store: str
    path: str = attrs.field(validator=_inside)
    name: str | None = attrs.field(default=None, validator=_one_line)


@attrs.frozen(kw_only=True)
class Email:
    """One mail to one person. Give either ``user_id`` or ``to``.

    Args:
        user_id: The user whose address is looked up when the mail is sent.
        to: An address. Refused unless the settings allow direct addresses.
        message: The text, under the subject of the settings; or subject, text and HTML, or a template.
        attachments: At most 20 files, 10 MB in all.
        locale: The language of the template, such as ``de-AT``. None: the user's.
        category: What it is about.
        respect_quiet_hours: Whether it waits for the end of the user's quiet hours. None: the category
            decides; ``transactional`` and ``security`` do not wait.
        idempotency_key: Two jobs with the same key send once, when there is a ledger. None: the job's id.
        expires_at: From then on the mail is pointless and not sent any more; the job still completes.
    """

    user_id: str | None = None
    to: str | None = attrs.field(default=None, validator=_one_line)
    message: str | Content
    attachments: tuple[Attachment, ...] = attrs.field(default=(), validator=attrs.validators.max_len(20))
    locale: str | None = None
    category: Category = "transactional"
    respect_quiet_hours: bool | None = None
    idempotency_key: str | None = attrs.field(default=None, validator=_key)
    expires_at: datetime | None = attrs.field(default=None, validator=_aware)

    def __attrs_post_init__(self) -> None:
        if (self.user_id is None) == (self.to is None):
            raise ValueError("give either user_id or to")


@attrs.frozen(kw_only=True)
class Note:
    """What a push message shows.

    Args:
        title: Its first line.
        body: The text below; may be empty.
        url: What opens when it is touched, or None.
        icon: URL of a picture, or None. Not every kind of device shows it.
        tag: A message with the same tag takes the place of this one on the screen.
        data: For the program on the device: at most 3,000 bytes, texts only.
    """

    title: str = attrs.field(validator=_some)
    body: str = ""
    url: str | None = None
    icon: str | None = None
    tag: str | None = None
    data: dict[str, str] = attrs.field(factory=dict, validator=_data)


@attrs.frozen(kw_only=True)
class Push:
    """One message to all devices of one user.

    Args:
        user_id: The user whose devices are looked up when the message is sent.
        message: Its text, under the title of the settings; or title, body and the rest.
        urgency: How soon a sleeping device is woken.
        ttl: How long a service keeps it for a device that is off: 0s (now or never) to 28d.
        collapse_key: A device that was off gets only the last message with this key: 1 to 32 of
            ``A-Z a-z 0-9 _ -``.
        kinds: Only devices of these kinds; none: all.
        category: What it is about.
        respect_quiet_hours: Whether it waits for the end of the user's quiet hours. None: the category
            decides; ``transactional`` and ``security`` do not wait.
        idempotency_key: Two jobs with the same key send once, when there is a ledger. None: the job's id.
        expires_at: From then on it is pointless and not sent any more; the job still completes.
    """

    user_id: str = attrs.field(validator=_some)
    message: str | Note
    urgency: Urgency = "normal"
    ttl: timedelta = attrs.field(default=timedelta(days=1), validator=_ttl)
    collapse_key: str | None = attrs.field(default=None, validator=_collapse)
    kinds: tuple[Kind, ...] = ()
    category: Category = "mention"
    respect_quiet_hours: bool | None = None
    idempotency_key: str | None = attrs.field(default=None, validator=_key)
    expires_at: datetime | None = attrs.field(default=None, validator=_aware)


@attrs.frozen(kw_only=True)
class Sms:
    """One text message to one person. Give either ``user_id`` or ``to``.

    Args:
        user_id: The user whose number is looked up when the message is sent.
        to: A number, best with its country: ``+44...``. Refused unless the settings allow direct addresses;
            never shown.
        message: Its text; it is cut into as many parts as it needs, each of which costs.
        sender: Who it is from: one of ``senders`` in the settings. None: the ``sender`` there.
        category: What it is about.
        respect_quiet_hours: Whether it waits for the end of the user's quiet hours. None: the category
            decides; ``transactional`` and ``security`` do not wait.
        max_price: Most that all parts may cost, by ``prices`` in the settings.
        idempotency_key: Two jobs with the same key send once, when there is a ledger. None: the job's id.
        expires_at: From then on it is pointless and not sent any more; the job still completes.
    """

    user_id: str | None = None
    to: str | None = attrs.field(default=None, repr=False)
    message: str = attrs.field(validator=attrs.validators.and_(_some, attrs.validators.max_len(1_600)))
    sender: str | None = None
    category: Category = "transactional"
    respect_quiet_hours: bool | None = None
    max_price: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.gt(0))
    )
    idempotency_key: str | None = attrs.field(default=None, validator=_key)
    expires_at: datetime | None = attrs.field(default=None, validator=_aware)

    def __attrs_post_init__(self) -> None:
        if (self.user_id is None) == (self.to is None):
            raise ValueError("give either user_id or to")

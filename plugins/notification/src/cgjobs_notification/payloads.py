"""What to enqueue. Imports nothing heavy: every web process that enqueues imports this."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs


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


@attrs.frozen(kw_only=True)
class Content:
    """What a mail says.

    Args:
        subject: One line.
        text: The mail as plain text.
        html: The same as HTML, sent beside the text; None for text only. It is sent as it is: escape what
            users wrote.
    """

    subject: str = attrs.field(validator=_one_line)
    text: str
    html: str | None = None


@attrs.frozen(kw_only=True)
class Email:
    """One mail to one person. Give either ``user_id`` or ``to``.

    Args:
        user_id: The user whose address is looked up when the mail is sent.
        to: An address. Refused unless the settings allow direct addresses.
        message: The text, under the subject of the settings; or subject, text and HTML.
        expires_at: From then on the mail is pointless and not sent any more; the job still completes.
    """

    user_id: str | None = None
    to: str | None = attrs.field(default=None, validator=_one_line)
    message: str | Content
    expires_at: datetime | None = attrs.field(default=None, validator=_aware)

    def __attrs_post_init__(self) -> None:
        if (self.user_id is None) == (self.to is None):
            raise ValueError("give either user_id or to")

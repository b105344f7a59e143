"""Who is written to: a user as the database knows one when the message is sent, and what the user wants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from typing import Literal, Protocol

import attrs

from cgjobs_notification.payloads import Category, Kind

Channel = Literal["email", "push", "sms"]


@attrs.frozen(kw_only=True)
class Person:
    """A user.

    Args:
        id: The user's id.
        email: The user's address, or None.
        email_bounced: Why mails to that address are not sent any more; empty when they are.
        phone: The user's number as it is written, or None.
        phone_verified: Whether the user has shown that the number is theirs; None when nobody keeps that.
        locale: Such as ``de`` or ``de-AT``; None when unknown.
        timezone: IANA name; None when unknown.
        deleted: Whether the user is soft-deleted: nobody to write to, and nothing wrong.
    """

    id: str
    email: str | None = attrs.field(default=None, repr=False)
    email_bounced: str = ""
    phone: str | None = attrs.field(default=None, repr=False)
    phone_verified: bool | None = None
    locale: str | None = None
    timezone: str | None = None
    deleted: bool = False


@attrs.frozen(kw_only=True)
class Device:
    """Something of a user's that shows push messages.

    Args:
        id: Id of the subscription.
        kind: The service over which it is reached.
        address: The endpoint of a browser, the token of a telephone, or a topic.
        p256dh: The browser's public key, base64url; otherwise empty.
        auth: The secret shared with the browser, base64url; otherwise empty.
    """

    id: str
    kind: Kind
    address: str = attrs.field(repr=False)
    p256dh: str = attrs.field(default="", repr=False)
    auth: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class Wishes:
    """What a user wants of one channel and category.

    Args:
        enabled: Whether such messages are wanted at all.
        opted_out: Whether the user has unsubscribed from them, or from the channel.
        quiet: From when until when, in the user's time, they shall wait; None for never.
    """

    enabled: bool = True
    opted_out: bool = False
    quiet: tuple[time, time] | None = None


class Directory(Protocol):
    """Where users are looked up; safe to use from several threads.

    Each method raises `Retry` when the database is not there now, and `Discard` when it is not as configured.
    """

    def person(self, user_id: str) -> Person:
        """One user.

        Raises:
            Discard: There is no such user.
        """

    def wishes(self, user_id: str, channel: Channel, category: Category) -> Wishes:
        """What a user wants."""

    def devices(self, user_id: str, kinds: Sequence[Kind]) -> Sequence[Device]:
        """The user's devices of these kinds (none: of all) that are not disabled."""

    def disable(self, device: Device, reason: str, now: datetime) -> None:
        """The device is gone: nothing is sent to it any more."""

    def bounced(self, person: Person, reason: str, now: datetime) -> None:
        """The user's address does not exist: no mail is sent to it any more, until the user has another."""

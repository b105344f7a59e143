"""The table ``[plugins.notification]``."""

from __future__ import annotations

import re
from datetime import timedelta
from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import attrs
from platformdirs import user_state_path

from cgjobs_notification.payloads import one_line

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def _positive(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value <= type(value)(0):
        raise ValueError(f"{attribute.name} is {value}; it must be above zero")


def _sql_name(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if value and not _NAME.match(value):
        raise ValueError(f"{attribute.name} is {value!r}; a table or column name is letters, digits and _")


def _sender(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    try:
        Address(addr_spec=parseaddr(one_line(value))[1])
    except Exception as error:
        raise ValueError(f"sender is {value!r}; write it like 'ChatGenius <noreply@example.com>'") from error


@attrs.frozen(kw_only=True)
class Smtp:
    """The server that takes our mails.

    Args:
        host: Its name, the one in its certificate.
        port: TCP port; 587 for submission, 465 with ``tls``.
        sender: Who the mails are from: an address, or ``Name <address>``.
        starttls: Go on encrypted after the greeting, and never send a mail otherwise.
        tls: Encrypted from the first byte; ``starttls`` is not looked at then.
        username: Account, or None to send without one. Needs encryption.
        password: Its password; never shown.
        ca_file: PEM file of the authority that signed its certificate. None: the system's authorities.
        timeout: Longest wait for a connection or a reply.
    """

    host: str
    port: int = attrs.field(default=587, validator=attrs.validators.in_(range(1, 65_536)))
    sender: str = attrs.field(validator=_sender)
    starttls: bool = True
    tls: bool = False
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    ca_file: Path | None = None
    timeout: timedelta = attrs.field(default=timedelta(seconds=30), validator=_positive)

    def __attrs_post_init__(self) -> None:
        if self.username and not (self.tls or self.starttls):
            raise ValueError("username needs tls or starttls: a password is not sent in the clear")
        if (self.username is None) != (self.password is None):
            raise ValueError("give username and password, or neither")


@attrs.frozen(kw_only=True)
class Users:
    """Where addresses are looked up: a SQLite table, opened read-only.

    Args:
        database: The file.
        table: The table of users.
        id: Its column with the user's id.
        email: Its column with the address.
        deleted_at: Its column that is set when the user is soft-deleted; empty when there is none.
    """

    database: Path
    table: str = attrs.field(default="users", validator=_sql_name)
    id: str = attrs.field(default="id", validator=_sql_name)
    email: str = attrs.field(default="email", validator=_sql_name)
    deleted_at: str = attrs.field(default="deleted_at", validator=_sql_name)


@attrs.frozen(kw_only=True)
class Settings:
    """How mails go out.

    Args:
        smtp: The server. None: mails are only written to ``outbox``.
        users: Where the address of a ``user_id`` is looked up.
        outbox: A maildir, used only without ``smtp``; any mail reader opens it.
        allow_direct_addresses: Whether a job may name an address (``to``) instead of a user.
        subject: Subject of mails that are only a text.
    """

    smtp: Smtp | None = None
    users: Users | None = None
    outbox: Path = attrs.field(factory=lambda: user_state_path("cgjobs") / "outbox")
    allow_direct_addresses: bool = False
    subject: str = "A message from ChatGenius"

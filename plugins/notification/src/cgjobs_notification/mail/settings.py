"""The table ``[plugins.notification.smtp]``."""

from __future__ import annotations

from datetime import timedelta
from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path

import attrs

from cgjobs_notification.checked import positive
from cgjobs_notification.payloads import one_line


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
    timeout: timedelta = attrs.field(default=timedelta(seconds=30), validator=positive)

    def __attrs_post_init__(self) -> None:
        if self.username and not (self.tls or self.starttls):
            raise ValueError("username needs tls or starttls: a password is not sent in the clear")
        if (self.username is None) != (self.password is None):
            raise ValueError("give username and password, or neither")

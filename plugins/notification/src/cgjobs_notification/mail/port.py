"""The outside world as the handler sees it: something that takes mails."""

from __future__ import annotations

from typing import Literal, Protocol

import attrs

from cgjobs import Discard


@attrs.frozen(kw_only=True)
class Receipt:
    """How a mail was handed over.

    Args:
        transport: ``smtp``, or ``outbox`` for the embedded maildir.
        delivered: Whether a mail server has taken responsibility for it.
        tls: Whether it went over an encrypted connection.
        connection_reused: Whether it went over a connection that had carried mails before.
    """

    transport: Literal["smtp", "outbox"]
    delivered: bool
    tls: bool = False
    connection_reused: bool = False


class NoMailbox(Discard):
    """The server says that there is no such mailbox, and there will be none: the address has bounced."""


class Mailer(Protocol):
    """Takes mails; safe to use from several threads."""

    @property
    def sender(self) -> str:
        """Who the mails are from: an address, or ``Name <address>``."""

    def send(self, sender: str, recipient: str, mail: bytes) -> Receipt:
        """Hand over one mail.

        Args:
            sender: The envelope's sender, an address alone.
            recipient: The envelope's recipient, an address alone.
            mail: Headers and body with CRLF line ends.

        Raises:
            Retry: It was not taken now, or whether it was is unknown.
            NoMailbox: The address does not exist.
            Discard: It will never be taken.
        """

"""The embedded default: mails end in a directory, so that everything works before a server is configured."""

from __future__ import annotations

import mailbox
import threading
from pathlib import Path

from cgjobs_notification.mail.port import Receipt


class Outbox:
    """A maildir. Its receipts say ``delivered=False``: nobody but its owner will read these mails.

    Args:
        directory: The maildir; made, for its owner alone, when it is missing.
    """

    sender = "ChatGenius <chatgenius@example.com>"

    def __init__(self, directory: Path) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        self._maildir = mailbox.Maildir(directory)
        self._lock = threading.Lock()  # Maildir numbers its files with a plain counter

    def send(self, sender: str, recipient: str, mail: bytes) -> Receipt:
        """Add the mail; it is there whole or not at all."""
        with self._lock:
            self._maildir.add(mail)
        return Receipt(transport="outbox", delivered=False)

"""The embedded default of text messages: files."""

from __future__ import annotations

from pathlib import Path

from cgjobs_notification.files import FileOutbox
from cgjobs_notification.sms.gateway import Taken, Text


class SmsOutbox:
    """A directory of text messages, one file each.

    Args:
        directory: Made when it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._files = FileOutbox(directory)

    def send(self, text: Text) -> Taken:
        """Write it; the number is masked in it."""
        content = {
            "to": text.to.masked,
            "sender": text.sender,
            "text": text.text,
            "encoding": text.segments.encoding,
            "parts": text.segments.parts,
        }
        path = self._files.add(text.id, content)
        return Taken(provider="outbox", provider_id=path.name, delivered=False)

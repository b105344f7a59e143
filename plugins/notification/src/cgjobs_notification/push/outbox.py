"""The embedded default of push messages: files."""

from __future__ import annotations

from pathlib import Path

import attrs

from cgjobs_notification.files import FileOutbox
from cgjobs_notification.push.service import Message, Sent
from cgjobs_notification.recipient import Device


class PushOutbox:
    """A directory of push messages, one file for each message and device.

    Args:
        directory: Made when it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._files = FileOutbox(directory)

    def send(self, device: Device, message: Message) -> Sent:
        """Write it; the address of the device is not in it."""
        content = {
            "device": device.id,
            "kind": device.kind,
            "at": message.now,
            "note": attrs.asdict(message.note),
            "urgency": message.urgency,
            "ttl": int(message.ttl.total_seconds()),
            "collapseKey": message.collapse_key,
        }
        self._files.add(f"{message.id}-{device.id}", content)
        return Sent(delivered=False)

"""What all providers of text messages have in common."""

from __future__ import annotations

from typing import Protocol

import attrs

from cgjobs_notification.sms.phone import Phone
from cgjobs_notification.sms.segments import Segments


@attrs.frozen(kw_only=True)
class Text:
    """A text message ready to be sent.

    Args:
        id: The same in every attempt of a job.
        to: Where it goes.
        sender: Who it is from.
        text: What it says.
        segments: The same, in parts.
    """

    id: str
    to: Phone
    sender: str
    text: str
    segments: Segments


@attrs.frozen(kw_only=True)
class Taken:
    """A provider took the message.

    Args:
        provider: Which one.
        provider_id: What it calls the message, or empty.
        delivered: Whether a provider took it; False in the outbox.
    """

    provider: str
    provider_id: str = ""
    delivered: bool = True


class Gateway(Protocol):
    """Takes text messages; safe to use from several threads."""

    def send(self, text: Text) -> Taken:
        """Hand over one message.

        Raises:
            Retry: It was certainly not taken, and may be later.
            Discard: It was certainly not taken, and never will be.
            OutcomeUnknown: Nobody knows whether it was taken; it costs money and is not sent again.
        """

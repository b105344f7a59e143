"""The broker: each move of a job as one prepared call, and what sends them. Nothing else talks to Redis."""

from __future__ import annotations

from cgjobs.broker import moves, pages, reads, replies, values
from cgjobs.broker.call import Ahead, Call, Send, Steps
from cgjobs.broker.connection import address
from cgjobs.broker.sender import AsyncSender, Sender

__all__ = [
    "Ahead",
    "AsyncSender",
    "Call",
    "Send",
    "Sender",
    "Steps",
    "address",
    "moves",
    "pages",
    "reads",
    "replies",
    "values",
]

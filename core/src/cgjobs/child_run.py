"""One running job in a child process of a worker: what it keeps, the worker keeps."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from cgjobs.once import Move
from cgjobs.running import Run

Send = Callable[[Mapping[str, Any]], None]
"""Sends the worker one message."""


@attrs.define(eq=False)
class ChildRun(Run):
    """A run whose checkpoints and lines are told the worker at once: they outlive this process."""

    send: Send = attrs.field(kw_only=True)

    def save(self, checkpoint: bytes) -> None:
        """Have the worker write a checkpoint."""
        self.saved = checkpoint
        self.send({"checkpoint": checkpoint.decode()})

    def keep(self, line: str) -> None:
        """Have the worker write a line."""
        self.send({"kept": line})


class ChildMarks:
    """The marks of ``ctx.once``, made by the worker; ``known`` has its answers: (nonce, move, answer)."""

    def __init__(self, send: Send, known: queue.SimpleQueue[tuple[str, str, str]]) -> None:
        self._send, self._known, self._lock = send, known, threading.Lock()

    def mark(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark and wait for the answer."""
        with self._lock:
            self._send({"mark": (key, nonce, move)})
            while True:  # an alarm may have kept an earlier call from hearing its answer
                *call, known = self._known.get()
                if call == [nonce, move]:
                    return known

    async def mark_async(self, key: str, nonce: str, move: Move) -> str:
        """The same in a loop of the handler's own."""
        return await asyncio.to_thread(self.mark, key, nonce, move)

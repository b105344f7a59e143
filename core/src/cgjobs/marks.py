"""The marks of ``ctx.once``, made by the worker at the broker."""

from __future__ import annotations

import asyncio
import concurrent.futures

from cgjobs.broker import Send, moves
from cgjobs.errors import BrokerError
from cgjobs.once import Move
from cgjobs.outcomes import JobCancelled
from cgjobs.running import Run

_LOOK = 0.1  # seconds; an exception for the thread is raised between two looks


class WorkerMarks:
    """Marks of one attempt, for handlers on the worker's loop and on its threads.

    Args:
        send: Sends a call and waits until it is answered; belongs to ``loop``.
        loop: The worker's loop.
        run: The attempt.
    """

    def __init__(self, send: Send, loop: asyncio.AbstractEventLoop, run: Run) -> None:
        self._send, self._loop, self._run = send, loop, run
        self._under_way: set[asyncio.Future[str]] = set()

    def mark(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark from a thread."""
        if _running_loop() is self._loop:
            raise RuntimeError(
                "write 'async with ctx.once(...)' in an 'async def' handler: 'with' would block"
            )
        future = self._begin(key, nonce, move)
        while True:
            try:
                return future.result(_LOOK)
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise
                if self._run.taken_away:
                    raise JobCancelled("the job was taken away from this worker") from None

    async def mark_async(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark from the worker's loop, or from one of the handler's own."""
        if _running_loop() is self._loop:
            # Shielded: that an effect is done shall be kept though the handler is being cancelled.
            task = asyncio.ensure_future(self.send_mark(key, nonce, move))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            return await asyncio.shield(task)
        return await asyncio.wrap_future(self._begin(key, nonce, move))

    def _begin(self, key: str, nonce: str, move: Move) -> concurrent.futures.Future[str]:
        return asyncio.run_coroutine_threadsafe(self.send_mark(key, nonce, move), self._loop)

    async def send_mark(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark, on the worker's loop."""
        claimed = self._run.claimed
        try:
            known: str = await self._send(moves.once(claimed.id, claimed.token, key, nonce, move))
        except BrokerError:  # this worker stops and has no time left to ask: no fault of the job's
            self._run.taken_away = True
            raise JobCancelled("the worker stops") from None
        return known


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

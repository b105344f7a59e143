"""Being woken: an idle worker does not poll."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cgjobs import keys
from cgjobs.broker.connection import AsyncIdleConnections, connect_async, translated
from cgjobs.config import RedisConfig
from cgjobs.errors import BrokerError
from cgjobs.slots import Slots

_LISTEN = 5.0  # seconds; then we look without having been woken, for the token that a dying worker took along
_UNBLOCKED = 0.005  # seconds in which the end of the wait should show
_CANCELLED = 0.02  # and that of the cancelled wait


class Listener:
    """Waits for the broker's wake-ups of the queues that have room and, as far as we know, no work.

    The wait ends early when those become other queues: a queue that has just run dry must be listened to at
    once, and the token of one that has no room left belongs to another worker.

    Args:
        config: The broker; the wait has a connection of its own.
        slots: Told which queues may have work.
        wake: Called then.
        rng: Spreads the tries while the broker is away.
    """

    def __init__(
        self, config: RedisConfig, slots: Slots, wake: Callable[[], None], rng: random.Random
    ) -> None:
        self._config, self._slots, self._wake, self._rng = config, slots, wake, rng
        self._waiting = AsyncIdleConnections(connect_async(config), 2 * _LISTEN)
        self._control: Any = connect_async(config)
        self._client_id: int | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                queues = self._slots.listenable()
                self._slots.changed.clear()
                if queues:
                    await self._listen(queues)
                else:
                    await self._slots.changed.wait()
        finally:
            await self._waiting.close()
            await self._control.aclose()

    async def _listen(self, queues: Sequence[str]) -> None:
        token = asyncio.create_task(self._token(queues))
        try:
            while not token.done():
                change = asyncio.create_task(self._slots.changed.wait())
                await asyncio.wait((token, change), return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                self._slots.changed.clear()
                while not token.done() and self._slots.listenable() != queues:
                    await self._unblock()
                    await asyncio.wait((token,), timeout=_UNBLOCKED)
        finally:
            await end((token,), again=_CANCELLED)  # it uses a connection that is closed next
        token.result()

    async def _token(self, queues: Sequence[str]) -> None:
        """Wait for a token; wakes for its queue, for all when it is time to look, for none when unblocked."""
        began = asyncio.get_running_loop().time()
        try:
            with translated(self._config):
                if self._client_id is None:
                    self._client_id = await self._waiting.execute(("CLIENT", "ID"))
                reply = await self._waiting.execute(("BLPOP", *map(keys.wake, queues), _LISTEN))
        except BrokerError:
            self._client_id = None
            await asyncio.sleep(self._rng.uniform(0.1, 1.0))
            self._woken(queues)
            return
        if reply is None:
            if asyncio.get_running_loop().time() - began > _LISTEN / 2:
                self._woken(queues)
            return
        queue = reply[0].decode().removeprefix(keys.wake(""))
        self._woken([queue])  # at once: somebody waits for the job that this is about
        if not self._slots.has_room(queue):
            await self._give_back(queue)

    def _woken(self, queues: Iterable[str]) -> None:
        self._slots.woken(queues)
        self._wake()

    async def _unblock(self) -> None:
        try:
            with translated(self._config):
                if self._client_id is not None:
                    await self._control.client_unblock(self._client_id)
        except BrokerError:
            pass  # the wait meets the same broker and says so

    async def _give_back(self, queue: str) -> None:
        try:
            with translated(self._config):
                await self._control.rpush(keys.wake(queue), "1")
        except BrokerError:
            pass  # others look by themselves before long


async def end(tasks: Iterable[asyncio.Task[Any]], *, again: float = 0.5) -> None:
    """Cancel tasks, again after so many seconds until each has ended; what they raise is dropped.

    Once is not enough: until Python 3.12 an `asyncio.wait_for` whose result comes together with a
    cancellation drops it (https://github.com/python/cpython/issues/86296), and redis-py sends with one.
    """
    pending = every = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again)
    await asyncio.gather(*every, return_exceptions=True)

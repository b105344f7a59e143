"""Being woken: an idle worker does not poll, and claims in the moment in which there is work."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import attrs

from cgjobs import keys
from cgjobs.broker.call import Call, Command, Send
from cgjobs.broker.connection import AsyncIdleConnections, connect_async, translated
from cgjobs.config import RedisConfig
from cgjobs.errors import BrokerError
from cgjobs.slots import Slots

_LISTEN = 5.0  # seconds; then we look without having been woken, for the token that a dying worker took along
_UNBLOCKED = 0.005  # seconds in which the end of the wait should show
_CANCELLED = 0.02  # and that of the cancelled wait
_AWAY = 0.1  # seconds between two looks whether the broker is back and there is a wait to end


class Listener:
    """Waits for the broker's wake-ups of the queues that have room and, as far as we know, no work.

    A claim is sent right behind the wait, on the same connection: the broker carries it out in the moment in
    which the wait ends, so that a job is here one round trip after it was enqueued. A queue with a limit is
    only woken for: there a claim goes with the outcome that makes room for it.

    The wait ends early, and its claim with it, when there are other queues to be woken for: one that has
    just run dry must be listened to at once, and the token of one with a limit and no room left belongs to
    another worker.

    Args:
        config: The broker; the wait has a connection of its own.
        slots: Says what to wait for; told which queues may have work.
        claim: Makes a claim of so many jobs, by queue, has it sent, and starts what it gives.
        send: Sends a call until it is answered: the claim, when the wait lost its connection.
        wake: Called when a queue may have work.
        rng: Spreads the tries while the broker is away.
        lease: That of what is claimed; it begins at an unknown moment of the wait.
    """

    def __init__(
        self,
        config: RedisConfig,
        slots: Slots,
        claim: Callable[[Mapping[str, int], Send], Awaitable[None]],
        send: Send,
        wake: Callable[[], None],
        rng: random.Random,
        lease: timedelta,
    ) -> None:
        self._config, self._slots, self._claim, self._send = config, slots, claim, send
        self._wake, self._rng = wake, rng
        self._longest = min(_LISTEN, lease.total_seconds() / 3)
        patience = self._longest + config.timeout.total_seconds()
        self._waiting = AsyncIdleConnections(connect_async(config), patience)
        self._control: Any = connect_async(config)
        self._lists = {queue: keys.wake(queue).encode() for queue in slots.queues}
        self._queues = {name: queue for queue, name in self._lists.items()}
        self._client_id: int | None = None
        self._wait: asyncio.Future[None] | None = None
        self._pauses, self._lost = 0, False

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            while True:
                self._slots.changed.clear()
                if not self._pauses and (queues := self._slots.listenable()):
                    await self._listen(queues)
                else:
                    await self._slots.changed.wait()
        finally:
            await self._waiting.close()
            await self._control.aclose()

    async def pause(self) -> None:
        """End the wait that is under way; returns after the start of what it has claimed.

        None begins until `resume` was called as often.
        """
        self._pauses += 1
        self._slots.changed.set()
        if self._wait is not None:
            await asyncio.wait((self._wait,))

    def resume(self) -> None:
        """Wait again."""
        self._pauses -= 1
        self._slots.changed.set()

    async def _listen(self, queues: Sequence[str]) -> None:
        wants = self._slots.awaited(queues)
        limited = tuple(queue for queue in queues if queue not in wants)
        behind = partial(self._claimed, queues, limited)
        self._wait = wait = asyncio.ensure_future(
            self._claim(wants, behind) if wants else self._woken(queues)
        )
        try:
            await asyncio.sleep(0)  # the claim takes its places
            while not wait.done():
                change = asyncio.create_task(self._slots.changed.wait())
                await asyncio.wait((wait, change), return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                self._slots.changed.clear()
                while not wait.done() and self._is_over(wants, limited):
                    await self._unblock()
                    await asyncio.wait((wait,), timeout=_AWAY if self._lost else _UNBLOCKED)
        finally:
            self._wait, self._lost = None, False
            await end((wait,), again=_CANCELLED)  # it uses a connection that is closed next
        wait.result()
        self._wake()

    def _is_over(self, wants: Iterable[str], limited: Sequence[str]) -> bool:
        return self._pauses > 0 or self._slots.listenable() != limited or self._slots.is_hungry(wants)

    async def _claimed(self, queues: Sequence[str], limited: Sequence[str], call: Call[Any]) -> Any:
        """Send a claim behind the wait."""
        try:
            return call.parse(*await self._wait_for(queues, limited, call.commands))
        except BrokerError:
            return await self._send(attrs.evolve(call, commands=call.again))

    async def _woken(self, queues: Sequence[str]) -> None:
        with contextlib.suppress(BrokerError):
            await self._wait_for(queues, queues, ())

    async def _wait_for(
        self, queues: Sequence[str], limited: Sequence[str], commands: Sequence[Command]
    ) -> list[Any]:
        """Wait for a token; gives the replies to the commands that were sent behind the wait.

        Wakes for the token's queue, for all when it is time to look, for none when unblocked; for those
        without a limit there is a claim.

        Raises:
            BrokerError: There was no reply, or an error; a rest has been taken.
        """
        began = asyncio.get_running_loop().time()
        wait = ("BLPOP", *map(self._lists.__getitem__, queues), self._longest)
        try:
            with translated(self._config):
                if self._client_id is None:
                    self._client_id = await self._waiting.execute(("CLIENT", "ID"))
                token, *replies = await self._waiting.execute_all([wait, *commands])
        except BrokerError:
            self._client_id, self._lost = None, True
            await asyncio.sleep(self._rng.uniform(0.1, 1.0))
            self._slots.woken(limited)
            raise
        if token is not None:
            queue = self._queues[token[0]]
            if queue in limited:
                self._slots.woken([queue])
                self._wake()  # at once: somebody waits for the job that this is about
                if not self._slots.has_room(queue):
                    await self._give_back(queue)
        elif limited and asyncio.get_running_loop().time() - began > self._longest / 2:
            self._slots.woken(limited)
        return replies

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
                await self._control.rpush(self._lists[queue], "1")
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

"""A worker's way to the broker, which may be away: never an end, never a job's fault."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import attrs

from cgjobs.broker import AsyncSender, Call
from cgjobs.config import RedisConfig
from cgjobs.errors import BrokerError, BrokerUnavailable
from cgjobs.event import Event

T = TypeVar("T")
_TELL_AGAIN = 60.0  # seconds: an outage that goes on, or a password that nobody corrects, stays in sight
LONGEST_PAUSE = 5.0
"""Seconds between two tries to reach a broker that is away; the first ones come sooner."""


class Link:
    """Sends calls until they are answered.

    Args:
        config: The broker.
        tell: Told when the broker is lost, again each minute with the reason, and when it is back.
        rng: Source of jitter: a fleet must not come back in one instant.
        clock: Seconds that only grow.

    Attributes:
        trouble: Why the broker does not serve us, ``""`` when it does.
    """

    def __init__(
        self,
        config: RedisConfig,
        tell: Callable[[Event], None],
        rng: random.Random,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sender = AsyncSender(config)
        self._tell, self._rng, self._clock = tell, rng, clock
        self._kind: type[BrokerError] | None = None
        self._told = -math.inf
        self._last_moment = math.inf
        self.trouble = "the broker was not reached yet"

    @property
    def connected(self) -> bool:
        """Whether the broker answered the last call."""
        return not self.trouble

    async def connect(self, stopping: asyncio.Event) -> None:
        """Reach the broker for the first time, however long it takes, or until told to stop.

        Raises:
            BrokerDenied, BrokerUnsupported, FunctionsMissing: It refuses us; waiting would not help.
        """
        pauses = self._pauses()
        while not stopping.is_set():
            try:
                await self._sender.load_functions()
            except BrokerUnavailable as error:
                self._lost(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), next(pauses))
            else:
                self._reached()
                return

    async def send(self, call: Call[T]) -> T:
        """Send a call until it is answered, or the time to stop is over.

        Whatever the broker answers that is no reply is waited out: what is sent again is known by its nonce.

        Raises:
            BrokerError: There is no answer and no time left.
        """
        pauses = self._pauses()
        while True:
            try:
                reply = await self._sender.send(call)
            except BrokerError as error:
                if time.monotonic() > self._last_moment:
                    raise
                self._lost(error)
                call = attrs.evolve(call, commands=call.again)
                await asyncio.sleep(next(pauses))
            else:
                self._reached()
                return reply

    async def send_once(self, call: Call[T], within: timedelta) -> T:
        """Send a call that may fail.

        Raises:
            BrokerError: It was not answered.
            TimeoutError: Not within this time.
        """
        return await asyncio.wait_for(self._sender.send(call), within.total_seconds())

    def give_up_after(self, seconds: float) -> None:
        """From then on an unanswered call raises."""
        self._last_moment = min(self._last_moment, time.monotonic() + seconds)

    @property
    def time_left(self) -> float:
        """Seconds until an unanswered call raises; negative when that time is over."""
        return self._last_moment - time.monotonic()

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()

    def _pauses(self) -> Iterator[float]:
        pause = 0.1
        while True:
            yield self._rng.uniform(0.5, 1.0) * pause
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _lost(self, error: BrokerError) -> None:
        """Tell it once, again when the kind of trouble changes, and once a minute while it lasts."""
        kind, now = type(error), self._clock()
        if kind is not self._kind or now - self._told >= _TELL_AGAIN:
            self._tell(Event("broker_lost", error=str(error)))
            self._kind, self._told = kind, now
        self.trouble = str(error)

    def _reached(self) -> None:
        if self._kind is not None:
            self._tell(Event("broker_back"))
        self.trouble, self._kind = "", None

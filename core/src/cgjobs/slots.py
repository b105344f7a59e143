"""Which queues a worker may claim from, and how many jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from cgjobs.broker.moves import NO_LIMITS

_MANY = 20
TURN = 150
"""Most jobs of a queue that are claimed in one call, and most that are settled: with what that makes ready
it takes the broker some 10 ms, in which it serves nobody else."""


class Slots:
    """The free places of each queue, and whether a queue is worth asking.

    A queue is *hungry* when it may have work: at the start, when the broker woke us for it, when a claim left
    some behind, or when it had been full, since then nobody listened for it.

    Args:
        concurrency: Places by queue, each at least 1.
        limits: Those over all workers, by queue: whenever a job of such a queue ends, another may start.

    Attributes:
        queues: All of them.
        limits: As given.
    """

    def __init__(
        self, concurrency: Mapping[str, int], limits: Mapping[str, Sequence[int]] = NO_LIMITS
    ) -> None:
        self.queues, self.limits = tuple(concurrency), limits
        self._free = dict(concurrency)
        # Half of many places, so that one half can run while the broker is asked for the other.
        self._most = {queue: min(TURN, n if n < _MANY else -(-n // 2)) for queue, n in concurrency.items()}
        self._hungry = set(concurrency)
        self._asking = dict.fromkeys(concurrency, 0)  # claims that are under way
        self._plenty: set[str] = set()  # had more work at the last answer
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self.changed = asyncio.Event()

    def wants(self) -> dict[str, int]:
        """How many jobs to claim now, by queue."""
        return {
            queue: min(self._free[queue], self._most[queue])
            for queue in self._hungry
            # A second claim beside one under way is for queues with plenty of work: else it finds nothing.
            if self._free[queue] > 0 and (not self._asking[queue] or queue in self._plenty)
        }

    def reserve(self, wants: Mapping[str, int]) -> None:
        """A claim is under way: until its answer these places are nobody else's."""
        for queue, places in wants.items():
            self._free[queue] -= places
            self._asking[queue] += 1

    def listenable(self) -> tuple[str, ...]:
        """The queues with a free place and, as far as we know, without work: those to be woken for."""
        return tuple(
            queue
            for queue, free in sorted(self._free.items())
            if free > 0 and queue not in self._hungry and not self._asking[queue]
        )

    def awaited(self, queues: Iterable[str]) -> dict[str, int]:
        """How many jobs to claim in the moment in which one of these queues gets work.

        None where there is a limit: there a claim goes with the outcome that makes room for it.
        """
        return {
            queue: min(self._free[queue], self._most[queue]) for queue in queues if queue not in self.limits
        }

    def asked(self, wants: Mapping[str, int], left: Iterable[str]) -> None:
        """A claim has answered: what was reserved for it, and the queues that still have work."""
        for queue, places in wants.items():
            self._free[queue] += places
            self._asking[queue] -= 1
        more = {queue for queue in left if queue in self._free}
        self._hungry.difference_update(wants)
        self._plenty.difference_update(wants)
        self._hungry |= more
        self._plenty |= more
        self.changed.set()

    def is_hungry(self, queues: Iterable[str]) -> bool:
        """Whether one of these queues may have work."""
        return not self._hungry.isdisjoint(queues)

    def woken(self, queues: Iterable[str]) -> None:
        """These queues may have work."""
        self._hungry.update(queues)

    def ask_later(self, queue: str, wait: timedelta, then: Callable[[], object]) -> None:
        """This queue may have work after that time, when its rate allows it: ``then`` is called."""
        if before := self._alarms.pop(queue, None):
            before.cancel()

        def ask() -> None:
            self._hungry.add(queue)
            self.changed.set()
            then()

        self._alarms[queue] = asyncio.get_running_loop().call_later(wait.total_seconds(), ask)

    def has_room(self, queue: str) -> bool:
        """Whether the queue has a free place."""
        return self._free[queue] > 0

    def take(self, queue: str) -> None:
        """A job of this queue begins."""
        self._free[queue] -= 1

    def give(self, queue: str) -> None:
        """A job of this queue has ended."""
        # Of a claim that is under way the answer will say whether there is work.
        if (self._free[queue] == 0 and not self._asking[queue]) or queue in self.limits:
            self._hungry.add(queue)
        self._free[queue] += 1

"""Waiting until nothing of a paused queue starts any more, and until nothing of it runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from cgjobs.broker import Call, Steps, moves, reads
from cgjobs.broker.call import rest
from cgjobs.duration import format_duration
from cgjobs.errors import WaitTimeout

T = TypeVar("T")
_PAUSE = 0.02  # seconds between two looks at something that takes a second at most


def until_nothing_starts(queue: str, timeout: timedelta, clock: Callable[[], float]) -> Steps[None]:
    """Wait until each worker that has jobs of a paused queue knows of the pause, or its leases are over.

    Raises:
        WaitTimeout: One has not said so in time; never for a timeout of zero, which does not look.
    """
    if timeout <= timedelta(0):
        return
    if unheard := (yield from _until_empty(moves.unheard(queue), timeout, clock)):
        names = ", ".join(unheard[:3])
        raise WaitTimeout(
            f"queue {queue!r} is paused, but {names} may still start a job of it: not heard from within "
            f"{format_duration(timeout)}"
        )


def until_nothing_runs(queue: str, timeout: timedelta, clock: Callable[[], float]) -> Steps[None]:
    """Wait until no job of a queue runs.

    Raises:
        WaitTimeout: Some still do.
    """
    if active := (yield from _until_empty(reads.active(queue), timeout, clock)):
        late = format_duration(timeout)
        raise WaitTimeout(f"queue {queue!r} is paused, but {active} of its jobs still run after {late}")


def _until_empty(look: Call[T], timeout: timedelta, clock: Callable[[], float]) -> Steps[T]:
    """Look until there is nothing, or the time is over; gives what was seen last."""
    deadline = clock() + timeout.total_seconds()
    while True:
        seen: T = yield look
        if not seen or clock() >= deadline:
            return seen
        yield rest(_PAUSE)

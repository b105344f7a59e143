"""The small duties that every worker does beside running jobs; any number of workers may do them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from cgjobs.broker import Send, moves, values
from cgjobs.config import WorkerConfig
from cgjobs.event import Event, EventName
from cgjobs.options import JOB_ID
from cgjobs.running import Run

_LOOK = timedelta(seconds=1)
# Jobs promoted, released and reaped in one call: the broker serves nobody else meanwhile, for some 10 ms.
_PROMOTED, _RELEASED, _REAPED = 500, 1000, 250


_POISON = "Poison: its worker died again and again while it ran"
_UNKNOWN = "Outcome unknown: its worker died while it ran"
WORKER_DIED = frozenset((_POISON, _UNKNOWN))
"""The errors of jobs that failed since their worker had died."""


class Promoter:
    """Makes due jobs ready, and held ones that this worker can run. Tells of queues paused meanwhile.

    Args:
        send: The way to the broker.
        queues: The worker's queues.
        can_run: Whether the worker can run what is held in a group.
        tell: Tells the observers.
        heard: Says that the worker knows of these pauses (queue, which one); once for each.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        send: Send,
        queues: Sequence[str],
        can_run: Callable[[str], bool],
        tell: Callable[[Event], None],
        heard: Callable[[Mapping[str, str]], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send, self._queues, self._can_run, self._tell = send, queues, can_run, tell
        self._heard, self._clock, self._released_at = heard, clock, -math.inf
        self._paused: Mapping[str, str] = {}

    async def run(self) -> None:
        """Look once a second, or when the next job is due."""
        while True:
            wait = await self.look()
            if wait is not None:
                await asyncio.sleep(max(0.001, wait.total_seconds()))

    async def look(self) -> timedelta | None:
        """Look once; gives how long to wait before the next look, None for not at all."""
        seen: values.Promotion = await self._send(moves.promote(self._queues, limit=_PROMOTED))
        for queue in sorted(seen.paused.keys() - self._paused.keys()):
            self._tell(Event("queue_paused", queue))
        for queue in sorted(self._paused.keys() - seen.paused.keys()):
            self._tell(Event("queue_resumed", queue))
        if fresh := dict(seen.paused.items() - self._paused.items()):
            await self._heard(fresh)
        self._paused = seen.paused
        tell_set_aside(seen.set_aside, self._tell)
        tell_dropped(seen.dropped, self._tell)
        await self._release([item for item in seen.held if self._can_run(item[1])])
        if seen.promoted >= _PROMOTED:
            self._queues = [*self._queues[1:], *self._queues[:1]]  # a herd in one holds up no other for long
            return None
        return min(_LOOK, seen.next_due) if seen.next_due is not None else _LOOK

    async def _release(self, groups: Sequence[tuple[str, str]]) -> None:
        """Once a second at most: a worker that cannot run these may take them first and hold them again."""
        if groups and self._clock() - self._released_at >= _LOOK.total_seconds():
            self._released_at = self._clock()
            released: values.Release = await self._send(moves.release(groups, limit=_RELEASED))
            tell_set_aside(released.set_aside, self._tell)


async def reap_expired(send: Send, config: WorkerConfig, tell: Callable[[Event], None]) -> None:
    """Take back the jobs of dead workers, every reap interval."""
    more = False
    while True:
        await asyncio.sleep(0 if more else config.reap_interval.total_seconds())
        seen: values.Reaping = await send(moves.reap(max_crashes=config.max_crashes, limit=_REAPED))
        more = len(seen.jobs) == _REAPED
        for queue, job_id, fate in seen.jobs:
            if fate == "poison":
                tell(Event("job_failed", queue, job_id, error=_POISON))
            elif fate == "unknown":
                tell(Event("job_failed", queue, job_id, error=_UNKNOWN))
            elif fate == "cancelled":
                tell(Event("job_cancelled", queue, job_id))
            else:
                tell(Event("job_recovered", queue, job_id))
        tell_set_aside(seen.set_aside, tell)
        tell_dropped(seen.dropped, tell)


async def cancel_asked(send: Send, worker: str, cancel: Callable[[frozenset[tuple[str, str]]], None]) -> None:
    """Cancel the running jobs that somebody wants cancelled: look once a second."""
    heard: frozenset[tuple[str, str]] = frozenset()
    while True:
        heard = await send(moves.cancels(worker, heard))
        cancel(heard)
        await asyncio.sleep(_LOOK.total_seconds())


def tell_dropped(jobs: Iterable[values.SetAside], tell: Callable[[Event], None]) -> None:
    """Tell of the jobs that failed without having run."""
    for job in jobs:
        tell(Event("job_failed", job.queue, job.entry, error=job.reason))


def tell_set_aside(entries: Iterable[values.SetAside], tell: Callable[[Event], None]) -> None:
    """Tell of what the broker found where jobs should be."""
    for entry in entries:
        if JOB_ID.match(entry.entry):
            tell(Event("job_quarantined", entry.queue, entry.entry, error=entry.reason))
        else:
            tell(Event("job_quarantined", entry.queue, detail=repr(entry.entry), error=entry.reason))


_EVENTS: Mapping[str, EventName] = {
    "completed": "job_completed",
    "retry": "job_retrying",
    "crashed": "job_retrying",
    "failed": "job_failed",
    "unknown": "job_failed",
    "quarantine": "job_failed",
    "snooze": "job_snoozed",
    "limited": "job_rate_limited",
    "hold": "job_held",
    "return": "job_returned",
    "cancelled": "job_cancelled",
}


def tell_settled(
    run: Run, settlement: values.Settlement, *, stale: bool, tell: Callable[[Event], None]
) -> None:
    """Tell how an attempt ended, once the broker has accepted or refused its outcome."""
    job, took = run.claimed, timedelta(seconds=settlement.run_us / 1e6)
    name = "job_stale" if stale else _EVENTS[settlement.kind]
    attempt = job.retries_made + 1
    tell(Event(name, job.queue, job.id, run.subtype, run.correlation_id, attempt, took, settlement.error))

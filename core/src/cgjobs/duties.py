"""The small duties that every worker does beside running jobs; any number of workers may do them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from cgjobs.broker import moves, values
from cgjobs.config import WorkerConfig
from cgjobs.event import Event
from cgjobs.options import JOB_ID
from cgjobs.reports import Send

_LOOK = timedelta(seconds=1)
_AT_ONCE = 1000  # jobs promoted in one call; the broker serves nobody else meanwhile


async def promote_due(send: Send, queues: Sequence[str], tell: Callable[[Event], None]) -> None:
    """Make due jobs ready: look once a second, or when the next is due. Tells of queues held meanwhile."""
    held: frozenset[str] = frozenset()
    while True:
        seen: values.Promotion = await send(moves.promote(queues, limit=_AT_ONCE))
        for queue in sorted(seen.paused - held):
            tell(Event("queue_paused", queue))
        for queue in sorted(held - seen.paused):
            tell(Event("queue_resumed", queue))
        held = seen.paused
        tell_set_aside(seen.set_aside, tell)
        if seen.promoted < _AT_ONCE:
            wait = min(_LOOK, seen.next_due) if seen.next_due is not None else _LOOK
            await asyncio.sleep(max(0.001, wait.total_seconds()))


async def reap_expired(send: Send, config: WorkerConfig, tell: Callable[[Event], None]) -> None:
    """Take back the jobs of dead workers, every reap interval."""
    while True:
        await asyncio.sleep(config.reap_interval.total_seconds())
        seen: values.Reaping = await send(moves.reap(max_crashes=config.max_crashes))
        for queue, job_id, fate in seen.jobs:
            if fate == "poison":
                error = "Poison: its worker died again and again while it ran"
                tell(Event("job_failed", queue, job_id, error=error))
            elif fate == "unknown":
                tell(
                    Event("job_failed", queue, job_id, error="Outcome unknown: its worker died while it ran")
                )
            elif fate == "cancelled":
                tell(Event("job_cancelled", queue, job_id))
            else:
                tell(Event("job_recovered", queue, job_id))
        tell_set_aside(seen.set_aside, tell)


async def cancel_asked(send: Send, worker: str, cancel: Callable[[frozenset[tuple[str, str]]], None]) -> None:
    """Cancel the running jobs that somebody wants cancelled: look once a second."""
    heard: frozenset[tuple[str, str]] = frozenset()
    while True:
        heard = await send(moves.cancels(worker, heard))
        cancel(heard)
        await asyncio.sleep(_LOOK.total_seconds())


def tell_set_aside(entries: Iterable[values.SetAside], tell: Callable[[Event], None]) -> None:
    """Tell of what the broker found where jobs should be."""
    for entry in entries:
        if JOB_ID.match(entry.entry):
            tell(Event("job_quarantined", entry.queue, entry.entry, error=entry.reason))
        else:
            tell(Event("job_quarantined", entry.queue, detail=repr(entry.entry), error=entry.reason))

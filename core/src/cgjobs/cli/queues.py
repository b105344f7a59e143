"""``cgjobs queues`` and ``cgjobs queue``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter

from cgjobs.cli.output import AsJson, show, show_json, show_table, talk
from cgjobs.cli.session import Session, Shared, confirm
from cgjobs.duration import parse_duration
from cgjobs.errors import Fault, InvalidOption
from cgjobs.model import QueueStats
from cgjobs.wire.record import plain

app = App(name="queue", help="Pause, resume or drain one queue.")
_Name = Annotated[str, Parameter(name="NAME")]


def queues(*, as_json: AsJson = False, session: Shared) -> None:
    """List queues with their numbers, all at one moment. COMPLETED counts all since the queue exists.

    Args:
        as_json: Print one JSON document.
    """
    names = session.run(session.operations.queue_names())
    found = session.run(session.operations.stats(names))
    if as_json:
        show_json([{"name": name, **plain(stats)} for name, stats in found.items()])
        return
    head = ("QUEUE", "WAITING", "ACTIVE", "DELAYED", "FAILED", "COMPLETED", "PAUSED")
    show_table(head, (_row(name, stats) for name, stats in found.items()))


@app.command
def pause(
    name: _Name,
    /,
    *,
    drain: bool = False,
    timeout: str = "60s",
    as_json: AsJson = False,
    session: Shared,
) -> None:
    """Hold a queue: once this returns nothing of it starts any more; what runs goes on.

    Args:
        name: The queue.
        drain: Wait until what runs has ended, too.
        timeout: Longest wait, such as 60s. The queue is paused even when that is over; then exits with 1.
        as_json: Print one JSON document.
    """
    longest = _longest(timeout)
    steps = session.operations.pause(session.queue(name), timeout=longest, drain=longest if drain else None)
    changed = session.run(steps)
    _tell(name, paused=True, changed=changed, as_json=as_json)


@app.command
def resume(name: _Name, /, *, as_json: AsJson = False, session: Shared) -> None:
    """Let a queue go on, also one that waits since a handler met a rate limit.

    Args:
        name: The queue.
        as_json: Print one JSON document.
    """
    changed = session.run(session.operations.resume(session.queue(name)))
    _tell(name, paused=False, changed=changed, as_json=as_json)


@app.command
def drain(
    name: _Name,
    /,
    *,
    delayed: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    as_json: AsJson = False,
    session: Shared,
) -> None:
    """Remove all waiting jobs of a queue. What runs goes on; failed and completed jobs stay.

    Args:
        name: The queue.
        delayed: Remove the delayed ones, too.
        dry_run: Say how many these are now, and remove none.
        yes: Do not ask.
        as_json: Print one JSON document.
    """
    count = _drainable(session.queue(name), session, delayed=delayed)
    if not dry_run:
        confirm(f"This removes {count} jobs of {name!r} for good.", yes=yes)
        count = session.run(session.operations.drain(name, delayed=delayed))
    if as_json:
        show_json({"queue": name, "dryRun": dry_run, "removed": 0 if dry_run else count, "jobs": count})
    else:
        show(f"{count} jobs {'would be removed' if dry_run else 'removed'}")


@app.command(name="stats")
def show_stats(name: _Name, /, *, as_json: AsJson = False, session: Shared) -> None:
    """Show a queue's numbers.

    Args:
        name: The queue.
        as_json: Print one JSON document.
    """
    stats = session.run(session.operations.stats([session.queue(name)]))[name]
    if as_json:
        show_json({"name": name, **plain(stats)})
        return
    for number, value in plain(stats).items():
        if number != "limitedUntil":
            show(f"{number + ':':<11}{_yes(value) if isinstance(value, bool) else value}")
    if stats.limited_until:
        show(f"{'limited:':<11}{_until(stats.limited_until)}")


def _longest(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidOption("the options", [Fault("--timeout", str(error))]) from None


def _row(name: str, stats: QueueStats) -> tuple[object, ...]:
    numbers = (stats.waiting, stats.active, stats.delayed, stats.failed, stats.completed)
    return (name, *numbers, _until(stats.limited_until) if stats.limited_until else _yes(stats.paused))


def _until(moment: datetime) -> str:
    return f"until {moment:%Y-%m-%d %H:%M:%S}Z"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _tell(name: str, *, paused: bool, changed: bool, as_json: bool) -> None:
    if as_json:
        show_json({"queue": name, "paused": paused, "changed": changed})
        return
    states = {(True, True): "is paused", (True, False): "was paused already"}
    states |= {(False, True): "goes on", (False, False): "was not paused"}
    talk(f"queue {name!r} {states[paused, changed]}")


def _drainable(name: str, session: Session, *, delayed: bool) -> int:
    stats = session.run(session.operations.stats([name]))[name]
    return stats.waiting + (stats.delayed if delayed else 0)

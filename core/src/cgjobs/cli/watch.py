"""``cgjobs watch``: what happens, while it happens."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated, Any

from cyclopts import Parameter

from cgjobs.broker import reads
from cgjobs.cli.exits import OK
from cgjobs.cli.output import AsJson, pretty_json, show, show_json
from cgjobs.cli.session import Session, Shared
from cgjobs.model import Job

_LOOK = timedelta(seconds=0.5)
_ENDED = timedelta(seconds=1)  # for reading what a job that is over has left


def watch(
    job: Annotated[str | None, Parameter(name="JOB")] = None,
    /,
    *,
    queue: str | None = None,
    as_json: AsJson = False,
    session: Shared,
) -> int:
    """Show what happens to jobs until interrupted, or with JOB until that one has ended.

    Args:
        job: The id of a job: its state and progress, and at its end its result. Exits with 1 when it fails.
        queue: Only this queue.
        as_json: Print one JSON line for each event.
    """
    if job is not None:
        return _watch_job(job, session, as_json=as_json)
    wanted = None if queue is None else session.queue(queue)
    cursor = session.send(reads.events_tip())
    while True:
        cursor, events = session.send(reads.events_after(cursor, _LOOK))
        for what, of, job_id, detail in (event for event in events if len(event) == 4):
            if wanted in (None, of):
                _show_event({"event": what, "queue": of, "jobId": job_id, "detail": detail}, as_json=as_json)
        sys.stdout.flush()  # whoever reads a pipe wants to see it now


def _show_event(event: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        show_json({name: value for name, value in event.items() if value})
    else:
        show("  ".join(value for value in event.values() if value))


def _watch_job(job_id: str, session: Session, *, as_json: bool) -> int:
    cursor = session.send(reads.events_tip())
    shown: dict[str, Any] = {}
    while True:
        job = session.run(session.operations.find(job_id))
        if job is None or job.state.final:
            break
        if (now := _seen(job)) != shown:
            shown = now
            show_json(now) if as_json else show("  ".join(str(part) for part in now.values() if part != ""))
            sys.stdout.flush()
        cursor, _ = session.send(reads.events_after(cursor, _LOOK))
    result = session.run(session.operations.wait(job_id, _ENDED))  # raises when it failed or is unknown
    if as_json:
        show_json({"jobId": job_id, "state": "completed", "result": result})
    else:
        show(f"{job_id}  completed")
        if result is not None:
            show(pretty_json(result))
    return OK


def _seen(job: Job) -> dict[str, Any]:
    progress = job.progress
    if progress is None:
        far = ""
    elif progress.fraction is None:
        far = f"{progress.done:g} {progress.message}".rstrip()
    else:
        far = f"{progress.fraction:.0%} {progress.message}".rstrip()
    return {"jobId": job.id, "state": job.state.value, "attempt": job.attempt, "progress": far}

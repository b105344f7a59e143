"""Waiting for a job's end, with a progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from cgjobs.broker import reads
from cgjobs.cli.output import printable
from cgjobs.cli.session import Session
from cgjobs.model import Job


def wait_for(job: Job, timeout: timedelta, session: Session) -> Any:
    """The result of a job once it has ended; raises like `Client.wait`."""
    steps = session.operations.wait(job.id, timeout)
    with _bar(job) as update:
        try:
            step = next(steps)
            while True:
                reply = session.sender.step(step)
                if update is not None:
                    update(session.send(reads.job(job.id)))
                step = steps.send(reply)
        except StopIteration as end:
            return end.value


@contextmanager
def _bar(job: Job) -> Iterator[Callable[[Job | None], None] | None]:
    """What to call with each new look at the job; None when nobody looks on."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

    text = TextColumn("{task.description}", markup=False)
    bar = Progress(
        SpinnerColumn(), text, BarColumn(), TaskProgressColumn(), console=Console(stderr=True), transient=True
    )
    with bar:
        task = bar.add_task(f"{job.name} {job.state}", total=None)

        def update(found: Job | None) -> None:
            if found is not None:
                report = found.progress
                said = printable(report.message, lines=False) if report else ""
                bar.update(task, description=f"{found.name} {found.state} {said}".rstrip())
                if report is not None:
                    bar.update(task, completed=report.done, total=report.total)

        yield update

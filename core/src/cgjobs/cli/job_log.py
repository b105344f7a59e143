"""``cgjobs job log``: what a job's handler logged."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated

import orjson
from cyclopts import Parameter

from cgjobs.broker import lines
from cgjobs.cli.output import AsJson, show, show_json
from cgjobs.cli.session import Shared
from cgjobs.model import LogLine

_LOOK = 0.5  # seconds


def log(
    job_id: Annotated[str, Parameter(name="ID")],
    /,
    *,
    follow: bool = False,
    as_json: AsJson = False,
    session: Shared,
) -> None:
    """Show what a job's handler logged, in all its attempts: the lines that are kept with the job.

    Args:
        job_id: Its id.
        follow: Go on until the job has ended.
        as_json: Print one JSON line for each line.
    """
    found = session.run(session.operations.log(job_id))
    _show(found, as_json=as_json)
    while follow:
        sys.stdout.flush()  # whoever reads a pipe wants to see it now
        job = session.run(session.operations.find(job_id))
        later = session.send(lines.log(job_id))
        _show(_new(found, later), as_json=as_json)
        if job is None or job.state.final:
            return
        found = later or found
        time.sleep(_LOOK)


def _new(before: Sequence[LogLine], now: Sequence[LogLine]) -> Sequence[LogLine]:
    """What came after the last line seen; all of it when that one is no longer kept."""
    if before and before[-1] in now:
        return now[len(now) - list(reversed(now)).index(before[-1]) :]
    return now


def _show(found: Sequence[LogLine], *, as_json: bool) -> None:
    for line in found:
        if as_json:
            show_json(line)
        else:
            show(shown_line(line))


def shown_line(line: LogLine) -> str:
    """A line for people."""
    at = "" if line.at is None else f"{line.at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    data = " ".join(f"{name}={_value(value)}" for name, value in line.fields.items())
    return f"{at}  {line.attempt}  {line.level:<5}  {line.event}  {data}".strip()


def _value(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()

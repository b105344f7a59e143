"""The lines that a job's handler logged, as they are kept with the job."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import orjson

from cgjobs import keys
from cgjobs.broker.call import Call
from cgjobs.broker.replies import text
from cgjobs.model import LogLine


def log(job_id: str) -> Call[tuple[LogLine, ...]]:
    """The lines kept with a job, oldest first."""

    def parse(reply: Any) -> tuple[LogLine, ...]:
        return tuple(map(_line, reply if isinstance(reply, list) else ()))

    return Call((("LRANGE", keys.log(job_id), 0, -1),), parse)


def _line(entry: bytes) -> LogLine:
    """One line; what is none of ours is shown as it is."""
    with contextlib.suppress(orjson.JSONDecodeError, ValueError):
        match orjson.loads(entry):
            case {
                "level": str() as level,
                "event": str() as event,
                "data": dict() as data,
                "at": str() as at,
                "attempt": int() as attempt,
            }:
                return LogLine(level, event, data, datetime.fromisoformat(at).astimezone(UTC), attempt)
    return LogLine("error", text(entry))

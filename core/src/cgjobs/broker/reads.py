"""What can be seen of jobs, queues and workers, as prepared calls. None of them changes anything."""

from __future__ import annotations

import base64
import binascii
import contextlib
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import orjson

from cgjobs import keys
from cgjobs.broker.call import Call, fcall_ro, together
from cgjobs.broker.replies import dependency_ids, duration, number, text
from cgjobs.broker.values import STATES
from cgjobs.codec import Codec, Unreadable
from cgjobs.config import LimitConfig
from cgjobs.model import AttemptError, Job, JobState, Priority, Progress, QueueStats, WorkerInfo

_RQ_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
# Whatever the limits of who enqueued it were, a job can be looked at.
_CODEC = Codec(LimitConfig(payload_bytes=16 * 1024 * 1024, payload_depth=128))
_SECOND, _MILLISECOND = timedelta(seconds=1), timedelta(milliseconds=1)
_EVENT_PARTS = 4  # what, queue, job id, subtype or detail
_TRACEBACK_BYTES = 64 * 1024  # shown of one error; a bomb in the results stream is not inflated further


@attrs.frozen
class QueueReading:
    """`QueueStats`, and what else is known of a queue.

    Args:
        stats: The six numbers.
        waiting_since: Since when the job that waits longest has been ready, by the server's clock.
        held: How many of the waiting jobs are held.
        deferred: Jobs that wait for other jobs.
    """

    stats: QueueStats
    waiting_since: datetime | None
    held: int = 0
    deferred: int = 0


def job(job_id: str) -> Call[Job | None]:
    """One job, or None."""
    commands = (("HGETALL", keys.job(job_id)), ("XRANGE", keys.results(job_id), "-", "+"))

    def parse(replies: list[Any]) -> Job | None:
        return _job(job_id, _mapping(replies[0]), replies[1])

    return Call(commands, parse)


@attrs.frozen
class Ending:
    """What is known of a job that may have ended and gone.

    Args:
        job: The job, or None when it is not kept.
        has_result: Whether a result was kept for it.
        result: That result, in wire form.
    """

    job: Job | None
    has_result: bool
    result: Any


def ending(job_id: str) -> Call[Ending]:
    """The job, or what it left behind."""
    commands = job(job_id).commands

    def parse(replies: list[Any]) -> Ending:
        entries = _list(replies[1])
        has_result = bool(entries) and "return_value" in _mapping(entries[-1][1])
        return Ending(_job(job_id, _mapping(replies[0]), entries), has_result, _results(entries)[1])

    return Call(commands, parse)


def jobs(ids: Iterable[str]) -> Call[list[Job]]:
    """The jobs with these ids that exist, without their errors and results."""
    wanted = tuple(ids)

    def parse(replies: list[Any]) -> list[Job]:
        found = (_job(job_id, _mapping(reply), []) for job_id, reply in zip(wanted, replies, strict=True))
        return [item for item in found if item is not None]

    return together((("HGETALL", keys.job(job_id)) for job_id in wanted), parse)


def stats(queues: Iterable[str]) -> Call[dict[str, QueueReading]]:
    """The numbers of queues, all at one moment."""
    wanted = tuple(queues)

    def parse(reply: list[list[Any]]) -> dict[str, QueueReading]:
        return {
            queue: QueueReading(
                QueueStats(
                    waiting=row[0],
                    active=row[1],
                    completed=row[2],
                    failed=row[3],
                    delayed=row[4],
                    paused=row[5] == 1,
                    limited_until=_limited(row[9]),
                ),
                time(row[6]),
                row[7],
                row[8],
            )
            for queue, row in zip(wanted, reply, strict=True)
        }

    return Call((fcall_ro("stats", *wanted),), parse)


def active(queue: str) -> Call[int]:
    """How many jobs of a queue run."""
    return Call((("ZCARD", keys.active(queue)),), lambda reply: reply if isinstance(reply, int) else 0)


def _limited(ms: int) -> datetime | None:
    """Until when a rate limit holds a queue; None when that is over, by this host's clock."""
    ends = _score(str(ms / 1000).encode())
    return ends if ends is not None and ends > datetime.now(UTC) else None


def queue_names() -> Call[list[str]]:
    """The queues that anything was ever enqueued to, sorted; level lists are not queues of their own."""

    def parse(reply: Any) -> list[str]:
        prefix = keys.waiting("")
        entries = (text(entry) for entry in _list(reply))
        return sorted(
            {entry.removeprefix(prefix).partition(":")[0] for entry in entries if entry.startswith(prefix)}
        )

    return Call((("SMEMBERS", keys.QUEUES),), parse)


def worker_names() -> Call[list[str]]:
    """Names of the workers that are registered, stale ones included."""

    def parse(reply: Any) -> list[str]:
        return sorted(text(entry).removeprefix(keys.worker("")) for entry in _list(reply))

    return Call((("SMEMBERS", keys.WORKERS),), parse)


def workers(names: Iterable[str]) -> Call[list[WorkerInfo]]:
    """The workers with these names that are alive."""
    wanted = tuple(names)

    def parse(replies: list[Any]) -> list[WorkerInfo]:
        rows = ((name, _mapping(reply)) for name, reply in zip(wanted, replies, strict=True))
        return [_worker(name, fields) for name, fields in rows if fields and "death" not in fields]

    return together((("HGETALL", keys.worker(name)) for name in wanted), parse)


def metrics() -> Call[dict[str, int]]:
    """The counters that the moves keep, by field."""

    def parse(reply: Any) -> dict[str, int]:
        return {name: number(value) for name, value in _mapping(reply).items()}

    return Call((("HGETALL", keys.METRICS),), parse)


def schedule(name: str) -> Call[Mapping[str, str]]:
    """What is known of a schedule's fires: ``slot`` (ms), ``fired_at``, ``note``, ``jobs``, ``fires``."""
    return Call(
        (("HGETALL", keys.schedule(name)),), lambda reply: {k: text(v) for k, v in _mapping(reply).items()}
    )


def events_tip() -> Call[str]:
    """Id of the newest entry of the event stream, ``0-0`` when there is none."""

    def parse(reply: Any) -> str:
        entries = _list(reply)
        return text(entries[0][0]) if entries else "0-0"

    return Call((("XREVRANGE", keys.EVENTS, "+", "-", "COUNT", 1),), parse)


def recent_events() -> Call[list[list[str]]]:
    """The events still in the stream, newest first: [what, queue, job id, subtype or detail]."""
    return Call((("XREVRANGE", keys.EVENTS, "+", "-"),), lambda reply: _events(_list(reply))[::-1])


def events_after(cursor: str, block: timedelta) -> Call[tuple[str, list[list[str]]]]:
    """Wait for events after ``cursor``. Gives the new cursor and the events, none when the time is over."""
    ms = max(1, int(block / timedelta(milliseconds=1)))

    def parse(reply: Any) -> tuple[str, list[list[str]]]:
        if not reply:
            return cursor, []
        entries = reply[0][1]
        return text(entries[-1][0]), _events(entries)

    return Call((("XREAD", "BLOCK", ms, "STREAMS", keys.EVENTS, cursor),), parse, block=block.total_seconds())


def _events(entries: list[Any]) -> list[list[str]]:
    found: list[list[str]] = []
    for _, fields in entries:
        with contextlib.suppress(orjson.JSONDecodeError, TypeError):
            events = orjson.loads(_mapping(fields).get("events", b"[]"))
            found += [[str(part) for part in event] for event in events if len(event) == _EVENT_PARTS]
    return found


def _list(reply: Any) -> list[Any]:
    return list(reply) if isinstance(reply, (list, set, tuple)) else []


def _mapping(reply: Any) -> dict[str, bytes]:
    if isinstance(reply, dict):
        return {text(name): value for name, value in reply.items()}
    flat = _list(reply)
    return {text(flat[i]): flat[i + 1] for i in range(0, len(flat) - 1, 2)}


def _job(job_id: str, fields: Mapping[str, bytes], entries: Any) -> Job | None:
    if not fields:
        return None
    name, payload, correlation_id = text(fields.get("description", b"")).partition("(")[0], {}, ""
    version = 1
    with contextlib.suppress(Unreadable):
        envelope = _CODEC.unpack(fields.get("data", b""))
        name, payload, correlation_id = envelope.name, dict(envelope.payload), envelope.correlation_id
        version = envelope.payload_version
    made, left = number(fields.get("number_of_retries", b"0")), number(fields.get("retries_left", b"0"))
    timeout = duration(fields.get("timeout_ms", b""), _MILLISECOND)
    errors, result = _results(entries)
    due = fields.get("status") == b"scheduled"
    return Job(
        id=job_id,
        queue=text(fields.get("origin", b"")),
        name=name,
        state=_state(fields),
        payload=payload,
        priority=_priority(fields.get("priority", b"")),
        attempt=made + 1,  # a failed job's is the one that failed: it was not counted as made
        attempts=made + 1 + left,
        recoveries=number(fields.get("recoveries", b"0")),
        correlation_id=correlation_id,
        created_at=time(fields.get("created_at")),
        started_at=time(fields.get("started_at")),
        ended_at=time(fields.get("ended_at")),
        run_at=_score(fields.get("run_at")) if due else None,
        timeout=timeout or duration(fields.get("timeout", b""), _SECOND),
        progress=_progress(fields.get("meta")),
        worker=text(fields.get("worker_name", b"")),
        errors=errors,
        result=result,
        tags=tags(fields.get("tags")),
        debounced=number(fields.get("debounced", b"0")),
        outcome_unknown=fields.get("outcome") == b"unknown",
        checkpoint=_json(fields.get("checkpoint")),
        depends_on=dependency_ids(fields.get("dependency_ids", b"")),
        payload_version=version,
        held=text(fields.get("held", b"")) if _state(fields) is JobState.HELD else "",
        held_reason=text(fields.get("held_reason", b"")) if _state(fields) is JobState.HELD else "",
    )


def tags(value: bytes | None) -> tuple[str, ...]:
    """The tags in a job's hash, none for what is no list of texts."""
    with contextlib.suppress(orjson.JSONDecodeError):
        found = orjson.loads(value or b"[]")
        if isinstance(found, list) and all(isinstance(tag, str) for tag in found):
            return tuple(found)
    return ()


def _json(value: bytes | None) -> Any:
    if value:
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(value)
    return None


def _state(fields: Mapping[str, bytes]) -> JobState:
    if fields.get("status") == b"deferred" and "held" in fields:
        return JobState.HELD
    return STATES.get(text(fields.get("status", b"")), JobState.FAILED)


def _priority(value: bytes) -> Priority:
    try:
        return Priority(text(value))
    except ValueError:
        return Priority.NORMAL


def time(value: bytes | None) -> datetime | None:
    """A time of RQ's hashes as aware UTC, None for what is none."""
    if value:
        with contextlib.suppress(ValueError):
            return datetime.strptime(text(value), _RQ_TIME).replace(tzinfo=UTC)
    return None


def _score(value: bytes | None) -> datetime | None:
    if value:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(float(value), UTC)
    return None


def _progress(meta: bytes | None) -> Progress | None:
    if meta:
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
            match orjson.loads(meta)["progress"]:
                case {
                    "done": int() | float() as done,
                    "total": int() | float() | None as total,
                    "message": str() as message,
                }:
                    return Progress(done, total, message)
    return None


def _results(entries: Any) -> tuple[tuple[AttemptError, ...], Any]:
    errors: list[AttemptError] = []
    result: Any = None
    for entry_id, raw in _list(entries):
        fields = _mapping(raw)
        if fields.get("type") == b"1" and "return_value" in fields:
            with contextlib.suppress(binascii.Error, orjson.JSONDecodeError):
                result = orjson.loads(base64.b64decode(fields["return_value"]))
        elif "error" in fields or "exc_string" in fields:
            at = _moment(entry_id)
            trace = _inflated(fields.get("exc_string", b""))
            last_line = trace.strip().rpartition("\n")[2]
            errors.append(
                AttemptError(
                    number(fields.get("attempt", b"0")) or len(errors) + 1,
                    at,
                    text(fields.get("error", b"")) or last_line,
                    trace,
                    text(fields.get("worker_name", b"")),
                )
            )
    return tuple(errors), result


def last_error(entries: Any) -> str | None:
    """The error in the last entry of a job's results, class and message; None when there is none."""
    errors, _ = _results(entries)
    return errors[-1].error if errors else None


def _moment(entry_id: bytes) -> datetime:
    """When an entry of a stream was added; what was added with an id of its own may say anything."""
    ms = number(text(entry_id).partition("-")[0])
    return _score(b"%f" % (ms / 1000)) or datetime.fromtimestamp(0, UTC)


def _inflated(value: bytes) -> str:
    with contextlib.suppress(binascii.Error, zlib.error):
        return text(zlib.decompressobj().decompress(base64.b64decode(value), _TRACEBACK_BYTES))
    return ""


def _worker(name: str, fields: Mapping[str, bytes]) -> WorkerInfo:
    return WorkerInfo(
        name=name,
        queues=tuple(part for part in text(fields.get("queues", b"")).split(",") if part),
        pid=number(fields.get("pid", b"0")),
        hostname=text(fields.get("hostname", b"")),
        state=text(fields.get("state", b"")),
        started_at=time(fields.get("birth")),
        last_seen_at=time(fields.get("last_heartbeat")),
    )

"""What ``cgjobs doctor`` looks at, as prepared calls. None of them changes anything, nor loads functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from cgjobs import keys
from cgjobs.broker import library
from cgjobs.broker.call import Call, Command, together
from cgjobs.broker.pages import REGISTRIES
from cgjobs.broker.replies import text
from cgjobs.broker.values import STATES
from cgjobs.model import JobState, Priority


@attrs.frozen
class ServerFacts:
    """How the server is set up.

    Args:
        info: Its ``INFO``: sections server, memory and persistence.
        now: Its clock.
        quarantined: Entries of the quarantine.
        digest: Of the functions that it has, or None when it has none.
    """

    info: Mapping[str, Any]
    now: datetime
    quarantined: int
    digest: str | None


@attrs.frozen
class Places:
    """Where jobs stand, all at one moment.

    Args:
        jobs: For each job its places: queue and state.
        complete: False when there are more jobs than were looked at.
    """

    jobs: Mapping[str, tuple[tuple[str, JobState], ...]]
    complete: bool


@attrs.frozen
class Leases:
    """Running jobs and their leases, as ``queue:id:token``, all at one moment.

    Args:
        active: The running jobs.
        leased: Those that have a lease.
        complete: False when there are more than were looked at.
    """

    active: frozenset[str]
    leased: frozenset[str]
    complete: bool


def server() -> Call[ServerFacts]:
    """How the server is set up."""
    commands: tuple[Command, ...] = (
        ("INFO", "server", "memory", "persistence"),
        ("TIME",),
        ("XLEN", keys.QUARANTINE),
        ("FUNCTION LIST", "LIBRARYNAME", library.NAME, "WITHCODE"),
    )

    def parse(replies: list[Any]) -> ServerFacts:
        info, (sec, usec), quarantined, functions = replies
        now = datetime.fromtimestamp(int(sec) + int(usec) / 1e6, UTC)
        return ServerFacts(info, now, quarantined or 0, _digest(functions))

    return Call(commands, parse)


def _digest(reply: Any) -> str | None:
    for item in reply if isinstance(reply, list) else ():
        if isinstance(item, bytes) and item.startswith(b"#!lua"):
            return text(item).split("'")[3]
        if found := _digest(item):
            return found
    return None


def places(queues: Iterable[str], limit: int) -> Call[Places]:
    """Where the jobs of these queues stand; at most ``limit`` of each queue and state."""
    wanted = tuple(queues)
    spots = [(queue, JobState.WAITING) for queue in wanted for _ in Priority]
    spots += [(queue, state) for queue in wanted for state in REGISTRIES]
    lists = [keys.waiting(queue, level) for queue in wanted for level in Priority]
    sets = [registry(queue) for queue in wanted for registry in REGISTRIES.values()]
    commands = (*(("LRANGE", key, 0, limit) for key in lists), *(("ZRANGE", key, 0, limit) for key in sets))

    def parse(replies: list[Any]) -> Places:
        found: dict[str, tuple[tuple[str, JobState], ...]] = {}
        for spot, reply in zip(spots, replies, strict=True):
            for entry in reply or ():
                job_id = text(entry).partition(":")[0]
                found[job_id] = (*found.get(job_id, ()), spot)
        return Places(found, all(len(reply or ()) <= limit for reply in replies))

    return Call(commands, parse)


def groups(queues: Iterable[str], limit: int) -> Call[list[tuple[str, str]]]:
    """The groups of held jobs of these queues, (queue, group); at most one more than ``limit`` of each."""
    wanted = tuple(queues)

    def parse(replies: list[Any]) -> list[tuple[str, str]]:
        rows = zip(wanted, replies, strict=True)
        return [(queue, text(group)) for queue, reply in rows for group in reply or ()]

    return together((("ZRANGE", keys.groups(queue), 0, limit) for queue in wanted), parse)


def held(found: Iterable[tuple[str, str]]) -> Call[list[int]]:
    """How many jobs each (queue, group) holds."""
    commands = (("LLEN", keys.held(f"{queue}:{group}")) for queue, group in found)
    return together(commands, lambda replies: [size if isinstance(size, int) else 0 for size in replies])


def statuses(ids: Iterable[str]) -> Call[dict[str, JobState | None]]:
    """The state that each job's own hash says; None for a job without one."""
    wanted = tuple(ids)

    def parse(replies: Any) -> dict[str, JobState | None]:
        rows = replies if len(wanted) != 1 else [replies]
        return {job_id: STATES.get(text(row or b"")) for job_id, row in zip(wanted, rows, strict=True)}

    return Call(tuple(("HGET", keys.job(job_id), "status") for job_id in wanted), parse)


def hashes(cursor: int, count: int) -> Call[tuple[int, list[str]]]:
    """Some ids of jobs that have a hash, and where to go on; 0: that was all."""
    prefix = keys.job("")

    def parse(reply: Any) -> tuple[int, list[str]]:
        return int(reply[0]), [text(key).removeprefix(prefix) for key in reply[1]]

    return Call((("SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", count),), parse)


def leases(queues: Iterable[str], limit: int) -> Call[Leases]:
    """The running jobs of these queues and their leases."""
    wanted = tuple(queues)
    commands: list[Command] = [("ZRANGE", keys.LEASES, 0, limit)]
    commands += [("ZRANGE", keys.active(queue), 0, limit) for queue in wanted]

    def parse(replies: Any) -> Leases:
        first, *rest = replies if wanted else [replies]
        active = {
            f"{queue}:{text(entry)}"
            for queue, reply in zip(wanted, rest, strict=True)
            for entry in reply or ()
        }
        complete = all(len(reply or ()) <= limit for reply in (first, *rest))
        return Leases(frozenset(active), frozenset(text(entry) for entry in first or ()), complete)

    return Call(tuple(commands), parse)

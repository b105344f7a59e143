"""The moves of a job as prepared calls, one function for each server-side function."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import orjson

from cgjobs.broker.call import Call, Command, fcall, fcall_ro
from cgjobs.broker.replies import dependency_ids, number, text
from cgjobs.broker.values import (
    UNLIMITED,
    Claimed,
    Firing,
    NewJob,
    ProducerLimits,
    Promotion,
    Reaping,
    Release,
    Renewal,
    SetAside,
    Settlement,
    Turn,
    milliseconds,
)
from cgjobs.errors import BrokerFull, DependencyNotFound, QueueFull

_EARLY = 3  # the reply of fire when a slot is not due
NO_LIMITS: Mapping[str, Sequence[int]] = MappingProxyType({})


def new_nonce() -> str:
    """Names one call, so that the same call sent again is known."""
    return secrets.token_hex(8)


def enqueue(jobs: Iterable[NewJob], limits: ProducerLimits = UNLIMITED) -> Call[list[bool | str]]:
    """Add jobs, all or none, those that others depend on before them.

    Gives for each True when it was added, False when another job has its id, or the id of the job that has
    its unique key.
    """
    nonce, new = new_nonce(), tuple(jobs)
    arguments = [argument for job in new for argument in job.arguments()]
    arguments += limits.arguments()

    def parse(reply: list[Any]) -> list[bool | str]:
        if reply and reply[0] == -1:
            raise DependencyNotFound(new[reply[1]].id, text(reply[2]))
        _raise_refusal(reply)
        return [added == 1 if isinstance(added, int) else text(added) for added in reply]

    return Call(
        (fcall("enqueue", nonce, 0, *arguments),),
        parse,
        (fcall("enqueue", nonce, 1, *arguments),),
    )


def _raise_refusal(reply: list[Any]) -> None:
    """Raise what a refused enqueue says."""
    match reply:
        case [b"full", bytes() as queue, int() as waiting, int() as most]:
            raise QueueFull(text(queue), waiting, most)
        case [b"memory", int() as used, int() as most]:
            raise BrokerFull(
                f"the broker has used {used:,} of its {most:,} bytes; the rest is kept for the workers. "
                "Raise its maxmemory or remove jobs"
            )


def turn(
    worker: str,
    outcomes: Sequence[Settlement],
    wants: Mapping[str, int],
    *,
    limits: Mapping[str, Sequence[int]] = NO_LIMITS,
    lease: timedelta,
    largest: int,
) -> Call[Turn]:
    """Settle what ended and claim what is wanted, in one round trip.

    Args:
        worker: The worker's name.
        outcomes: What ended; at most 500.
        wants: How many jobs to claim, by queue; at most 500 in sum.
        limits: Those of the queues that have some, see `values.claim_limits`.
        lease: How long the claimed jobs are this worker's.
        largest: Most bytes of a job's data; a larger one fails unread.
    """
    nonce = new_nonce()
    wanted: list[str | int | bytes] = []
    for queue, n in wants.items():
        wanted += (queue, orjson.dumps((n, *limits[queue])) if queue in limits else n)

    def parse(
        refused: list[bytes],
        jobs: list[list[bytes]],
        left: list[Any],
        set_aside: list[bytes],
        dropped: list[bytes],
        later: list[Any],
    ) -> Turn:
        return Turn(
            tuple(text(job_id) for job_id in refused),
            tuple(_claimed(fields, nonce) for fields in jobs),
            dict(_by_queue(left)),
            _set_aside(set_aside),
            _set_aside(dropped),
            {queue: timedelta(milliseconds=ms) for queue, ms in _by_queue(later)},
        )

    if not outcomes:

        def claim(resent: int) -> Command:
            return fcall("claim", worker, nonce, resent, milliseconds(lease), largest, *wanted)

        return Call((claim(0),), lambda reply: parse([], *reply), (claim(1),))

    settled = orjson.dumps([item.as_row() for item in outcomes])

    def settle(resent: int) -> Command:
        return fcall("settle", worker, nonce, resent, milliseconds(lease), largest, settled, *wanted)

    return Call((settle(0),), lambda reply: parse(*reply), (settle(1),))


def _by_queue(flat: list[Any]) -> Iterator[tuple[str, int]]:
    return ((text(flat[i]), flat[i + 1]) for i in range(0, len(flat), 2))


def _claimed(fields: list[Any], token: str) -> Claimed:
    queue, job_id, data, made, left, recoveries, created, priority, timeout_ms, backoff = fields[:10]
    rest = dict(zip(fields[10::2], fields[11::2], strict=False)) if len(fields) > 10 else {}
    return Claimed(
        queue.decode(),
        job_id.decode(),
        token,
        data,
        number(made),
        number(left),
        number(recoveries),
        text(created),
        text(priority),
        text(timeout_ms),
        text(backoff),
        rest.get(b"checkpoint", b""),
        _ends(*rest[b"dependencies"]) if b"dependencies" in rest else {},
        text(rest.get(b"enqueued_at", b"")),
        text(rest.get(b"started_at", b"")),
    )


def _ends(ids: bytes, flat: list[bytes]) -> dict[str, str]:
    """What became of the dependencies, in the order in which they were named."""
    ends = {text(job_id): text(end) for job_id, end in zip(*[iter(flat)] * 2, strict=True)}
    named = [job_id for job_id in dependency_ids(ids) if job_id in ends]
    return {job_id: ends[job_id] for job_id in (*named, *(ends.keys() - set(named)))}


def renew(
    worker: str, jobs: Iterable[tuple[str, str, str]], *, lease: timedelta, ttl: timedelta, busy: bool
) -> Call[Renewal]:
    """Keep leases (queue, id, token) and the worker's entry."""
    flat = [part for job in jobs for part in job]
    command = fcall(
        "renew", worker, milliseconds(lease), int(ttl.total_seconds()), "busy" if busy else "idle", *flat
    )

    def parse(reply: list[Any]) -> Renewal:
        known, lost, epoch = reply
        pairs = zip(*[iter(lost)] * 2, strict=True)
        return Renewal(known == 1, tuple((text(job_id), text(token)) for job_id, token in pairs), text(epoch))

    return Call((command,), parse)


def progress(reports: Iterable[tuple[str, str, bytes]]) -> Call[int]:
    """Keep the last reports (id, token, meta as JSON) of running jobs."""
    return Call((fcall("progress", *(part for report in reports for part in report)),), int)


def checkpoint(values: Iterable[tuple[str, str, bytes]]) -> Call[int]:
    """Keep the values (id, token, JSON or nothing) from which the next attempts of running jobs go on."""
    return Call((fcall("checkpoint", *(part for value in values for part in value)),), int)


def log(most: int, lines: Iterable[tuple[str, str, int, Sequence[str]]]) -> Call[int]:
    """Append to the lines of running jobs (id, token, lines of the attempt sent before, lines)."""
    flat = (
        part
        for job_id, token, before, texts in lines
        for part in (job_id, token, before, orjson.dumps(list(texts)))
    )
    return Call((fcall("log", most, *flat),), int)


def begin(job_id: str, token: str) -> Call[bool]:
    """Say that a job which may not run twice begins. Gives whether it still is this attempt's."""
    return Call((fcall("begin", job_id, token),), bool)


def once(job_id: str, token: str, key: str, nonce: str, move: str) -> Call[str]:
    """Mark one effect of a running job; ``move`` is ``begin``, ``done`` or ``undo``. Gives what is known."""
    return Call((fcall("once", job_id, token, key, nonce, move),), text)


def reap(*, max_crashes: int, limit: int = 250) -> Call[Reaping]:
    """Take back jobs whose lease ended."""
    return Call(
        (fcall("reap", max_crashes, limit),),
        lambda reply: Reaping(tuple(_triples(reply[0])), *map(_set_aside, reply[1:])),
    )


def _triples(reply: list[bytes]) -> Iterator[tuple[str, str, str]]:
    return ((text(a), text(b), text(c)) for a, b, c in zip(*[iter(reply)] * 3, strict=True))


def _set_aside(reply: list[bytes]) -> tuple[SetAside, ...]:
    return tuple(SetAside(*triple) for triple in _triples(reply))


def promote(queues: Iterable[str], *, limit: int = 1000) -> Call[Promotion]:
    """Make due jobs ready."""

    def parse(reply: list[Any]) -> Promotion:
        promoted, due_ms, paused, set_aside, held, dropped = reply
        next_due = None if due_ms < 0 else timedelta(milliseconds=due_ms)
        return Promotion(
            promoted,
            next_due,
            {text(queue): text(pause) for queue, pause in zip(*[iter(paused)] * 2, strict=True)},
            _set_aside(set_aside),
            tuple((text(queue), text(group)) for queue, group in zip(*[iter(held)] * 2, strict=True)),
            _set_aside(dropped),
        )

    return Call((fcall("promote", limit, *queues),), parse)


def release(groups: Iterable[tuple[str, str]], *, limit: int = 1000) -> Call[Release]:
    """Make held jobs of these (queue, group) ready, at most ``limit`` of each."""
    flat = (part for group in groups for part in group)
    return Call((fcall("release", limit, *flat),), lambda reply: Release(reply[0], _set_aside(reply[1])))


def pause(queue: str) -> Call[bool]:
    """Hold a queue. Gives whether it was not held before."""
    return Call((fcall("pause", queue),), bool)


def heard(worker: str, pauses: Mapping[str, str]) -> Call[None]:
    """Say that a worker knows of these pauses (queue, which one) and begins nothing more of these queues."""
    flat = [part for pause in pauses.items() for part in pause]
    return Call((fcall("heard", worker, *flat),), lambda reply: None)


def unheard(queue: str) -> Call[list[str]]:
    """The workers that may still begin a job of this paused queue."""
    return Call((fcall_ro("unheard", queue),), lambda reply: [text(name) for name in reply])


def resume(queue: str) -> Call[bool]:
    """Let a queue go on. Gives whether it was held."""
    return Call((fcall("resume", queue),), bool)


def cancels(worker: str, heard: Iterable[tuple[str, str]] = ()) -> Call[frozenset[tuple[str, str]]]:
    """What a worker shall cancel, (id, token) of each running job, without those that it has heard of."""

    def parse(reply: list[bytes]) -> frozenset[tuple[str, str]]:
        return frozenset(
            (text(job_id), text(token)) for job_id, token in zip(*[iter(reply)] * 2, strict=True)
        )

    return Call((fcall("cancels", worker, *(part for job in heard for part in job)),), parse)


def drain(queue: str, *, delayed: bool, limit: int = 1000) -> Call[int]:
    """Remove waiting jobs, delayed ones too when asked. Gives how many; call again until none."""
    return Call((fcall("drain", queue, int(delayed), limit),), int)


def fire(
    schedule: str,
    slot: datetime,
    note: str,
    jobs: Iterable[NewJob],
    limits: ProducerLimits = UNLIMITED,
    *,
    first: int = 0,
    last: bool = True,
) -> Call[Firing]:
    """Enqueue jobs of one slot.

    Args:
        schedule: Its name.
        slot: When it was due.
        note: Why there are no jobs, or ``""``.
        jobs: All jobs of the slot, or a part of them.
        first: At which of the slot's jobs they begin.
        last: Whether they are its last ones.
    """
    arguments = [argument for job in jobs for argument in job.arguments()]
    if arguments:  # without jobs there is nothing to refuse
        arguments += limits.arguments()
    at = int(slot.timestamp() * 1000)

    def parse(reply: list[Any]) -> Firing:
        _raise_refusal(reply)
        code, value = reply
        if code == _EARLY:
            return Firing("early", wait=timedelta(milliseconds=value))
        return Firing(("known", "fired", "begun")[code], jobs=value)

    return Call((fcall("fire", schedule, at, note, first, int(last), *arguments),), parse)

"""The judge of a soak: what producers were told, what jobs did and what was done to whom, compared."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs


@attrs.frozen
class Run:
    """One run of a job, as its handler wrote it down when it began."""

    job_id: str
    attempt: int
    pid: int
    at: float


@attrs.frozen
class Outage:
    """Seconds in which a worker's place could not reach the broker, or not do anything.

    Args:
        place: Which worker's; None for all.
        begin: By the monotonic clock, which all processes of a machine share.
        end: The same.
    """

    place: int | None
    begin: float
    end: float


@attrs.define
class Record:
    """What happened, by the monotonic clock.

    Attributes:
        acknowledged: When an enqueue was acknowledged, by id.
        unknown: Ids whose enqueue was not answered.
        cancelled: When an operator was told that a job is cancelled, by its id.
        pauses: From the return of each ``pause`` until ``resume`` was called.
        places: The place of each worker process.
        killed: When a worker process was killed.
        broker_killed: When the broker was.
        outages: What kept workers from the broker.
        bad_exits: Workers that did not exit with 0 after SIGTERM, and no outage explains it.
    """

    acknowledged: dict[str, float] = attrs.field(factory=dict)
    unknown: list[str] = attrs.field(factory=list)
    cancelled: dict[str, float] = attrs.field(factory=dict)
    pauses: list[tuple[float, float]] = attrs.field(factory=list)
    places: dict[int, int] = attrs.field(factory=dict)
    killed: dict[int, float] = attrs.field(factory=dict)
    broker_killed: list[float] = attrs.field(factory=list)
    outages: list[Outage] = attrs.field(factory=list)
    bad_exits: list[str] = attrs.field(factory=list)

    def away(self, place: int, begin: float, end: float) -> float:
        """How many seconds of this time a place was without the broker."""
        mine = [item for item in self.outages if item.place in (None, place)]
        return sum(max(0.0, min(end, item.end) - max(begin, item.begin)) for item in mine)


def runs(ledger: Path, word: str) -> list[Run]:
    """What the handlers wrote, in the order in which they began."""
    lines = (line.split() for line in ledger.read_text().splitlines())
    found = [Run(job_id, int(n), int(pid), float(at)) for what, job_id, n, pid, at in lines if what == word]
    return sorted(found, key=lambda run: run.at)


def extra(started: Iterable[Run]) -> list[tuple[Run, Run]]:
    """Each run that is not the first of its attempt, behind the one before."""
    by_attempt: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in started:
        by_attempt[run.job_id, run.attempt].append(run)
    return [pair for found in by_attempt.values() for pair in itertools.pairwise(found)]


def unexplained(record: Record, pairs: Iterable[tuple[Run, Run]], lease: float) -> list[str]:
    """The extra runs of jobs that no fault had in its hands.

    A run is repeated when its worker was killed before the next began, or was without the broker for so long
    that a lease, which is renewed every third of it, can have ended. A stop, a lost reply, a cut connection
    or a short outage repeats nothing.
    """
    found = []
    for first, second in pairs:
        killed = record.killed.get(first.pid)
        if killed is not None and first.at <= killed <= second.at:
            continue
        if record.away(record.places[first.pid], first.at - lease, second.at) >= lease / 3:
            continue
        found.append(f"{first.job_id}, attempt {first.attempt}: {second.at - first.at:.3f} s after the first")
    return found


def resurrected(record: Record, started: Iterable[Run]) -> list[str]:
    """Jobs that began although somebody was told before that they are cancelled."""
    return [run.job_id for run in started if run.at > record.cancelled.get(run.job_id, float("inf"))]


def begun_while_paused(record: Record, started: Sequence[Run], lease: float, prefix: str) -> list[str]:
    """Jobs that began after ``pause`` had returned; a process that was frozen may be at its first step."""
    return [
        run.job_id
        for begin, end in record.pauses
        for run in started
        if run.job_id.startswith(prefix)
        and begin < run.at < end
        and record.away(record.places[run.pid], run.at - 2 * lease, run.at) < lease / 3
    ]


def misplaced(record: Record, ends: Mapping[str, Sequence[str]], effects: Iterable[str]) -> list[str]:
    """Acknowledged jobs that are not in exactly one end, or completed without having done anything.

    Args:
        record: What was acknowledged.
        ends: The ids in each registry of ended jobs.
        effects: The ids of jobs that did what they were for.
    """
    done, found = set(effects), []
    where: dict[str, list[str]] = defaultdict(list)
    for name, ids in ends.items():
        for job_id in ids:
            where[job_id].append(name)
    for job_id, at in record.acknowledged.items():
        if len(where[job_id]) != 1:
            death = min((kill for kill in record.broker_killed if kill > at), default=math.inf)
            ran = "it ran" if job_id in done else "it never ran"
            place = where[job_id] or "no place"
            told = f"acknowledged {death - at:.3f} s before the broker was killed"
            found.append(f"{job_id} is in {place}; {ran}; {told}")
        elif where[job_id] == ["finished"] and job_id not in done:
            found.append(f"{job_id} is completed and never ran to its end")
    return found

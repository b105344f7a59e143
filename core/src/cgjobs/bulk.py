"""Retrying, cancelling or removing all jobs that are wanted: first found, then moved in parts.

A part is one call, so that whatever happens in between leaves each job moved or not moved, and the broker
soon serves others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from cgjobs.broker import Steps, operators, reads
from cgjobs.broker.operators import OperatorMove
from cgjobs.broker.search import PAGE, Filter, Match, fitting, newest, places
from cgjobs.errors import Fault, InvalidOption
from cgjobs.event import Event
from cgjobs.listing import Which, filter_of
from cgjobs.model import Job, JobState
from cgjobs.operations import Operations

_ENDED = frozenset((JobState.FAILED, JobState.COMPLETED, JobState.CANCELLED))
CAN_BE = {
    "retry": _ENDED,
    "cancel": frozenset(JobState) - _ENDED,
    "remove": frozenset(JobState) - {JobState.ACTIVE},
}
"""The states in which a job can be moved so."""
USUAL: dict[OperatorMove, tuple[JobState, ...]] = {
    "retry": (JobState.FAILED,),
    "cancel": (JobState.WAITING, JobState.DELAYED, JobState.DEFERRED, JobState.HELD),
}
"""Those that are meant when nothing else is said."""
SAMPLES = 5
PART = 150
"""So many jobs are moved in one call, for some 10 ms."""


@attrs.frozen
class BulkResult:
    """What became of the jobs that were wanted.

    Args:
        matched: How many were found.
        moved: How many of them were retried, cancelled (running ones: told to end) or removed.
        skipped: How many were not, since they had changed their state or gone in the meantime, or another job
            has their unique key now.
        unknown: How many more were left out, since nobody knows what they did; see ``include_unknown``.
        samples: Of a dry run up to five of them.
    """

    matched: int
    moved: int = 0
    skipped: int = 0
    unknown: int = 0
    samples: tuple[Job, ...] = ()


@attrs.frozen
class Chosen:
    """The jobs that a move is to have.

    Args:
        groups: Ids by state, in the order in which they are moved: the oldest first.
        unknown: How many were left out, since nobody knows what they did.
    """

    groups: tuple[tuple[JobState, tuple[str, ...]], ...] = ()
    unknown: int = 0

    @property
    def total(self) -> int:
        """How many they are."""
        return sum(len(ids) for _, ids in self.groups)

    def parts(self) -> Iterator[tuple[JobState, Sequence[str]]]:
        """At most 150 ids of one state at a time."""
        for state, ids in self.groups:
            for start in range(0, len(ids), PART):
                yield state, ids[start : start + PART]

    def samples(self) -> Steps[tuple[Job, ...]]:
        """The first five of them that are still there, with their errors."""
        ids = [job_id for _, group in self.groups for job_id in group[:SAMPLES]][:SAMPLES]
        jobs: list[Job] = []
        for job_id in ids:
            job: Job | None = yield reads.job(job_id)
            if job is not None:
                jobs.append(job)
        return tuple(jobs)


def check(move: OperatorMove, states: Iterable[JobState], limit: int | None) -> None:
    """Raise `InvalidOption` when no job in such a state can be moved so, or the limit is below 1."""
    can = ", ".join(state for state in JobState if state in CAN_BE[move])
    faults = [
        Fault("state", f"no {state} job can be moved by {move}; it takes jobs that are {can}")
        for state in states
        if state not in CAN_BE[move]
    ]
    if limit is not None and limit < 1:
        faults.append(Fault("limit", f"{limit} is below 1"))
    if faults:
        raise InvalidOption("the jobs", faults)


def choose(
    queues: Iterable[str],
    states: Iterable[JobState],
    wanted: Filter,
    *,
    limit: int | None = None,
    include_unknown: bool = True,
) -> Steps[Chosen]:
    """Find jobs, the newest first until there are ``limit`` of them, and put each group the oldest first."""
    groups: list[tuple[JobState, tuple[str, ...]]] = []
    total, unknown = 0, set[str]()
    chosen = tuple(states)
    for queue, state in ((queue, state) for queue in queues for state in chosen):
        found: dict[str, None] = {}  # those that come meanwhile move others to a later page: seen twice
        for key in reversed(places(queue, state)):
            offset = 0
            while limit is None or total + len(found) < limit:
                ids: list[str] = yield newest(key, state, offset)
                if not ids:
                    break
                offset += PAGE
                for match in (yield from _matching(ids, state, wanted)):
                    if match.unknown and not include_unknown:
                        unknown.add(match.id)
                    else:
                        found[match.id] = None
        newest_first = tuple(found)[: None if limit is None else limit - total]
        if newest_first:
            groups.append((state, newest_first[::-1]))
            total += len(newest_first)
    return Chosen(tuple(groups), len(unknown))


def _matching(ids: Sequence[str], state: JobState, wanted: Filter) -> Steps[list[Match]]:
    matches: list[Match] = yield fitting(ids, wanted)
    matches = [match for match in matches if match.state is state]
    unnamed = [match.id for match in matches if wanted.name is not None and not match.named]
    if not unnamed:
        return matches
    jobs: list[Job] = yield reads.jobs(unnamed)
    wrong = set(unnamed) - {job.id for job in jobs if wanted.wants(job)}
    return [match for match in matches if match.id not in wrong]


def move_part(operations: Operations, move: OperatorMove, state: JobState, ids: Sequence[str]) -> Steps[int]:
    """Move the jobs of one part that still are in that state; gives how many."""
    tells = move == "cancel" and state is not JobState.ACTIVE
    known: list[Job] = (yield reads.jobs(ids)) if tells else []
    moved: set[str] = set()
    left = ids
    while left:
        answers: list[bool] = yield operators.move_many(move, left, state)
        moved |= {job_id for job_id, done in zip(left, answers, strict=False) if done}
        left = left[max(1, len(answers)) :]
    for job in known:
        if job.id in moved:
            operations.tell(Event("job_cancelled", job.queue, job.id, job.name, job.correlation_id))
    return len(moved)


def move_all(
    operations: Operations,
    move: OperatorMove,
    queue: str,
    states: Iterable[JobState],
    which: Which,
    *,
    limit: int | None,
    dry_run: bool,
    include_unknown: bool = True,
) -> Steps[BulkResult]:
    """Find the jobs of a queue that are wanted and move them, in parts; raises like `check`."""
    chosen_states = tuple(states)
    check(move, chosen_states, limit)
    chosen = yield from choose(
        [queue], chosen_states, filter_of(which), limit=limit, include_unknown=include_unknown
    )
    if dry_run:
        samples = yield from chosen.samples()
        return BulkResult(chosen.total, unknown=chosen.unknown, samples=samples)
    moved = 0
    for state, ids in chosen.parts():
        moved += yield from move_part(operations, move, state, ids)
    return BulkResult(chosen.total, moved, chosen.total - moved, chosen.unknown)

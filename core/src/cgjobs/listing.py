"""Listing the jobs that are wanted, as steps that both clients carry out."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from cgjobs.broker import Steps, reads
from cgjobs.broker.search import PAGE, Filter, Match, fitting, members, places
from cgjobs.errors import Fault, InvalidOption
from cgjobs.model import Job, JobState
from cgjobs.operations import Operations, check_page


class Which(TypedDict, total=False):
    """Which jobs are wanted; `cgjobs.broker.search.Filter` explains each."""

    name: str | None
    tag: str | None
    since: datetime | None
    until: datetime | None
    ended_since: datetime | None
    ended_until: datetime | None
    error: str | None
    error_type: str | None


def filter_of(which: Which) -> Filter:
    """The same as a filter; raises `InvalidOption` when a time has no zone."""
    faults = [
        Fault(name, f"{value} has no time zone; give an aware datetime")
        for name, value in which.items()
        if isinstance(value, datetime) and value.tzinfo is None
    ]
    if faults:
        raise InvalidOption("the jobs", faults)
    return Filter(**which)


def search(
    queue: str, state: JobState, wanted: Filter, limit: int, most: int | None = None
) -> Steps[tuple[list[Job], int]]:
    """The first jobs in one state that are wanted, and how many were looked at: ``most`` or a page more.

    Jobs that move meanwhile may be missed.
    """
    found: list[Job] = []
    looked = 0
    for key in places(queue, state):
        offset = 0
        while len(found) < limit and (most is None or looked < most):
            ids: list[str] = yield members(key, state, offset)
            if not ids:
                break
            offset, looked = offset + PAGE, looked + len(ids)
            matches: list[Match] = yield fitting(ids, wanted)
            fit = [match.id for match in matches]
            while fit and len(found) < limit:
                missing = limit - len(found)
                jobs: list[Job] = yield reads.jobs(fit[:missing])
                fit = fit[missing:]
                mixed = state in (JobState.HELD, JobState.DEFERRED)  # they have one registry
                found += [job for job in jobs if wanted.wants(job) and (not mixed or job.state is state)]
    return found, looked


def find_jobs(
    operations: Operations, queue: str, state: JobState, wanted: Filter, offset: int, limit: int
) -> Steps[list[Job]]:
    """A page of a queue's jobs in one state that are wanted; raises like `Operations.jobs`."""
    if wanted == Filter():
        return (yield from operations.jobs(queue, state, offset, limit))[0]
    check_page(offset, limit)
    return (yield from search(queue, state, wanted, offset + limit))[0][offset:]

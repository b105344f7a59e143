"""Listing the jobs that are wanted, as steps that both clients carry out."""

from __future__ import annotations

from cgjobs.broker import Steps, reads
from cgjobs.broker.search import PAGE, Filter, fitting, members, places
from cgjobs.errors import Fault, InvalidOption
from cgjobs.model import Job, JobState
from cgjobs.operations import Operations, check_page


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
            fit: list[str] = yield fitting(ids, wanted)
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
    if wanted.since is not None and wanted.since.tzinfo is None:
        fault = Fault("since", f"{wanted.since} has no time zone; give an aware datetime")
        raise InvalidOption("the page", [fault])
    return (yield from search(queue, state, wanted, offset + limit))[0][offset:]

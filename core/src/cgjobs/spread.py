"""Many jobs made due evenly over a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from cgjobs.broker.values import NewJob
from cgjobs.errors import Fault, InvalidOption
from cgjobs.model import Job, JobState
from cgjobs.options import MAX_DELAY


def spread_out(prepared: Sequence[tuple[NewJob, Job]], spread: timedelta) -> list[tuple[NewJob, Job]]:
    """Jobs made due evenly over a span, the first one when it would be anyway.

    Raises:
        InvalidOption: The span is not from 0 to 10 years, or a job is debounced.
    """
    if not timedelta(0) <= spread <= MAX_DELAY:
        raise InvalidOption("the jobs", [Fault("spread", f"{spread} is not from 0 to 10 years")])
    if any("debounce" in new.extra for new, _ in prepared):
        raise InvalidOption("the jobs", [Fault("spread", "give either spread or debounce, not both")])
    found = []
    for number, (new, job) in enumerate(prepared):
        wait = spread * number / len(prepared)
        due = wait if new.due is None else new.due + wait
        state = JobState.DELAYED if wait else job.state
        found.append((attrs.evolve(new, due=due if number else new.due), attrs.evolve(job, state=state)))
    return found

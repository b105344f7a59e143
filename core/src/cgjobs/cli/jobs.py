"""``cgjobs jobs``: the jobs in the broker; `jobs_bulk` moves them."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
from cyclopts import App, Parameter, validators

from cgjobs.cli.job_filter import JobFilter
from cgjobs.cli.output import AsJson, moment, show_json, show_table, talk
from cgjobs.cli.session import Session, Shared
from cgjobs.codec import HIDDEN
from cgjobs.listing import search
from cgjobs.model import Job, JobState
from cgjobs.redaction import masked
from cgjobs.wire.record import plain

_MOST = 200_000  # looked at for one listing, a few seconds: a rare tag must not read all there is
_Count = Annotated[int, Parameter(validator=validators.Number(gte=0))]


app = App(name="jobs", help="List jobs; or retry, cancel or remove many.")
for _move, _help in (
    ("retry", "Give all ended jobs that are meant all their attempts again."),
    ("cancel", "End all jobs that are meant on purpose."),
    ("remove", "Remove all jobs that are meant."),
):
    app.command(f"cgjobs.cli.jobs_bulk:{_move}", name=_move, help=_help)


@app.default
def jobs(
    *,
    state: JobState | None = None,
    which: JobFilter = JobFilter(),  # noqa: B008 - a frozen value
    limit: _Count = 50,
    offset: _Count = 0,
    as_json: AsJson = False,
    session: Shared,
) -> None:
    """List jobs: waiting ones in the order in which they run, ended ones the newest first.

    Args:
        state: Only those in this state.
        limit: At most this many, 50 by default.
        offset: Leave out so many first.
        as_json: Print one JSON document.
    """
    if which.type is not None:
        session.registry.subtype(which.type)
    wanted = which.wanted()
    places = [(name, each) for name in which.queues(session) for each in JobState if state in (None, each)]
    found: list[Job] = []
    looked = 0
    for name, each in places:
        missing = offset + limit - len(found)
        if missing <= 0 or looked >= _MOST:
            break
        more, seen = session.run(search(name, each, wanted, missing, _MOST - looked))
        found, looked = found + more, looked + seen
    if looked >= _MOST and len(found) < offset + limit:
        talk(f"looked at the first {looked} jobs only; choose a queue and a state")
    found = found[offset:]
    if as_json:
        show_json([listed(hidden(job, session)) for job in found])
    else:
        show_table(("ID", "TYPE", "STATE", "PRIORITY", "ATTEMPT", "CREATED", "DUE"), map(row, found))


def hidden(job: Job, session: Session) -> Job:
    """The job with the secret fields of its payload hidden; all of them when its type is not known here."""
    subtype = session.registry.subtypes.get(job.name)
    if subtype is None:
        return attrs.evolve(job, payload=dict.fromkeys(job.payload, HIDDEN))
    return attrs.evolve(job, payload=masked(session.operations.codec, subtype, job.payload))


def listed(job: Job) -> dict[str, Any]:
    """What a list knows of a job: results and errors are read for one job only, by ``job show``."""
    unread = {"result", "errors", "duplicate", "checkpoint"}
    shown: dict[str, Any] = {name: value for name, value in plain(job).items() if name not in unread}
    return shown


def row(job: Job) -> tuple[object, ...]:
    """A job in a table."""
    attempt = f"{job.attempt}/{job.attempts}"
    state = f"{job.state}, outcome unknown" if job.outcome_unknown else job.state
    return (job.id, job.name, state, job.priority, attempt, moment(job.created_at), moment(job.run_at))

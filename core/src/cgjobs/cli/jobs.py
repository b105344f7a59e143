"""``cgjobs jobs``: the jobs in the broker."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import attrs
from cyclopts import Parameter, validators

from cgjobs.cli.output import AsJson, moment, show_json, show_table, talk
from cgjobs.cli.session import Session, Shared
from cgjobs.codec import HIDDEN
from cgjobs.model import Job, JobState
from cgjobs.redaction import masked
from cgjobs.wire.record import plain

_PAGE = 200
_MOST = 20_000  # looked at for one listing: with --type, a rare type must not read a whole queue
_Count = Annotated[int, Parameter(validator=validators.Number(gte=0))]


def jobs(
    *,
    queue: str | None = None,
    state: JobState | None = None,
    type: str | None = None,  # noqa: A002 - the option's name
    limit: _Count = 50,
    offset: _Count = 0,
    as_json: AsJson = False,
    session: Shared,
) -> None:
    """List jobs: waiting ones in the order in which they run, ended ones the newest first.

    Args:
        queue: Only those of this queue.
        state: Only those in this state.
        type: Only those of this subtype, such as notification.email.
        limit: At most this many, 50 by default.
        offset: Leave out so many first.
        as_json: Print one JSON document.
    """
    if type is not None:
        session.registry.subtype(type)
        queue = queue or type.partition(".")[0]
    names = session.run(session.operations.queue_names()) if queue is None else [session.queue(queue)]
    places = [(name, each) for name in names for each in JobState if state in (None, each)]
    everything = _all(places, session)
    fitting = (job for job in islice(everything, _MOST) if type in (None, job.name))
    found = list(islice(fitting, offset, offset + limit))
    if len(found) < limit and next(everything, None):
        talk(f"looked at the first {_MOST} jobs only; choose a queue and a state")
    if as_json:
        show_json([_listed(hidden(job, session)) for job in found])
    else:
        show_table(("ID", "TYPE", "STATE", "PRIORITY", "ATTEMPT", "CREATED", "DUE"), map(_row, found))


def hidden(job: Job, session: Session) -> Job:
    """The job with the secret fields of its payload hidden; all of them when its type is not known here."""
    subtype = session.registry.subtypes.get(job.name)
    if subtype is None:
        return attrs.evolve(job, payload=dict.fromkeys(job.payload, HIDDEN))
    return attrs.evolve(job, payload=masked(session.operations.codec, subtype, job.payload))


def _listed(job: Job) -> dict[str, Any]:
    """What a list knows of a job: results and errors are read for one job only, by ``job show``."""
    unread = {"result", "errors", "duplicate", "checkpoint"}
    shown: dict[str, Any] = {name: value for name, value in plain(job).items() if name not in unread}
    return shown


def _all(places: list[tuple[str, JobState]], session: Session) -> Iterator[Job]:
    for queue, state in places:
        offset, total = 0, 1
        while offset < total:
            found, total = session.run(session.operations.jobs(queue, state, offset, _PAGE))
            yield from found
            offset += _PAGE


def _row(job: Job) -> tuple[object, ...]:
    attempt = f"{job.attempt}/{job.attempts}"
    state = f"{job.state}, outcome unknown" if job.outcome_unknown else job.state
    return (job.id, job.name, state, job.priority, attempt, moment(job.created_at), moment(job.run_at))

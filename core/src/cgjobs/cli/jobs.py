"""``cgjobs jobs``: the jobs in the broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import attrs
from cyclopts import Parameter, validators

from cgjobs.broker.search import Filter
from cgjobs.cli.job_options import time_or_duration
from cgjobs.cli.output import AsJson, moment, show_json, show_table, talk
from cgjobs.cli.session import Session, Shared
from cgjobs.codec import HIDDEN
from cgjobs.errors import Fault, InvalidOption
from cgjobs.listing import search
from cgjobs.model import Job, JobState
from cgjobs.redaction import masked
from cgjobs.wire.record import plain

_MOST = 200_000  # looked at for one listing, a few seconds: a rare tag must not read all there is
_Count = Annotated[int, Parameter(validator=validators.Number(gte=0))]


def jobs(
    *,
    queue: str | None = None,
    state: JobState | None = None,
    type: str | None = None,  # noqa: A002 - the option's name
    tag: str | None = None,
    since: str | None = None,
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
        tag: Only those with this tag.
        since: Only those created in this time, such as 1h, or since a time such as 2026-01-31T12:00:00Z.
        limit: At most this many, 50 by default.
        offset: Leave out so many first.
        as_json: Print one JSON document.
    """
    if type is not None:
        session.registry.subtype(type)
        queue = queue or type.partition(".")[0]
    names = session.run(session.operations.queue_names()) if queue is None else [session.queue(queue)]
    places = [(name, each) for name in names for each in JobState if state in (None, each)]
    found: list[Job] = []
    looked, wanted = 0, Filter(type, tag, moment_of(since))
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


def moment_of(since: str | None) -> datetime | None:
    """``1h`` (that long ago) or a time, as an aware time."""
    if since is None:
        return None
    try:
        given = time_or_duration(since)
    except ValueError as error:
        raise InvalidOption("the jobs", [Fault("--since", str(error))]) from None
    at = datetime.now(UTC) - given if isinstance(given, timedelta) else given
    if at.tzinfo is None:
        raise InvalidOption("the jobs", [Fault("--since", f"{since} has no time zone; add Z or an offset")])
    return at


def _row(job: Job) -> tuple[object, ...]:
    attempt = f"{job.attempt}/{job.attempts}"
    state = f"{job.state}, outcome unknown" if job.outcome_unknown else job.state
    return (job.id, job.name, state, job.priority, attempt, moment(job.created_at), moment(job.run_at))

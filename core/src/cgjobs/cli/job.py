"""``cgjobs job``: one job, or several by their ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import App, Parameter

from cgjobs import hold
from cgjobs.broker import dependents, lines
from cgjobs.broker.dependents import Links
from cgjobs.cli.exits import OK, exit_code
from cgjobs.cli.job_log import log, shown_line
from cgjobs.cli.jobs import hidden
from cgjobs.cli.output import AsJson, moment, pretty_json, show, show_json, talk
from cgjobs.cli.session import Shared, confirm
from cgjobs.duration import format_duration
from cgjobs.errors import CgjobsError
from cgjobs.model import Dependency, Job, JobState, LogLine
from cgjobs.wire.record import plain

app = App(name="job", help="Show, retry, cancel or remove one job.")
app.command(log)
_LINES = 10
_Ids = Annotated[str, Parameter(name="ID", required=True)]


@app.command(name="show")
def show_job(
    job_id: Annotated[str, Parameter(name="ID")], /, *, as_json: AsJson = False, session: Shared
) -> None:
    """Show a job: state, payload, progress, times, and the errors of all its attempts.

    Args:
        job_id: Its id.
        as_json: Print one JSON document.
    """
    job = hidden(session.run(session.operations.get(job_id)), session)
    links: Links = session.send(dependents.links(job_id))
    if as_json:
        show_json({**plain(job), "dependents": list(links.dependents)})
        return
    _show(job, links)
    found = session.send(lines.log(job_id))
    _show_log(found)


@app.command
def retry(*job_ids: _Ids, yes: bool = False, as_json: AsJson = False, session: Shared) -> int:
    """Give ended jobs all their attempts again, at once. What a job knows of its effects (once) stays.

    A job that wrote a checkpoint goes on from there, unless it had completed.

    Args:
        job_ids: Their ids.
        yes: Do not ask about jobs that may not run twice and of which nobody knows what they did.
        as_json: Print one JSON line for each job.
    """

    def retry_one(job_id: str) -> None:
        known = session.run(session.operations.find(job_id))
        if known is not None and known.outcome_unknown:
            confirm(f"The outcome of job {job_id!r} is unknown: it may have done its work already.", yes=yes)
        job = session.run(session.operations.retry(job_id))
        _tell(job_id, "retried", as_json=as_json, state=job.state)

    return _each(job_ids, retry_one)


@app.command
def cancel(*job_ids: _Ids, as_json: AsJson = False, session: Shared) -> int:
    """End jobs on purpose: those that wait at once, running ones as soon as their handler hears of it.

    Args:
        job_ids: Their ids.
        as_json: Print one JSON line for each job.
    """

    def cancel_one(job_id: str) -> None:
        state = session.run(session.operations.cancel(job_id))
        move = "is told to end" if state is JobState.ACTIVE else "cancelled"
        _tell(job_id, move, as_json=as_json, state=state)

    return _each(job_ids, cancel_one)


@app.command
def remove(*job_ids: _Ids, yes: bool = False, as_json: AsJson = False, session: Shared) -> int:
    """Remove jobs, in whatever state, unless they run.

    Args:
        job_ids: Their ids.
        yes: Do not ask.
        as_json: Print one JSON line for each job.
    """

    def remove_one(job_id: str) -> None:
        session.run(session.operations.remove(job_id))
        _tell(job_id, "removed", as_json=as_json)

    if job_ids:
        confirm(f"This removes {'a job' if len(job_ids) == 1 else f'{len(job_ids)} jobs'} for good.", yes=yes)
    return _each(job_ids, remove_one)


def _each(job_ids: Sequence[str], move: Callable[[str], None]) -> int:
    """Move all jobs; the code of the first that could not be moved."""
    code = OK
    for job_id in job_ids:
        try:
            move(job_id)
        except CgjobsError as error:
            if len(job_ids) == 1:
                raise
            talk(str(error))
            code = code or exit_code(error)
    return code


def _tell(job_id: str, move: str, *, as_json: bool, **more: str) -> None:
    if as_json:
        show_json({"id": job_id, "move": move, **more})
    else:
        talk(f"job {job_id!r} {move}")


def _show(job: Job, links: Links) -> None:
    times = (
        ("created", job.created_at),
        ("started", job.started_at),
        ("ended", job.ended_at),
        ("due", job.run_at),
    )
    facts = {
        "id": job.id,
        "type": job.name,
        "version": job.payload_version if job.payload_version != 1 else None,
        "queue": job.queue,
        "state": f"{job.state}, outcome unknown" if job.outcome_unknown else job.state,
        "held": _held(job),
        "priority": job.priority,
        "attempt": f"{job.attempt} of {job.attempts}",
        "recoveries": job.recoveries or None,
        "timeout": format_duration(job.timeout) if job.timeout else None,
        "correlation id": job.correlation_id,
        "tags": ", ".join(job.tags),
        "debounced": f"{job.debounced} enqueues, has the last one's payload" if job.debounced else None,
        "worker": job.worker,
        **{name: moment(at) for name, at in times if at is not None},
        "progress": _progress(job),
        "depends on": _several(
            [f"{other} ({_end(links.dependencies.get(other))})" for other in job.depends_on],
            len(job.depends_on),
        ),
        "waited for by": _several(links.dependents, links.total),
    }
    for name, value in facts.items():
        if value is not None and value != "":
            show(f"{name + ':':<16}{value}")
    show(f"payload:\n{_indented(pretty_json(dict(job.payload)))}")
    if job.result is not None:
        show(f"result:\n{_indented(pretty_json(job.result))}")
    if job.checkpoint is not None:
        show(f"checkpoint:\n{_indented(pretty_json(job.checkpoint))}")
    for error in job.errors:
        show(f"attempt {error.attempt}, {moment(error.at)}, worker {error.worker}: {error.error}")
        if error.traceback:
            show(_indented(error.traceback.rstrip()))


def _show_log(found: Sequence[LogLine]) -> None:
    """The last lines; `cgjobs job log` shows all."""
    if found:
        more = f", the last {_LINES} of {len(found)} lines" if len(found) > _LINES else ""
        show(f"log{more}:")
    for line in found[-_LINES:]:
        show(f"  {shown_line(line)}")


def _end(became: Dependency | None) -> str:
    return "not ended" if became is None else became.state


def _several(shown: Sequence[str], total: int, most: int = 10) -> str:
    rest = total - min(len(shown), most)
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest else "")


def _held(job: Job) -> str:
    if not job.held:
        return ""
    remedy = hold.remedy(job.held)
    waits = f"goes on with {remedy}" if remedy else f"waits for {job.held}"
    return f"{job.held_reason}; {waits}" if job.held_reason else waits


def _progress(job: Job) -> str:
    report = job.progress
    if report is None:
        return ""
    share = "" if report.fraction is None else f" ({report.fraction:.0%})"
    total = "" if report.total is None else f" of {report.total:g}"
    return f"{report.done:g}{total}{share} {report.message}".rstrip()


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())

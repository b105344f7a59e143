"""``cgjobs jobs retry|cancel|remove``: all jobs that are wanted, counted before they are moved."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, TypeAlias

from cyclopts import Parameter, validators

from cgjobs.broker.operators import OperatorMove
from cgjobs.bulk import USUAL, BulkResult, Chosen, check, choose, move_part
from cgjobs.cli.exits import INTERRUPTED, OK
from cgjobs.cli.job_filter import JobFilter
from cgjobs.cli.jobs import hidden, listed
from cgjobs.cli.output import AsJson, moment, show, show_json, show_table, talk
from cgjobs.cli.session import Session, Shared, confirm
from cgjobs.errors import CgjobsError, Fault, InvalidOption
from cgjobs.model import Job, JobState

Progress: TypeAlias = Callable[[int], None]
_States = Annotated[tuple[JobState, ...], Parameter(consume_multiple=False)]
_Most = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]
_SHOWN = 80  # characters of an error in a table
_MANY = 1000  # of fewer jobs nobody has to be told how far it is
_WORDS: dict[OperatorMove, tuple[str, str]] = {  # what was done, and what would be said of it
    "retry": ("retried", "This gives {} all their attempts again."),
    "cancel": ("cancelled", "This cancels {}."),
    "remove": ("removed", "This removes {} for good."),
}


def retry(
    *,
    state: _States = USUAL["retry"],
    which: JobFilter = JobFilter(),  # noqa: B008 - a frozen value
    limit: _Most = None,
    include_unknown: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    as_json: AsJson = False,
    session: Shared,
) -> int:
    """Give all ended jobs that are meant all their attempts again, in the order in which they ended.

    Args:
        state: Those in this state: failed (the default), completed or cancelled. Can be repeated.
        limit: At most this many, those that ended last.
        include_unknown: Also those that may not run twice and of which nobody knows what they did.
        dry_run: Say how many these are now, show five of them, and move none.
        yes: Do not ask.
        as_json: Print one JSON document.
    """
    return _move("retry", state, which, limit, include_unknown, dry_run, yes, as_json, session)


def cancel(
    *,
    state: _States = USUAL["cancel"],
    which: JobFilter = JobFilter(),  # noqa: B008 - a frozen value
    limit: _Most = None,
    dry_run: bool = False,
    yes: bool = False,
    as_json: AsJson = False,
    session: Shared,
) -> int:
    """End all jobs that are meant on purpose; running ones only with --state active.

    Args:
        state: Those in this state; by default waiting, delayed, deferred and held. Can be repeated.
        limit: At most this many, those that came last.
        dry_run: Say how many these are now, show five of them, and move none.
        yes: Do not ask.
        as_json: Print one JSON document.
    """
    return _move("cancel", state, which, limit, True, dry_run, yes, as_json, session)


def remove(
    *,
    state: _States = (),
    which: JobFilter = JobFilter(),  # noqa: B008 - a frozen value
    limit: _Most = None,
    dry_run: bool = False,
    yes: bool = False,
    as_json: AsJson = False,
    session: Shared,
) -> int:
    """Remove all jobs that are meant, in any state but active.

    Args:
        state: Those in this state; it has to be said. Can be repeated.
        limit: At most this many, those that came or ended last.
        dry_run: Say how many these are now, show five of them, and move none.
        yes: Do not ask.
        as_json: Print one JSON document.
    """
    if not state:
        raise InvalidOption("the jobs", [Fault("--state", "say in which state, such as --state failed")])
    return _move("remove", state, which, limit, True, dry_run, yes, as_json, session)


def _move(
    move: OperatorMove,
    states: tuple[JobState, ...],
    which: JobFilter,
    limit: int | None,
    include_unknown: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    session: Session,
) -> int:
    states = tuple(dict.fromkeys(states))
    check(move, states, limit)
    wanted, queues = which.wanted(), which.queues(session)
    chosen = session.run(choose(queues, states, wanted, limit=limit, include_unknown=include_unknown))
    if not chosen.total and which.type is not None:
        session.registry.subtype(which.type)  # says what it may have been meant to be
    if dry_run:
        result = BulkResult(chosen.total, unknown=chosen.unknown)
        _tell(move, result, session, chosen=chosen, as_json=as_json)
        return OK
    if chosen.total:
        confirm(_WORDS[move][1].format(_jobs(chosen.total)), yes=yes)
    result, stopped = _carry_out(move, chosen, session)
    _tell(move, result, session, stopped=stopped, as_json=as_json)
    return INTERRUPTED if stopped else OK


def _carry_out(move: OperatorMove, chosen: Chosen, session: Session) -> tuple[BulkResult, bool]:
    """Move all parts, or those up to Ctrl-C."""
    done, moved, what = 0, 0, _WORDS[move][0]
    with _interruptible() as interrupted, _progress(what, chosen.total) as show_progress:
        for state, ids in chosen.parts():
            if interrupted:
                break
            try:
                moved += session.run(move_part(session.operations, move, state, ids))
            except CgjobsError:
                talk(
                    f"{moved} of {_jobs(chosen.total)} {what}; of the next {len(ids)} any may be. Do it again"
                )
                raise
            done += len(ids)
            show_progress(done)
    return BulkResult(chosen.total, moved, done - moved, chosen.unknown), done < chosen.total


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Have the first Ctrl-C end after the present part, and a second one at once."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(what: str, total: int) -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield _Lines(what, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn(what), BarColumn(40), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)


class _Lines:
    """How far it is, as a line each time a quarter more is done."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._shown = what, total, 0

    def __call__(self, done: int) -> None:
        quarter = done * 4 // self._total
        if self._total >= _MANY and quarter > self._shown and done < self._total:
            self._shown = quarter
            talk(f"{done} of {_jobs(self._total)} {self._what}")


def _tell(
    move: OperatorMove,
    result: BulkResult,
    session: Session,
    *,
    chosen: Chosen | None = None,
    stopped: bool = False,
    as_json: bool,
) -> None:
    samples = () if chosen is None else session.run(chosen.samples())
    what = _WORDS[move][0]
    if as_json:
        numbers = {name: getattr(result, name) for name in ("matched", "moved", "skipped", "unknown")}
        shown = [{**listed(hidden(job, session)), "error": _error(job)} for job in samples]
        more = {"samples": shown} if chosen is not None else {"stopped": stopped}
        show_json({"move": move, "dryRun": chosen is not None, **numbers, **more})
        return
    if chosen is not None:
        show(f"{_jobs(result.matched)} would be {what}")
        if samples:
            show_table(("ID", "TYPE", "STATE", "CREATED", "ENDED", "LAST ERROR"), map(_row, samples))
        rest = result.matched - len(samples)
        if samples and rest > 0:
            talk(f"and {rest} more")
    else:
        show(f"{_jobs(result.moved)} {what}")
    if result.skipped:
        talk(f"{_jobs(result.skipped)} not {what}: they have moved since, or another has their unique key")
    if result.unknown:
        talk(
            f"{_jobs(result.unknown)} left out: nobody knows what they did; --include-unknown takes them too"
        )
    if stopped:
        rest = result.matched - result.moved - result.skipped
        talk(f"stopped; {_jobs(rest)} {'is' if rest == 1 else 'are'} as before")


def _row(job: Job) -> tuple[object, ...]:
    error = _error(job) or ""
    cut = error if len(error) <= _SHOWN else f"{error[:_SHOWN]}…"
    return (job.id, job.name, job.state, moment(job.created_at), moment(job.ended_at), cut)


def _error(job: Job) -> str | None:
    return job.errors[-1].error if job.errors else None


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"

"""``cgjobs enqueue --bulk``: many jobs from JSON lines, all checked before the first is enqueued."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import orjson
from cyclopts import App, Parameter

from cgjobs.broker.values import NewJob
from cgjobs.cli.job_options import wire_options
from cgjobs.cli.output import AsJson, show, show_json, talk
from cgjobs.cli.session import Session
from cgjobs.cli.source import read_file
from cgjobs.duration import parse_duration
from cgjobs.errors import Fault, InvalidOption, InvalidPayload, ProcessorNotFound, SubtypeNotFound, suggest
from cgjobs.model import Job
from cgjobs.operations import Operations
from cgjobs.spread import spread_out

_KEYS = ("name", "payload", "options")
_MOST_FAULTS = 50  # more are counted, not shown


def enqueue_bulk(words: Sequence[str], session: Session) -> None:
    """Enqueue the jobs of a file of JSON lines, or none of them."""
    app = App(name="cgjobs enqueue", version_flags=[], default_parameter=Parameter(negative=()))

    @app.default
    def bulk(
        *,
        bulk: Annotated[str, Parameter(allow_leading_hyphen=True)],
        spread: str | None = None,
        as_json: AsJson = False,
    ) -> None:
        """Enqueue many jobs.

        Args:
            bulk: A file of JSON lines, or - for standard input.
            spread: Make them due evenly over this time, such as 10m.
            as_json: Print one JSON line for each job.
        """
        span = _span(spread)
        prepared = _prepare(read_file(bulk), session.operations)
        if span is not None:
            prepared = spread_out(prepared, span)
        jobs = session.run(session.operations.enqueue(prepared))
        for job in jobs:
            if as_json:
                show_json({"id": job.id, "queue": job.queue, "name": job.name, "duplicate": job.duplicate})
            else:
                show(job.id)
        if taken := sum(job.duplicate for job in jobs):
            talk(f"{taken} of {len(jobs)} jobs exist already and were not added")

    command, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    command(*bound.args, **bound.kwargs)


def _prepare(text: bytes, operations: Operations) -> list[tuple[NewJob, Job]]:
    prepared: list[tuple[NewJob, Job]] = []
    faults: list[Fault] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            found = _read(line, operations)
            if isinstance(found, tuple):
                prepared.append(found)
            else:
                faults += [_at(number, fault) for fault in found]
    if faults:
        rest = len(faults) - _MOST_FAULTS
        more = [Fault("", f"and {rest} more")] if rest > 0 else []
        raise InvalidPayload("nothing was enqueued", [*faults[:_MOST_FAULTS], *more])
    return prepared


def _span(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise InvalidOption("the jobs", [Fault("--spread", str(error))]) from None


def _at(number: int, fault: Fault) -> Fault:
    return Fault(f"line {number}", str(fault))


def _read(line: bytes, operations: Operations) -> tuple[NewJob, Job] | list[Fault]:
    """One line, checked and made ready, or all its faults."""
    try:
        entry: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return [Fault("", f"is no JSON: {error}")]
    if not isinstance(entry, dict):
        return [Fault("", "is no JSON object")]
    faults = [Fault(key, f"no such key{_hint(key)}") for key in entry if key not in _KEYS]
    name, payload, given = entry.get("name"), entry.get("payload", {}), entry.get("options", {})
    if not isinstance(name, str):
        faults.append(Fault("name", "give the full name of a subtype, such as 'notification.email'"))
    for key, value in (("payload", payload), ("options", given)):
        if not isinstance(value, dict):
            faults.append(Fault(key, "is no JSON object"))
    if faults or not isinstance(name, str):
        return faults
    subtype = operations.registry.subtypes.get(name)
    options, faults = wire_options(given, keyed=subtype is not None and bool(subtype.unique_by))
    loaded: object = None
    try:
        loaded = operations.codec.load(operations.registry.subtype(name), payload)
        if not faults:
            return operations.new_job(loaded, options)
    except (ProcessorNotFound, SubtypeNotFound) as error:
        faults.append(Fault("name", str(error)))
    except InvalidPayload as error:
        faults += error.faults
    return faults


def _hint(key: str) -> str:
    close = suggest(key, _KEYS)
    return f"; did you mean {close!r}?" if close else f"; the keys are {', '.join(_KEYS)}"

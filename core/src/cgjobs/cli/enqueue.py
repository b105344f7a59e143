"""``cgjobs enqueue``: one job from options made of its payload class, or many from JSON lines."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

import orjson
from cyclopts import App, Group, Parameter

from cgjobs.cli.bulk import enqueue_bulk
from cgjobs.cli.fields import PayloadOption, Value, by_flag, payload_options, to_wire
from cgjobs.cli.job_options import JOB_OPTIONS, job_options
from cgjobs.cli.output import show, show_json, talk
from cgjobs.cli.session import Session, Shared, confirm
from cgjobs.cli.source import read_source
from cgjobs.cli.waiting import wait_for
from cgjobs.client import DEFAULT_WAIT
from cgjobs.duration import format_duration, parse_duration
from cgjobs.errors import Fault, InvalidOption, InvalidPayload, suggest
from cgjobs.subtype import Subtype

_OUR_OPTIONS = {
    "--data": ("JSON", "The payload as JSON, @FILE, or - for standard input. Options win over it."),
    "--wait-timeout": ("DURATION", f"Wait no longer. [default: {format_duration(DEFAULT_WAIT)}]"),
}
_OUR_FLAGS = {
    "--wait": "Wait for the job's end and print its result as JSON; exit with 1 when it fails.",
    "--yes": "Do not ask when the job destroys something.",
    "--json": "Print the job, or with --wait its end, as one JSON document.",
}
_BULK_ONLY = frozenset({"--bulk", "--spread"})
_TAKEN = _BULK_ONLY | {*JOB_OPTIONS, *_OUR_OPTIONS, *_OUR_FLAGS, "--config", "--debug", "--help", "--version"}
_PAYLOAD = Group("Payload", sort_key=1)
_JOB = Group("Job", sort_key=2)
_COMMAND = Group("Command", sort_key=3)

app = App(
    name="enqueue",
    help="Enqueue a job, its payload given as options.",
    usage="Usage: cgjobs enqueue NAME [OPTIONS]\n       cgjobs enqueue --bulk FILE [--spread DURATION]",
    help_flags=[],
    version_flags=[],
)


@app.default
def enqueue(
    *words: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)], session: Shared
) -> None:
    """Enqueue a job, its payload given as options.

    `cgjobs enqueue NAME --help` shows the options of one kind of job, `cgjobs schema` lists the names. An
    option of the payload that has the name of one of ours is written `--payload.<name>`.

    Args:
        words: The name and its options.
    """
    name, *rest = words or ("--help",)
    if not name.startswith("-"):
        _enqueue_one(name, rest, session)
    elif name in ("--help", "-h"):
        _show_help(session)
    else:
        enqueue_bulk(list(words), session)


def _show_help(session: Session) -> None:
    show("Usage: cgjobs enqueue NAME [OPTIONS]")
    show("       cgjobs enqueue --bulk FILE [--spread DURATION] [--json]")
    show("\nEnqueue a job, its payload given as options; NAME --help shows them.")
    show("--spread makes them due evenly over that time, such as 10m.")
    show("--bulk takes JSON lines from a file, or - for standard input; nothing is enqueued if one is wrong:")
    show('  {"name": "...", "payload": {...}, "options": {"delay": "5m", "jobId": "..."}}\n')
    for subtype in session.registry.subtypes.values():
        show(f"  {subtype.name}  {subtype.summary}".rstrip())


def _enqueue_one(name: str, words: Sequence[str], session: Session) -> None:
    subtype = session.registry.subtype(name)
    options = payload_options(subtype.payload, _TAKEN)
    given, faults = _parse(subtype, options, words)
    if given is None:
        return
    payload, more = _payload(subtype, options, given, session)
    chosen, wrong = job_options(given, keyed=bool(subtype.unique_by))
    timeout, late = _timeout(given.get("--wait-timeout"))
    told = {fault.path for fault in faults}
    if faults := [*faults, *wrong, *late, *(fault for fault in more if fault.path not in told)]:
        raise InvalidPayload(f"cannot enqueue {name}", faults)
    prepared = session.operations.new_job(payload, chosen)
    if subtype.destructive and not getattr(payload, "dry_run", False):
        _confirm(subtype, payload, yes="--yes" in given)
    job = session.run(session.operations.enqueue([prepared]))[0]
    if job.duplicate:
        took = chosen.debounce is not None and job.debounced
        what = "it took this payload and waits anew" if took else "nothing was added"
        talk(f"job {job.id!r} exists already and is {job.state}; {what}")
    as_json = "--json" in given
    if "--wait" in given:
        result = wait_for(job, timeout, session)
        show_json({"id": job.id, "state": "completed", "result": result} if as_json else result)
    elif as_json:
        show_json({"id": job.id, "queue": job.queue, "name": job.name, "duplicate": job.duplicate})
    else:
        show(job.id)


def _confirm(subtype: Subtype[Any, Any], payload: object, *, yes: bool) -> None:
    """Ask before a job that destroys something, on a terminal: a script has said it by naming the job."""
    if yes or not sys.stdin.isatty():
        return
    hint = " (--dry-run shows what it would do)" if hasattr(payload, "dry_run") else ""
    confirm(f"{subtype.name} destroys something{hint}.", yes=False)


def _payload(
    subtype: Subtype[Any, Any],
    options: Sequence[PayloadOption],
    given: Mapping[str, Value],
    session: Session,
) -> tuple[object, list[Fault]]:
    """The payload, to be used only when there is no fault."""
    wire, faults = to_wire(options, given, _data(given.get("--data")))
    payload: object = None
    try:
        payload = session.operations.codec.load(subtype, wire)
    except InvalidPayload as error:
        told = {fault.path for fault in faults}
        named = map(by_flag(options), error.faults)
        faults += [fault for fault in named if fault.path not in told]
    return payload, faults


def _timeout(text: Value | None) -> tuple[timedelta, list[Fault]]:
    if text is None:
        return DEFAULT_WAIT, []
    try:
        return parse_duration(text), []
    except ValueError as error:
        return DEFAULT_WAIT, [Fault("--wait-timeout", str(error))]


def _data(source: Value | None) -> Mapping[str, Any]:
    if source is None:
        return {}
    try:
        data = orjson.loads(read_source(str(source)))
    except orjson.JSONDecodeError as error:
        raise InvalidOption("the payload", [Fault("--data", f"is no JSON: {error}")]) from None
    if not isinstance(data, dict):
        raise InvalidOption("the payload", [Fault("--data", "is no JSON object")])
    return data


def _parse(
    subtype: Subtype[Any, Any], options: Sequence[PayloadOption], words: Sequence[str]
) -> tuple[dict[str, Value] | None, list[Fault]]:
    """What was given, by flag, and what is no option of ours. None when help was shown."""
    parameters = {option.parameter: option.flag for option in options}
    parameters |= {_parameter(flag): flag for flag in (*JOB_OPTIONS, *_OUR_OPTIONS, *_OUR_FLAGS)}
    given: dict[str, Value] = {}

    def take(**values: Value | None) -> None:
        given.update({parameters[name]: value for name, value in values.items() if value is not None})

    take.__signature__ = inspect.Signature(_signature(options))  # type: ignore[attr-defined]
    about = App(
        name=f"cgjobs enqueue {subtype.name}",
        help=_about(subtype),
        usage=f"Usage: cgjobs enqueue {subtype.name} [OPTIONS]",
        help_format="plaintext",
        version_flags=[],
        default_parameter=Parameter(negative=()),
    )
    about["--help"].show = False
    about.default(take)
    command, bound, unused, _ = about.parse_known_args(list(words))
    command(*bound.args, **bound.kwargs)
    return (given if command is take else None), _unknown(unused, parameters.values())


def _about(subtype: Subtype[Any, Any]) -> str:
    """The summary, and what the payload's docstring says before it comes to its fields."""
    text = (inspect.getdoc(subtype.payload) or "").partition("\nArgs:")[0].replace("``", "")
    return f"{subtype.summary}\n\n{text.removeprefix(subtype.summary).strip()}".strip()


def _unknown(unused: Sequence[str], flags: Iterable[str]) -> list[Fault]:
    known = [*flags, "--help"]
    faults = []
    for word in unused:
        flag = word.partition("=")[0]
        if flag.startswith("-") and flag != "-":
            close = suggest(flag, known)
            faults.append(Fault(flag, f"no such option{f'; did you mean {close}?' if close else ''}"))
    if unused and not faults:
        faults = [Fault("", f"{word!r} belongs to no option") for word in unused]
    return faults


def _signature(options: Sequence[PayloadOption]) -> list[inspect.Parameter]:
    parameters = [
        _option(
            option.parameter,
            bool if option.is_flag else list[str] if option.is_list else str,
            Parameter(
                name=option.flag,
                help=option.help,
                group=_PAYLOAD,
                negative=None if option.is_flag and option.negatable else (),
                metavar=None if option.is_flag else option.metavar,
                show_default=False,
            ),
        )
        for option in options
    ]
    texts = {flag: (*entry, _JOB) for flag, entry in JOB_OPTIONS.items()}
    texts |= {flag: (*entry, _COMMAND) for flag, entry in _OUR_OPTIONS.items()}
    for flag, (metavar, text, group) in texts.items():
        chosen = Parameter(
            name=flag,
            help=text,
            group=group,
            metavar=metavar,
            show_default=False,
            allow_leading_hyphen=flag == "--data",
        )
        parameters.append(_option(_parameter(flag), list[str] if metavar == "ID..." else str, chosen))
    for flag, text in _OUR_FLAGS.items():
        chosen = Parameter(name=flag, help=text, group=_COMMAND, show_default=False)
        parameters.append(_option(_parameter(flag), bool, chosen))
    return parameters


def _parameter(flag: str) -> str:
    return flag.strip("-").replace("-", "_")


def _option(name: str, kind: Any, chosen: Parameter) -> inspect.Parameter:
    annotation = Annotated[kind | None, chosen]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)

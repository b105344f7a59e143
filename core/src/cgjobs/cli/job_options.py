"""The options of a job, as texts, to `JobOptions`: on the command line and in the lines of ``--bulk``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import attrs

from cgjobs.duration import parse_duration
from cgjobs.errors import Fault, InvalidOption, suggest
from cgjobs.model import Keep
from cgjobs.options import JobOptions

JOB_OPTIONS: Mapping[str, tuple[str, str]] = {
    "--delay": ("DURATION", "Wait at least this long before the first attempt."),
    "--at": ("TIME", "Not before this time, such as 2026-01-31T12:00:00Z."),
    "--priority": ("LEVEL", "critical, high, normal or low. [default: normal]"),
    "--attempts": ("INT", "How often it is tried in all. Otherwise as configured for the queue."),
    "--timeout": ("DURATION", "Longest run of one attempt."),
    "--job-id": ("TEXT", "Its id; while a job with this id exists, nothing is added."),
    "--correlation-id": ("TEXT", "Ties log lines together."),
    "--expires": (
        "DURATION|TIME",
        "It fails when no worker has started it after this long, or by this time.",
    ),
    "--limit-key": ("TEXT", "Only so many jobs of the queue with this key run at once or in a window."),
    "--unique": (
        "KEY",
        "While a job of the queue has this key, nothing is added. '' for none, whatever the subtype says.",
    ),
    "--unique-until": ("started|done|DURATION", "How long it has the key. [default: done]"),
    "--throttle": ("DURATION", "At most one job of the key in this time: the first."),
    "--debounce": (
        "DURATION",
        "Wait this long; a further job with the key replaces the one that waits, and the wait begins anew.",
    ),
    "--debounce-at-most": ("DURATION", "Wait no longer than this in all. [default: ten times --debounce]"),
    "--tag": ("TAG,TAG", "Words to find it by, separated by commas."),
    "--depends-on": ("ID...", "A job that must complete first; several, or several times, for more."),
    "--on-dependency-failure": ("fail|ignore", "What it does when one of them fails. [default: fail]"),
    "--keep-completed": (
        "DURATION[,COUNT]",
        "How long the job is kept once completed, and with how many others at most.",
    ),
    "--keep-failed": ("DURATION[,COUNT]", "The same once failed."),
}
"""The flags of a job's options: metavar and help."""
_FIELDS = {"--tag": "tags"}  # flags that have another name than the option: a payload may well have tags


def job_options(given: Mapping[str, Any], *, keyed: bool) -> tuple[JobOptions, list[Fault]]:
    """The options among what was given by flag, to be used only when there is no fault.

    Args:
        given: Flag to value.
        keyed: Whether the subtype gives its jobs a unique key.
    """
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for flag, (metavar, _) in JOB_OPTIONS.items():
        if flag not in given:
            continue
        try:
            values[_FIELDS.get(flag, flag.strip("-").replace("-", "_"))] = _READERS[metavar](given[flag])
        except ValueError as error:
            faults.append(Fault(flag, str(error)))
    options = JobOptions(**values)
    try:
        options.check(keyed=keyed)
    except InvalidOption as error:
        faults += [attrs.evolve(fault, path=_flag(fault.path)) for fault in error.faults]
    return options, faults


def wire_options(given: Mapping[str, Any], *, keyed: bool) -> tuple[JobOptions, list[Fault]]:
    """The options by their wire names (``jobId``), unknown ones refused; faults have these names."""
    names = {_wire(flag): flag for flag in JOB_OPTIONS}
    known = {names[name]: value for name, value in given.items() if name in names}
    options, faults = job_options(known, keyed=keyed)
    faults = [attrs.evolve(fault, path=_wire(fault.path)) for fault in faults]
    for name in given:
        if name not in names:
            close = suggest(name, names)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(names)}"
            faults.append(Fault(name, f"no such option; {hint}"))
    return options, faults


def _time(text: object) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{text!r} is no time such as 2026-01-31T12:00:00Z") from None


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    raise ValueError(f"{value!r} is no whole number")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is no text")


def _ids(value: object) -> list[str]:
    given = value if isinstance(value, list) else [value]
    return [job_id for item in given for job_id in _text(item).split(",")]


def _key(value: object) -> str | Literal[False]:
    """A unique key; ``""``, in JSON also ``false``, for none."""
    return False if value in ("", False) else _text(value)


def _tags(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(tag.strip() for tag in value.split(",") if tag.strip())
    if isinstance(value, list):
        return tuple(_text(tag) for tag in value)
    raise ValueError(f"{value!r} is no list of tags such as invoice,tenant-7")


def time_or_duration(value: object) -> timedelta | datetime:
    """Either, from text; raises `ValueError`."""
    try:
        return parse_duration(value)
    except ValueError:
        try:
            return datetime.fromisoformat(str(value))
        except ValueError:
            raise ValueError(
                f"{value!r} is no duration such as 5m and no time such as 2026-01-31T12:00:00Z"
            ) from None


def past_time(text: str, now: datetime) -> datetime:
    """``1h`` (that long before ``now``) or a time, as an aware time; raises `ValueError`."""
    given = time_or_duration(text)
    try:
        at = now - given if isinstance(given, timedelta) else given
    except OverflowError:
        raise ValueError(f"{text} is before all time") from None
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone; add Z or an offset")
    return at


def _keep(value: object) -> timedelta | Keep:
    """``1d``, ``1d,1000`` or, in JSON, ``{"age": "1d", "count": 1000}``."""
    match value:
        case str() if "," in value:
            age, _, count = value.partition(",")
            return Keep(parse_duration(age.strip()), _integer(count.strip()))
        case {"age": age, "count": count, **rest} if not rest:
            return Keep(parse_duration(age), _integer(count))
        case {"count": count, **rest} if not rest:
            return Keep(count=_integer(count))
    return parse_duration(value)


def _until(value: object) -> object:
    return value if value in ("started", "done") else parse_duration(value)


_READERS: Mapping[str, Callable[[object], object]] = {
    "DURATION": parse_duration,
    "DURATION[,COUNT]": _keep,
    "DURATION|TIME": time_or_duration,
    "started|done|DURATION": _until,
    "TIME": _time,
    "INT": _integer,
    "LEVEL": _text,
    "KEY": _key,
    "TAG,TAG": _tags,
    "fail|ignore": _text,
    "ID...": _ids,
    "TEXT": _text,
}


def _flag(wire: str) -> str:
    if wire in _FIELDS.values():
        return next(flag for flag, field in _FIELDS.items() if field == wire)
    return "--" + re.sub(r"[A-Z]", lambda match: f"-{match[0].lower()}", wire)


def _wire(flag: str) -> str:
    if flag in _FIELDS:
        return _FIELDS[flag]
    first, *rest = flag.strip("-").split("-")
    return first + "".join(part.capitalize() for part in rest)

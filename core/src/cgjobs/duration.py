"""Durations as people write them (``1h30m``, ``30d``, ISO 8601 ``PT12H``) to and from `timedelta`."""

from __future__ import annotations

import re
from datetime import timedelta

_SHORT = re.compile(
    r"(?=\d)"
    r"(?:(?P<days>\d+(?:\.\d+)?)d)?"
    r"(?:(?P<hours>\d+(?:\.\d+)?)h)?"
    r"(?:(?P<minutes>\d+(?:\.\d+)?)m)?"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)s)?"
    r"(?:(?P<milliseconds>\d+(?:\.\d+)?)ms)?",
    re.ASCII,
)
# ISO 8601-1:2019 section 5.5.2, without years and months: they have no fixed length.
_ISO = re.compile(
    r"P(?=\d|T\d)"
    r"(?:(?P<weeks>\d+(?:[.,]\d+)?)W)?"
    r"(?:(?P<days>\d+(?:[.,]\d+)?)D)?"
    r"(?:T(?=\d)"
    r"(?:(?P<hours>\d+(?:[.,]\d+)?)H)?"
    r"(?:(?P<minutes>\d+(?:[.,]\d+)?)M)?"
    r"(?:(?P<seconds>\d+(?:[.,]\d+)?)S)?"
    r")?",
    re.ASCII,
)
_BARE_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_LONGEST_TEXT = 100  # nobody writes more, and Python refuses integers of over 4,300 digits
_LENGTHS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_HINT = "write it like 30d, 12h, 1h30m, 90s or 250ms"


def parse_duration(text: object) -> timedelta:
    """Read a duration.

    Args:
        text: Numbers with units from large to small, each at most once: ``30d``, ``12h``, ``1h30m``, ``90s``,
            ``250ms``, ``1.5s``; or ISO 8601 with weeks to seconds: ``P30D``, ``PT12H``. A `timedelta` is
            given back as it is.

    Returns:
        A duration of zero or more; anything under a microsecond is rounded.

    Raises:
        ValueError: Not a duration, a number without a unit, negative, or too long for a `timedelta`.
    """
    if isinstance(text, timedelta):
        if text < timedelta(0):
            raise ValueError(f"{text!s} is negative; a duration is zero or more")
        return text
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str):
        raise ValueError(f"{type(text).__name__} is not a duration; {_HINT}")
    text = text.strip()
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"a text of {len(text)} characters is not a duration; {_HINT}")
    if _BARE_NUMBER.fullmatch(text) and not text.startswith("-"):
        raise ValueError(f"{text} has no unit; write {text}d, {text}h, {text}m or {text}s")
    if text.startswith("-"):
        raise ValueError(f"{text!r} is negative; a duration is zero or more")
    match = (_ISO if text.startswith("P") else _SHORT).fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a duration; {_HINT}")
    parts = {unit: number for unit, number in match.groupdict().items() if number}
    try:
        return sum((_part(unit, number) for unit, number in parts.items()), timedelta(0))
    except OverflowError:
        raise ValueError(f"{text!r} is too long; a duration is shorter than a billion days") from None


def _part(unit: str, number: str) -> timedelta:
    whole = number.isdecimal()  # a float would lose the last digits of a long duration
    return timedelta(**{unit: int(number) if whole else float(number.replace(",", "."))})


def format_duration(duration: timedelta) -> str:
    """Write a duration in its shortest form: ``30d``, ``1h30m``, ``250ms``, ``0s``.

    It is the inverse of `parse_duration` for whole milliseconds of zero or more; a rest is cut off, and a
    negative duration gets a leading minus sign, which `parse_duration` refuses.
    """
    sign, rest = ("-", -duration) if duration < timedelta(0) else ("", duration)
    text = ""
    for unit, length in _LENGTHS.items():
        count, rest = divmod(rest, length)
        if count:
            text += f"{count}{unit}"
    return f"{sign}{text}" if text else "0s"

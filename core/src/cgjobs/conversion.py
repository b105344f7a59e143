"""One written setting to one Python value: strict in a file, converted from text in the environment."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cgjobs.duration import parse_duration
from cgjobs.errors import suggest
from cgjobs.model import Rate

VALUES: frozenset[object] = frozenset({Rate})
"""Classes of attrs that are written as one value, not as a table."""
_INTEGER = re.compile(r"[+-]?\d{1,400}", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def convert(hint: Any, value: object, *, text: bool, file: Path | None = None) -> object:
    """Make a value of type `bool`, `int`, `float`, `str`, `Path`, `timedelta`, `Rate`, `Literal` or enum.

    Args:
        hint: The type wanted.
        value: What was written.
        text: Whether it is the text of an environment variable and may be converted to any type; otherwise
            a value must have the type already, as TOML can say it (``"7"`` is no integer).
        file: The file it comes from: a relative path is relative to the file's directory.

    Raises:
        ValueError: It is no value of this type; the message quotes the value.
        TypeError: Settings cannot have this type.
    """
    if get_origin(hint) is Literal:
        return _choice({str(option): option for option in get_args(hint)}, value, text)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choice({str(member.value): member for member in hint}, value, text)
    if hint is Path:
        return _path(value, file)
    if converter := _CONVERTERS.get(hint):
        return converter(value, text)
    raise TypeError(f"a setting cannot have the type {hint!r}; use str, int, float, bool, timedelta or Path")


def _boolean(value: object, text: bool) -> bool:
    if text and isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is not a boolean; write true or false")


def _integer(value: object, text: bool) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        if text:
            return int(value)
        raise ValueError(f"{value!r} is text, not a whole number; write it without quotes")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is not a whole number")


def _number(value: object, text: bool) -> float:
    number = math.nan
    if (isinstance(value, (int, float)) and not isinstance(value, bool)) or (text and isinstance(value, str)):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            pass
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _string(value: object, text: bool) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is not text; write it in quotes")


def _duration(value: object, text: bool) -> timedelta:
    return parse_duration(value)


def _rate(value: object, text: bool) -> Rate:
    return value if isinstance(value, Rate) else Rate.parse(value)


def _path(value: object, file: Path | None) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a path; write it in quotes")
    return file.absolute().parent / value if file else Path(value)


def _choice(options: dict[str, Any], value: object, text: bool) -> object:
    for name, option in options.items():
        plain = option.value if isinstance(option, enum.Enum) else option
        if value is option or (value == name if text else (value == plain and type(value) is type(plain))):
            return option
    close = suggest(value, options) if isinstance(value, str) else None
    hint = f"; did you mean {close!r}?" if close else ""
    raise ValueError(f"{value!r} is none of {', '.join(options)}{hint}")


_CONVERTERS: dict[Any, Callable[[object, bool], object]] = {
    bool: _boolean,
    int: _integer,
    float: _number,
    str: _string,
    timedelta: _duration,
    Rate: _rate,
}

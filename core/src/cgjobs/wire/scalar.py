"""The simple values: what each is on the wire, in JSON Schema, and how a wrong one is refused."""

from __future__ import annotations

import base64
import functools
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from types import NoneType
from typing import Any
from uuid import UUID

import attrs

from cgjobs.duration import format_duration, parse_duration
from cgjobs.errors import Fault


class Refusal(Exception):
    """A value does not fit. ``faults`` has all of it, by path; `codec.py` makes it an `InvalidPayload`."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__(*faults)


@attrs.frozen(eq=False)
class Scalar:
    """A kind of value that is one string, number, boolean or null on the wire.

    Args:
        noun: What the wire must have, for people: ``an integer``.
        python: The classes of its values in Python.
        json: The classes of its values in JSON, as orjson reads it.
        schema: Its JSON Schema.
        dump: From Python to the wire. Raises `Refusal`.
        load: From the wire to Python. Raises `Refusal`.
    """

    noun: str
    python: tuple[type, ...]
    json: tuple[type, ...]
    schema: Mapping[str, Any]
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


def expected(noun: str, value: object) -> Refusal:
    """The refusal of a value that is something else."""
    return Refusal(Fault("", f"expected {noun}, got {show(value)}"))


def show(value: object) -> str:
    """A wrong value for people, short; of arrays, objects and foreign classes only what it is."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {cut(value)!r}"
        case int() if abs(value) > 2**64:  # Python refuses to write very long integers
            return "an integer of more than 64 bits"
        case int() | float():
            return f"the number {value!r}"
        case list() | tuple():
            return "an array"
        case Mapping():
            return "an object"
    return f"a Python {type(value).__name__}"


def cut(text: str, length: int = 40) -> str:
    """The text, or its beginning and an ellipsis when it is longer than ``length``."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _plain(noun: str, cls: type, schema: Mapping[str, Any], bare: Callable[[Any], Any]) -> Scalar:
    """The same on the wire as in Python; of a subclass, such as a `StrEnum`, the bare value is written."""

    def load(value: Any) -> Any:
        if value.__class__ is cls:
            return value
        raise expected(noun, value)

    def dump(value: Any) -> Any:
        if value.__class__ is cls:
            return value
        if isinstance(value, cls) and not isinstance(value, bool):
            return bare(value)
        raise expected(noun, value)

    return Scalar(noun, (cls,), (cls,), schema, dump, load)


def _integer() -> Scalar:
    plain = _plain("an integer", int, {"type": "integer"}, int.__int__)

    def of_64_bits(convert: Callable[[Any], int]) -> Callable[[Any], int]:
        def strict(value: Any) -> int:
            number = convert(value)
            if -(2**63) <= number < 2**63:
                return number
            raise Refusal(Fault("", "an integer must fit into 64 bits"))  # JSON readers would round it

        return strict

    return attrs.evolve(plain, dump=of_64_bits(plain.dump), load=of_64_bits(plain.load))


def _number() -> Scalar:
    noun = "a finite number"

    def convert(value: Any) -> float:
        if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        raise expected(noun, value)

    return Scalar(noun, (float, int), (float, int), {"type": "number"}, convert, convert)


def _text(
    noun: str, cls: type, schema: Mapping[str, Any], write: Callable[[Any], str], read: Callable[[str], Any]
) -> Scalar:
    """A string on the wire; the schema's pattern, if any, is checked before it is read."""
    fits = re.compile(schema.get("pattern", "")).search

    def dump(value: Any) -> str:
        if isinstance(value, cls):
            try:
                return write(value)
            except ValueError:
                pass
        raise expected(noun, value)

    def load(value: Any) -> Any:
        if value.__class__ is str and fits(value):
            try:
                return read(value)
            except (ValueError, ArithmeticError):
                pass
        raise expected(noun, value)

    return Scalar(noun, (cls,), (str,), {"type": "string", **schema}, dump, load)


def _write_datetime(value: datetime) -> str:
    if value.utcoffset() is None:
        raise Refusal(Fault("", "the date and time has no time zone; give it one, as datetime.now(UTC) has"))
    return value.isoformat()


def _read_datetime(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.utcoffset() is None:
        raise Refusal(Fault("", f"{show(text)} has no offset from UTC; append Z, or one as +01:00"))
    return value


def _write_date(value: date) -> str:
    if isinstance(value, datetime):
        raise ValueError
    return value.isoformat()


@functools.lru_cache(1024)  # the same few come again and again, and each takes some microseconds
def _write_duration(value: timedelta) -> str:
    if value < timedelta(0):
        raise Refusal(Fault("", f"{value} is negative; a duration is zero or more"))
    if not value.microseconds % 1000:
        return format_duration(value)
    whole = value - timedelta(microseconds=value.microseconds)
    return f"{format_duration(whole) if whole else ''}{value.microseconds / 1000}ms"


@functools.lru_cache(1024)
def _read_duration(text: str) -> timedelta:
    return parse_duration(text)


def _duration() -> Scalar:
    short = "".join(rf"(\d+(\.\d+)?{unit})?" for unit in ("d", "h", "m", "s", "ms"))
    days, time = ("".join(rf"(\d+([.,]\d+)?{unit})?" for unit in units) for units in ("WD", "HMS"))
    pattern = rf"^((?=\d){short}|P(?=\d|T\d){days}(T(?=\d){time})?)$"
    noun = "a duration such as 90s, 12h or 30d"

    def load(value: Any) -> timedelta:
        try:
            if value.__class__ is str:
                return _read_duration(value)
            if value.__class__ in (int, float):
                return parse_duration(value)  # raises, and says which units there are
        except ValueError as error:
            raise Refusal(Fault("", cut(str(error), 200))) from None
        raise expected(noun, value)

    # No "format": JSON Schema's "duration" is ISO 8601 alone and would refuse 30d.
    schema = {"pattern": pattern, "examples": ["90s", "12h", "30d"]}
    return attrs.evolve(_text(noun, timedelta, schema, _write_duration, _read_duration), load=load)


def _decimal() -> Scalar:
    def write(value: Decimal) -> str:
        if not value.is_finite():
            raise ValueError
        return str(value)

    pattern = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
    return _text("a decimal number in a string", Decimal, {"pattern": pattern}, write, Decimal)


def _bytes() -> Scalar:
    def write(value: bytes) -> str:
        return base64.b64encode(value).decode("ascii")

    def read(text: str) -> bytes:
        return base64.b64decode(text, validate=True)

    return _text("Base64", bytes, {"contentEncoding": "base64"}, write, read)


_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

SCALARS: Mapping[Any, Scalar] = {
    str: _plain("a string", str, {"type": "string"}, str.__str__),
    bool: _plain("true or false", bool, {"type": "boolean"}, bool),
    int: _integer(),
    float: _number(),
    NoneType: _plain("null", NoneType, {"type": "null"}, lambda value: None),
    None: _plain("null", NoneType, {"type": "null"}, lambda value: None),
    datetime: _text(
        "a date and time such as 2026-01-31T12:00:00Z",
        datetime,
        {"format": "date-time"},
        _write_datetime,
        _read_datetime,
    ),
    date: _text(
        "a date such as 2026-01-31",
        date,
        {"format": "date", "pattern": _DATE},
        _write_date,
        date.fromisoformat,
    ),
    timedelta: _duration(),
    Path: _text("a path", PurePath, {}, str, Path),
    Decimal: _decimal(),
    UUID: _text("a UUID", UUID, {"format": "uuid", "pattern": _UUID}, str, UUID),
    bytes: _bytes(),
}
"""The simple values by annotation."""

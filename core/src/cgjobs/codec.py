"""Payloads, results and calls: to the JSON in Redis, and back without trusting it."""

from __future__ import annotations

import inspect
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import attrs
import orjson

from cgjobs.config import LimitConfig
from cgjobs.errors import CgjobsError, Fault, InvalidPayload, PayloadTooLarge
from cgjobs.subtype import FULL_NAME, MAX_VERSION, Subtype
from cgjobs.wire.record import payload_form, plain
from cgjobs.wire.scalar import Refusal, cut, show

P = TypeVar("P")

PERFORM = "cgjobs.perform"
"""The function that a job in RQ's layout calls, and the only one that `Codec.unpack` accepts."""
VERSION = 1
"""Version of the envelope that `Codec.pack` writes."""
HIDDEN = "********"
"""Shown in place of the value of a secret field."""
_ENVELOPE_BYTES = 4096  # what a call may have beyond its payload
_KEYS = {"v", "name", "payload", "correlationId"}
_PAYLOAD_VERSION = "payloadVersion"  # left out for version 1


class Unreadable(CgjobsError, ValueError):
    """What stands in Redis is no job of ours. The reason never contains any of it."""


@attrs.frozen
class Envelope:
    """A job's call as it was read; its payload is checked by `Codec.load`.

    Args:
        name: Full name of a subtype, which need not exist.
        payload: The payload in wire form.
        correlation_id: Ties log lines of one request together.
        version: Version of the envelope.
        payload_version: Version of the payload.
    """

    name: str
    payload: Mapping[str, Any] = attrs.field(repr=False)
    correlation_id: str
    version: int = VERSION
    payload_version: int = 1


@attrs.frozen
class Codec:
    """Between payloads and the wire. Stateless, and safe to use from several threads.

    Args:
        limits: What a payload and a result may be.
    """

    limits: LimitConfig = attrs.field(factory=LimitConfig)

    def check(self, subtype: Subtype[Any, Any]) -> None:
        """Make sure that every field of a subtype's payload has a wire form.

        Raises:
            TypeError: A field has none; names the class and the field.
        """
        payload_form(subtype.payload)

    def dump(self, subtype: Subtype[Any, Any], payload: object) -> dict[str, Any]:
        """Write a payload as a JSON-ready dict: ``type`` first, then its fields by wire name.

        Every field is written, so that a job keeps its meaning when a default changes later; only a None that
        is the default is left out.

        Raises:
            InvalidPayload: Values have a wrong type, or validators refuse them. Lists all faults.
            PayloadTooLarge: It has too many bytes as compact JSON, or is nested too deeply.
            TypeError: A field has no wire form, see `check`.
        """
        form = payload_form(subtype.payload)
        try:
            wire = {"type": subtype.kind, **form.dump(payload)}
            data = orjson.dumps(wire)
        except Refusal as refusal:
            raise InvalidPayload(_payload_of(subtype), refusal.faults) from None
        except RecursionError:
            raise self._too_deep(subtype) from None
        except orjson.JSONEncodeError:  # half a surrogate pair, or deeper than orjson goes
            if faults := list(_unwritable(wire)):
                raise InvalidPayload(_payload_of(subtype), faults) from None
            raise self._too_deep(subtype) from None
        if len(data) > self.limits.payload_bytes:
            raise _too_large(_payload_of(subtype), len(data), self.limits.payload_bytes)
        if _is_deeper(wire, data, self.limits.payload_depth):
            raise self._too_deep(subtype)
        return wire

    def load(self, subtype: Subtype[P, Any], wire: Mapping[str, Any]) -> P:
        """Read a payload from its wire form: exactly the wire names, exactly the types.

        Args:
            subtype: What it is a payload of.
            wire: JSON as orjson reads it; ``type`` is the subtype's kind or absent.

        Raises:
            InvalidPayload: Fields are unknown, missing or wrong. Lists all faults.
            PayloadTooLarge: It is nested too deeply.
            TypeError: A field has no wire form, see `check`.
        """
        form = payload_form(subtype.payload)
        faults: tuple[Fault, ...] = ()
        if isinstance(wire, Mapping) and "type" in wire:
            if wire["type"] != subtype.kind:
                faults = (Fault("type", f"expected {subtype.kind!r}, got {show(wire['type'])}"),)
            wire = {name: value for name, value in wire.items() if name != "type"}
        try:
            payload: P = form.load(wire)
        except Refusal as refusal:
            raise InvalidPayload(_payload_of(subtype), faults + refusal.faults) from None
        except RecursionError:
            raise self._too_deep(subtype) from None
        if faults:
            raise InvalidPayload(_payload_of(subtype), faults)
        return payload

    def dump_result(self, value: object, what: str = "the result") -> bytes:
        """Write what a handler returned as compact JSON.

        attrs instances get camelCase keys, a set becomes a sorted list; scalars are as in payloads.

        Args:
            value: What it returned; None is ``null``.
            what: Names it in errors, such as ``the result of report.usage``.

        Raises:
            InvalidPayload: Something in it has no wire form. Lists all faults.
            PayloadTooLarge: It has too many bytes or is nested too deeply.
        """
        if value is None:
            return b"null"
        try:
            wire = plain(value)
            data = orjson.dumps(wire)
        except Refusal as refusal:
            raise InvalidPayload(what, refusal.faults) from None
        except RecursionError:
            raise PayloadTooLarge(what, [Fault("", "nested too deeply")]) from None
        except orjson.JSONEncodeError:
            if faults := list(_unwritable(wire)):
                raise InvalidPayload(what, faults) from None
            raise PayloadTooLarge(what, [Fault("", "nested too deeply")]) from None
        if len(data) > self.limits.result_bytes:
            raise _too_large(what, len(data), self.limits.result_bytes)
        return data

    def describe(self, subtype: Subtype[Any, Any], wire: Mapping[str, Any]) -> str:
        """One line for people: ``notification.email(userId='01H…', message='Hi th…')``.

        Secret values are ``********``; fields that the class does not have are left out.
        """
        parts = [
            f"{field.name}={HIDDEN if field.secret else _brief(wire[field.name])}"
            for field in payload_form(subtype.payload).fields
            if field.name in wire
        ]
        return cut(f"{subtype.name}({', '.join(parts)})", 200)

    def pack(
        self, name: str, wire: Mapping[str, Any], correlation_id: str, payload_version: int = 1
    ) -> bytes:
        """The call of a job as RQ's JSONSerializer would write it, compact.

        Args:
            name: Full name of the subtype.
            wire: What `dump` gave.
            correlation_id: Ties log lines of one request together.
            payload_version: Version of the payload.
        """
        envelope = {"v": VERSION, "name": name, "payload": wire, "correlationId": correlation_id}
        if payload_version != 1:
            envelope[_PAYLOAD_VERSION] = payload_version
        return orjson.dumps([PERFORM, None, [envelope], {}])

    def unpack(self, data: bytes) -> Envelope:
        """Read a call that anybody may have written, plain or compressed by zlib as RQ does.

        Nothing in it is imported, unpickled or evaluated. Repeated keys and integers beyond 64 bits are
        refused, which other readers take differently.

        Raises:
            Unreadable: It is not what `pack` writes, or it is larger or deeper than the limits.
        """
        bound = self.limits.payload_bytes + _ENVELOPE_BYTES
        if data[:1] == b"\x78":  # never the first byte of JSON
            data = _inflate(data, bound)
        if len(data) > bound:
            raise Unreadable("larger than the limit")
        match _parse(data):
            case [str() as function, None, [dict() as envelope], dict() as keywords] if not keywords:
                pass
            case _:
                raise Unreadable("not a call with one argument")
        if function != PERFORM:
            raise Unreadable(f"a call of another function than {PERFORM}")
        payload_version = envelope.pop(_PAYLOAD_VERSION, 1)
        if envelope.keys() != _KEYS:
            raise Unreadable("the envelope's fields are not those of version 1")
        if envelope["v"].__class__ is not int or envelope["v"] != VERSION:
            raise Unreadable("the envelope's version is unknown")
        if payload_version.__class__ is not int or not 1 <= payload_version <= MAX_VERSION:
            raise Unreadable("the payload's version is no version")
        name, payload, correlation_id = envelope["name"], envelope["payload"], envelope["correlationId"]
        if name.__class__ is not str or not FULL_NAME.match(name):
            raise Unreadable("the name is no full name of a subtype")
        if payload.__class__ is not dict:
            raise Unreadable("the payload is no object")
        if correlation_id.__class__ is not str:
            raise Unreadable("the correlation id is no string")
        if _is_deeper(payload, data, self.limits.payload_depth):
            raise Unreadable("the payload is nested too deeply")
        return Envelope(name, payload, correlation_id, payload_version=payload_version)

    def _too_deep(self, subtype: Subtype[Any, Any]) -> PayloadTooLarge:
        fault = Fault("", f"nested more than {self.limits.payload_depth} levels deep")
        return PayloadTooLarge(_payload_of(subtype), [fault])


def field_help(cls: type) -> dict[str, str]:
    """What a class's docstring says about its fields, by Python name: its Google style ``Args:``."""
    doc = inspect.getdoc(cls) or ""
    found = re.search(r"^Args:\n((?: .*\n|\n)*)", doc + "\n", re.MULTILINE)
    entries: dict[str, str] = {}
    current: list[str] = []
    for line in found[1].splitlines() if found else ():
        entry = re.match(r" {2,4}(\w+(?:, \w+)*)(?: \([^)]*\))?: *(.*)", line)
        if entry:
            current = entry[1].split(", ")
            entries.update(dict.fromkeys(current, entry[2]))
        elif line.strip():
            entries.update({name: f"{entries[name]} {line.strip()}".strip() for name in current})
    return entries


def _payload_of(subtype: Subtype[Any, Any]) -> str:
    return f"the payload of {subtype.name}"


def _too_large(what: str, size: int, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(what, [Fault("", f"{size:,} bytes are more than the limit of {limit:,}")])


def _inflate(data: bytes, bound: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, bound + 1)
    except zlib.error:
        raise Unreadable("neither JSON nor compressed JSON") from None
    if len(plain) > bound:
        raise Unreadable("larger than the limit")
    if not inflater.eof or inflater.unused_data:
        raise Unreadable("compressed data that is cut off or followed by something")
    return plain


def _parse(data: bytes) -> Any:
    try:
        value = orjson.loads(data)
        # Ours is the same when written again. Anything else is read again with care, since orjson keeps the
        # last of repeated keys and rounds integers beyond 64 bits.
        return value if orjson.dumps(value) == data else _parse_strictly(data)
    except (ValueError, TypeError, RecursionError):
        raise Unreadable("not JSON, or nested too deeply, or with repeated keys or huge integers") from None


def _parse_strictly(data: bytes) -> Any:
    return json.loads(data, object_pairs_hook=_unique, parse_int=_integer)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(made := dict(pairs)) != len(pairs):
        raise ValueError("repeated keys")
    return made


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
        raise ValueError("an integer beyond 64 bits")
    return number


def _is_deeper(value: object, data: bytes, limit: int) -> bool:
    if data.count(b"{") + data.count(b"[") <= limit:
        return False  # the usual case, without a walk
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if item.__class__ is dict else item)
            if child.__class__ in (dict, list)
        ]
        if not level:
            return False
    return True


def _unwritable(wire: Any, path: str = "") -> Iterator[Fault]:
    """The strings that are no UTF-8, which orjson does not name."""
    match wire:
        case str():
            try:
                wire.encode()
            except UnicodeEncodeError:
                yield Fault(path, "the string has half a surrogate pair and is no valid Unicode")
        case dict():
            for key, value in wire.items():
                yield from _unwritable(key, path)
                yield from _unwritable(value, f"{path}.{key}" if path else key)
        case list():
            for index, value in enumerate(wire):
                yield from _unwritable(value, f"{path}[{index}]")


def _brief(value: object) -> str:
    match value:
        case str():
            return repr(cut(value))
        case list():
            return f"[{len(value)}]" if value else "[]"
        case dict():
            return "{…}" if value else "{}"
    return repr(value)

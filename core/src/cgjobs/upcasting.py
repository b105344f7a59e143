"""Payloads of older versions, brought to the version that is installed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from cgjobs.codec import HIDDEN, Envelope
from cgjobs.errors import Fault, InvalidPayload
from cgjobs.subtype import Subtype


def upcast(subtype: Subtype[Any, Any], envelope: Envelope) -> Envelope:
    """The same call with its payload in the subtype's version, by its upcasters, one version at a time.

    Raises:
        InvalidPayload: An upcaster raised or gave no dict, or the payload is newer than the subtype.
    """
    version = envelope.payload_version
    if version == subtype.version:
        return envelope
    if version > subtype.version:
        raise _refused(subtype, f"it has version {version}, and only {subtype.version} is known here")
    wire = dict(envelope.payload)
    for step in range(version, subtype.version):
        what = f"its upcaster from version {step} to {step + 1}"
        try:
            upcasted: object = subtype.upcasters[step](dict(wire))
        except Exception as error:
            raise _refused(subtype, f"{what} raised {_without_values(error, wire)}") from error
        if not isinstance(upcasted, Mapping):
            raise _refused(subtype, f"{what} gave {type(upcasted).__name__}; it must give a dict")
        wire = dict(upcasted)
    return attrs.evolve(envelope, payload=wire, payload_version=subtype.version)


def _refused(subtype: Subtype[Any, Any], message: str) -> InvalidPayload:
    return InvalidPayload(f"payload of {subtype.name}", [Fault("", message)])


def _without_values(error: Exception, wire: Mapping[str, Any]) -> str:
    """Class and message of an error; which values of an older payload are secret nobody knows."""
    message = " ".join(str(error).split())
    for value in sorted(set(_values(wire)), key=len, reverse=True):
        message = message.replace(value, HIDDEN)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _values(wire: object) -> Iterator[str]:
    match wire:
        case dict():
            for value in wire.values():
                yield from _values(value)
        case list():
            for value in wire:
                yield from _values(value)
        case str() | int() | float() if not isinstance(wire, bool) and wire != "":
            yield str(wire)

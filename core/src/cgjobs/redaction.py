"""Keeping the values of secret fields out of what people see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import attrs
import orjson

from cgjobs.codec import HIDDEN, Codec
from cgjobs.errors import InvalidPayload
from cgjobs.subtype import Subtype
from cgjobs.wire.record import payload_form

_SHORTEST = 3  # a secret of fewer characters cannot be told from other text


_SECRET = re.compile(r"password|passwd|secret|token|api_?key|authorization|credential", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/\s]+@")  # to the last @: a password may hold one


def redact(holders: object, text: str) -> str:
    """``text`` with the values of secret fields replaced by ``********``.

    Args:
        holders: A payload or settings, or a tuple of such: anything whose fields may be secret.
        text: What people will see.
    """
    return hide(secret_forms(holders), text)


def secret_forms(holders: object) -> tuple[str, ...]:
    """All that `redact` looks for, the longest first: for many texts with the same secrets."""
    forms = {form for secret in _secrets(holders, secret=False) for form in _forms(secret)}
    return tuple(sorted(forms, key=len, reverse=True))


def hide(forms: tuple[str, ...], text: str) -> str:
    """``text`` with these forms of secrets replaced by ``********``."""
    for form in forms:
        text = text.replace(form, HIDDEN)
    return text


def log_field(name: str, value: Any) -> tuple[str, Any]:
    """A field of a log line by its camelCase name; hidden when the name says that it is secret."""
    wire_name, secret = _on_the_wire(name)
    if secret:
        return wire_name, HIDDEN
    return wire_name, without_userinfo(value) if value.__class__ is str else value


def without_userinfo(text: str) -> str:
    """The text with user and password of every URL in it replaced."""
    return _USERINFO.sub(f"{HIDDEN}@", text) if "://" in text else text


@cache
def _on_the_wire(name: str) -> tuple[str, bool]:
    """A field's camelCase name, and whether its value is secret by its name."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest), _SECRET.search(name) is not None


def masked(codec: Codec, subtype: Subtype[Any, Any], wire: Mapping[str, Any]) -> dict[str, Any]:
    """The wire form of a payload with the values of secret fields replaced by ``********``.

    Of a payload that cannot be read nobody knows what is secret: every value is replaced.
    """
    try:
        payload = codec.load(subtype, wire)
    except InvalidPayload:
        return dict.fromkeys(wire, HIDDEN)
    shown: dict[str, Any] = _masked(payload, dict(wire))
    return shown


def _masked(value: object, wire: Any) -> Any:
    """Walk a value and its wire form side by side."""
    if attrs.has(type(value)) and isinstance(wire, dict):
        shown = dict(wire)
        for field in payload_form(type(value)).fields:
            if field.name in wire:
                inner = getattr(value, field.attribute.name)
                shown[field.name] = HIDDEN if field.secret else _masked(inner, wire[field.name])
        return shown
    if isinstance(value, (list, tuple)) and isinstance(wire, list):
        return [_masked(item, part) for item, part in zip(value, wire, strict=True)]
    if isinstance(value, Mapping) and isinstance(wire, dict):
        return {name: _masked(value[name], part) for name, part in wire.items()}
    return wire


def _forms(secret: str) -> Iterator[str]:
    """How a secret may stand in a text: as it is, in one line, by lines, or as Python or JSON writes it."""
    written = orjson.dumps(secret.encode("utf-8", "backslashreplace").decode()).decode()
    candidates = (secret, " ".join(secret.split()), *secret.splitlines(), repr(secret)[1:-1], written[1:-1])
    for form in candidates:
        if len(form.strip()) >= _SHORTEST:
            yield form


def _secrets(value: object, *, secret: bool) -> Iterator[str]:
    cls = type(value)
    if attrs.has(cls):
        for field in attrs.fields(cls):
            is_secret = secret or field.repr is False or bool(field.metadata.get("secret"))
            yield from _secrets(getattr(value, field.name), secret=is_secret)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item, secret=secret)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _secrets(item, secret=secret)
    elif secret and value is not None and not isinstance(value, bool):
        yield str(value)

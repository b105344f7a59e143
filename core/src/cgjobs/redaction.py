"""Keeping the values of secret payload fields out of what people see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from cgjobs.codec import HIDDEN
from cgjobs.wire.record import payload_form

_SHORTEST = 3  # a secret of fewer characters cannot be told from other text


def redact(payload: object, text: str) -> str:
    """``text`` with the values of the payload's secret fields replaced by ``********``."""
    forms = {form for secret in _secrets(payload, secret=False) for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def masked(cls: type, wire: Mapping[str, Any]) -> dict[str, Any]:
    """The wire form of a payload with the values of secret fields replaced by ``********``."""
    hidden = {field.name for field in payload_form(cls).fields if field.secret}
    return {name: HIDDEN if name in hidden else value for name, value in wire.items()}


def _forms(secret: str) -> Iterator[str]:
    """How a secret may stand in an error: as it is, in one line, line by line, or as Python writes it."""
    candidates = (secret, " ".join(secret.split()), *secret.splitlines(), repr(secret)[1:-1])
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

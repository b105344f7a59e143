"""The unique key that a subtype's ``unique_by`` makes of a payload."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from cgjobs.options import JobOptions
from cgjobs.subtype import Subtype
from cgjobs.wire.record import payload_form

_MOST = 200  # characters of a key
_DIGITS = 32
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")


def keyed(subtype: Subtype[Any, Any], wire: Mapping[str, Any], options: JobOptions) -> JobOptions:
    """The options with the key that the subtype asks for, unless they have one or refuse it.

    Args:
        subtype: A subtype with ``unique_by``.
        wire: A payload in wire form.
        options: What was said of the job.
    """
    if options.unique is not None:
        return options
    until = options.unique_until
    if until is None and options.throttle is None and options.debounce is None:
        until = subtype.unique_until
    return attrs.evolve(options, unique=unique_key(subtype, wire), unique_until=until)


def unique_key(subtype: Subtype[Any, Any], wire: Mapping[str, Any]) -> str:
    """``notification.email:userId=01J...:<32 hexadecimal digits>``.

    The digits decide: they are of all chosen values. The part before them is for people, and cut; a secret
    field and one that is no single value are not in it.
    """
    fields = [
        field for field in payload_form(subtype.payload).fields if field.attribute.name in subtype.unique_by
    ]
    chosen = {field.name: wire.get(field.name) for field in fields}
    written = orjson.dumps([subtype.name, chosen], option=orjson.OPT_SORT_KEYS)
    digits = hashlib.sha256(written).hexdigest()[:_DIGITS]
    shown = ",".join(
        f"{field.name}={wire[field.name]}"
        for field in fields
        if not field.secret and isinstance(wire.get(field.name), (str, int, float))
    )
    room = _MOST - len(subtype.name) - _DIGITS - 2
    return f"{subtype.name}:{_UNPRINTABLE.sub('?', shown)[:room]}:{digits}"

"""Reading what the broker answers, whoever wrote it."""

from __future__ import annotations

import json
from datetime import timedelta


def text(value: bytes | str) -> str:
    """Bytes of the broker as text; what is no UTF-8 becomes visible escapes."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def number(value: bytes | str) -> int:
    """A whole number of zero or more in 64 bits, 0 for what is none."""
    try:
        return found if 0 <= (found := int(value)) < 2**63 else 0
    except ValueError:
        return 0


def duration(value: bytes | str, unit: timedelta) -> timedelta | None:
    """A whole number of units above zero, None for what is none."""
    try:
        return number(value) * unit or None
    except OverflowError:
        return None


def dependency_ids(value: bytes | str) -> tuple[str, ...]:
    """The ids in RQ's field ``dependency_ids``, none for what is no array of texts."""
    try:
        found = json.loads(value or "[]")
    except (ValueError, RecursionError):
        return ()
    return tuple(item for item in found if isinstance(item, str)) if isinstance(found, list) else ()

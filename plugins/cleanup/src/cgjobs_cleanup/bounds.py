"""Bounds that several payloads have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from cgjobs_cleanup.globs import check_glob


def above_zero(instance: Any, attribute: attrs.Attribute[Any], value: timedelta | None) -> None:
    """Refuse a duration that is zero or negative; None passes."""
    if value is not None and value <= timedelta(0):
        raise ValueError(f"{attribute.alias} is {value}; it must be above zero, such as 30d")


def run_time(instance: Any, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
    """Refuse a ``max_duration`` that is not from 1 s to 24 h."""
    if not timedelta(seconds=1) <= value <= timedelta(hours=24):
        raise ValueError(f"{attribute.alias} is {value}; it must be from 1 s to 24 h")


def relative_globs(
    instance: Any, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]
) -> None:
    """Refuse patterns that can match no path below a root."""
    for glob in value:
        check_glob(glob)


def some_globs(instance: Any, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    """Refuse no pattern at all."""
    if not value:
        raise ValueError(f"{attribute.alias} is empty and matches nothing; '**' matches every file")

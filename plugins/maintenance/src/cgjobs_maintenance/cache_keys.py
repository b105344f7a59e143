"""Which keys of a Redis cache a sweep may look at, decided from text alone: patterns and prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterable

DENIED = ("cgjobs:", "rq:", "bull:")
"""Our own keys, those of RQ's data model and those of BullMQ: never touched, whatever matches them."""

_SPECIAL = re.compile(r"[*?\[\\]")


def literal(pattern: str) -> str:
    """What every key that matches the pattern begins with: the text before its first special character."""
    return _SPECIAL.split(pattern, maxsplit=1)[0]


def denied(prefix: str) -> str | None:
    """The denied prefix with which every key that begins with this one begins, or None."""
    return next((mine for mine in DENIED if prefix.startswith(mine)), None)


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that no cache can allow.

    Raises:
        ValueError: It begins with a special character, so that it has no prefix, or with a denied one.
    """
    start = literal(pattern)
    if not start:
        raise ValueError(
            f"pattern {pattern!r} has no prefix and could match every key; begin it with one of the prefixes "
            "of the cache, such as 'chatgenius:*'"
        )
    if mine := denied(start):
        raise ValueError(
            f"pattern {pattern!r} names keys of the job queue ({mine!r}), which no sweep touches"
        )


def check_prefix(prefix: str) -> None:
    """Refuse a prefix of the configuration that is empty, special or the queue's own.

    Raises:
        ValueError: It is one of these.
    """
    if not prefix or literal(prefix) != prefix:
        raise ValueError(f"prefix {prefix!r} must be plain text, without * ? [ and \\, and not empty")
    if mine := denied(prefix):
        raise ValueError(f"prefix {prefix!r} names keys of the job queue ({mine!r}), which no sweep touches")


def allowed(pattern: str, prefixes: Iterable[str]) -> bool:
    """Whether all keys that match the pattern begin with one of the prefixes."""
    return literal(pattern).startswith(tuple(prefixes))

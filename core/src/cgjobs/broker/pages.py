"""The jobs of one state, a page at a time, as prepared calls. None of them changes anything."""

from __future__ import annotations

from typing import Any

import attrs

from cgjobs import keys
from cgjobs.broker.call import Call
from cgjobs.broker.replies import text
from cgjobs.model import JobState, Priority

REGISTRIES = {
    JobState.ACTIVE: keys.active,
    JobState.DELAYED: keys.delayed,
    JobState.DEFERRED: keys.deferred,
    JobState.COMPLETED: keys.completed,
    JobState.FAILED: keys.failed,
    JobState.CANCELLED: keys.cancelled,
}
"""The key of a queue's jobs in one state; those that wait have a list for each priority instead."""


_HELD = (
    10**10,
    2 * 10**10,
)  # least and largest score of a held job among the deferred ones; held.lua has them


@attrs.frozen
class Page:
    """A part of a queue's jobs in one state.

    Args:
        ids: Their ids, in the order in which they will run, or the newest first when they have ended.
        total: How many there are in all.
    """

    ids: tuple[str, ...]
    total: int


def page(queue: str, state: JobState, offset: int, limit: int) -> Call[Page]:
    """Ids of the jobs of one state, a page at a time."""
    last = offset + limit - 1
    if state is JobState.HELD or state is JobState.DEFERRED:
        return _deferred_page(queue, state, offset, limit)
    if state is JobState.WAITING:
        lists = [keys.waiting(queue, level) for level in Priority]
        commands = (
            *(("LLEN", key) for key in lists),
            *(("LRANGE", key, 0, last) for key in lists),
        )

        def parse(replies: list[Any]) -> Page:
            sizes, ranges = replies[: len(lists)], replies[len(lists) :]
            ids = [text(entry) for entries in ranges for entry in _entries(entries)]
            return Page(tuple(ids[offset : last + 1]), sum(size for size in sizes if isinstance(size, int)))

        return Call(commands, parse)
    key = REGISTRIES[state](queue)
    ended = ("REV",) if state.final else ()

    def parse_registry(replies: list[Any]) -> Page:
        total = replies[0] if isinstance(replies[0], int) else 0
        return Page(tuple(text(entry).partition(":")[0] for entry in _entries(replies[1])), total)

    return Call((("ZCARD", key), ("ZRANGE", key, offset, last, *ended)), parse_registry)


def _deferred_page(queue: str, state: JobState, offset: int, limit: int) -> Call[Page]:
    """Held jobs are told from other deferred ones by their scores."""
    low, high = _HELD if state is JobState.HELD else ("-inf", f"({_HELD[0]}")
    key = keys.deferred(queue)

    def parse(replies: list[Any]) -> Page:
        total = replies[0] if isinstance(replies[0], int) else 0
        return Page(tuple(map(text, _entries(replies[1]))), total)

    entries = ("ZRANGE", key, low, high, "BYSCORE", "LIMIT", offset, limit)
    return Call((("ZCOUNT", key, low, high), entries), parse)


def _entries(reply: Any) -> list[Any]:
    return list(reply) if isinstance(reply, list) else []

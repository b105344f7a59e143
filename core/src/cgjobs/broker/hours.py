"""What is kept of each hour, as prepared calls: counts that workers add to, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
import orjson

from cgjobs import keys
from cgjobs.broker.call import Call, Command, fcall, together
from cgjobs.broker.moves import new_nonce
from cgjobs.broker.replies import number, text

PAGE = 500
"""So many hashes are read in one call."""
JOB_COUNTS = (
    "enqueued",
    "started",
    "completed",
    "failed",
    "retried",
    "crashed",
    "snoozed",
    "limited",
    "cancelled",
    "held",
    "returned",
)
"""The plain counts of a job name in one hour."""


@attrs.frozen
class Kept:
    """Of what something is kept.

    Args:
        queue: Its queue.
        name: Full name of the subtype, ``""`` for the queue as a whole.
        first, last: The hours to look at, since the epoch.
    """

    queue: str
    name: str
    first: int
    last: int


Cell = tuple[int, str, str]
"""Hour since the epoch, queue and name."""


def record(
    adds: Mapping[Cell, Mapping[str, int]], most: Mapping[Cell, Mapping[str, int]], keep: timedelta
) -> Call[int]:
    """Add to what is kept of hours, and raise what is the most so far. Gives the server's time in ms."""
    nonce = new_nonce()
    rows = [(*cell, adds.get(cell, {}), most.get(cell, {})) for cell in {**adds, **most}]
    document = orjson.dumps(rows)

    def command(resent: int) -> Command:
        return fcall("history", nonce, resent, int(keep.total_seconds()), document)

    return Call((command(0),), int, (command(1),))


def kept(first: int, end: int, queue: str | None) -> Call[list[Kept]]:
    """Of what something is kept in the hours from ``first`` to before ``end``."""

    def parse(reply: Any) -> list[Kept]:
        flat = reply if isinstance(reply, list) else []
        found = []
        for member, score in zip(flat[::2], flat[1::2], strict=False):
            its_queue, _, name = text(member).partition("|")
            if queue in (None, its_queue):
                found.append(Kept(its_queue, name, first, min(end - 1, int(float(score)))))
        return found

    return Call((("ZRANGE", keys.HISTORY, first, "+inf", "BYSCORE", "WITHSCORES"),), parse)


def read(cells: Sequence[Cell]) -> Call[list[dict[str, int]]]:
    """The fields of each, none where nothing happened."""
    return together((("HGETALL", keys.history(":".join(map(str, cell)))) for cell in cells), _rows)


def _rows(replies: Iterable[Any]) -> list[dict[str, int]]:
    rows = []
    for reply in replies:
        flat = reply if isinstance(reply, list) else []
        pairs = reply.items() if isinstance(reply, dict) else zip(flat[::2], flat[1::2], strict=False)
        rows.append({text(name): number(value) for name, value in pairs})
    return rows

"""Who waits for whom, as prepared calls. None of them changes anything."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from cgjobs import keys
from cgjobs.broker.call import Call
from cgjobs.broker.replies import dependency_ids, number, text
from cgjobs.model import BatchCounts, Dependency, JobState

_STATES = {"completed": JobState.COMPLETED, "failed": JobState.FAILED}


@attrs.frozen
class Links:
    """What one job waits for and what waits for it.

    Args:
        dependencies: For each job that it depends on what became of it; None: it has not ended.
        dependents: Ids of jobs that wait for it, or waited until they were removed; some when there are many.
        total: How many there are in all.
    """

    dependencies: Mapping[str, Dependency | None]
    dependents: tuple[str, ...]
    total: int


def dependency(end: str) -> Dependency:
    """What became of a dependency, from how it is written: how it ended and, after a space, its result."""
    how, _, blob = end.partition(" ")
    state = _STATES.get(how, JobState.CANCELLED)
    if not blob:
        return Dependency(state)
    try:
        return Dependency(state, orjson.loads(base64.b64decode(blob, validate=True)))
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        return Dependency(state, result_dropped=True)


def links(job_id: str, limit: int = 100) -> Call[Links]:
    """What a job waits for, and up to ``limit`` of those that wait for it."""
    commands = (
        ("HGETALL", keys.dependencies(job_id)),
        ("SCARD", keys.dependents(job_id)),
        ("SRANDMEMBER", keys.dependents(job_id), limit),
    )

    def parse(replies: list[Any]) -> Links:
        ends, total, some = replies
        flat = [*ends.items()] if isinstance(ends, dict) else list(zip(*[iter(ends or ())] * 2, strict=True))
        found = {text(name): dependency(text(end)) if end else None for name, end in flat}
        return Links(found, tuple(sorted(text(item) for item in some or ())), total or 0)

    return Call(commands, parse)


def batch(job_id: str) -> Call[BatchCounts | None]:
    """How far the batch with this callback is, or None when there is no such job."""
    fields = ("dependency_ids", "outstanding", "dependencies_failed")

    def parse(reply: list[bytes | None] | None) -> BatchCounts | None:
        ids, outstanding, failed = reply or (None, None, None)
        if ids is None:
            return None
        total = len(dependency_ids(ids))
        return BatchCounts(total, max(0, total - number(outstanding or b"0")), number(failed or b"0"))

    return Call((("HMGET", keys.job(job_id), *fields),), parse)

"""Finding jobs by what is said of them: a scan in pages, so that there is no index to keep in step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from cgjobs import keys
from cgjobs.broker import reads
from cgjobs.broker.call import Call, together
from cgjobs.broker.pages import REGISTRIES
from cgjobs.broker.replies import text
from cgjobs.model import Job, JobState, Priority

PAGE = 500
"""So many jobs are looked at in one call."""


@attrs.frozen
class Filter:
    """Which jobs are wanted; None: whatever it is.

    Args:
        name: Full name of the subtype.
        tag: One of their tags.
        since: Not created before this time.
    """

    name: str | None = None
    tag: str | None = None
    since: datetime | None = None

    def wants(self, job: Job) -> bool:
        """Whether a job is wanted."""
        return (
            self.name in (None, job.name)
            and (self.tag is None or self.tag in job.tags)
            and (self.since is None or (job.created_at is not None and job.created_at >= self.since))
        )


def places(queue: str, state: JobState) -> list[str]:
    """The keys that list a queue's jobs in one state, in the order in which the jobs run."""
    if state is JobState.WAITING:
        return [keys.waiting(queue, level) for level in Priority]
    return [REGISTRIES.get(state, keys.deferred)(queue)]  # a held job is among the deferred ones


def members(key: str, state: JobState, offset: int) -> Call[list[str]]:
    """Ids of one page of such a key, those that ended last first."""
    last = offset + PAGE - 1
    command: tuple[Any, ...] = ("ZRANGE", key, offset, last, *(("REV",) if state.final else ()))
    if state is JobState.WAITING:
        command = ("LRANGE", key, offset, last)

    def parse(reply: Any) -> list[str]:
        return [text(entry).partition(":")[0] for entry in reply] if isinstance(reply, list) else []

    return Call((command,), parse)


def fitting(ids: Sequence[str], wanted: Filter) -> Call[list[str]]:
    """Those that may be wanted, by the few fields that say so."""

    def parse(replies: list[Any]) -> list[str]:
        return [job_id for job_id, reply in zip(ids, replies, strict=True) if _may_fit(reply, wanted)]

    fields = ("tags", "created_at", "description")
    return together((("HMGET", keys.job(job_id), *fields) for job_id in ids), parse)


def _may_fit(reply: Any, wanted: Filter) -> bool:
    if not isinstance(reply, list):
        return False
    tags, created, description = reply
    if wanted.tag is not None and wanted.tag not in reads.tags(tags):
        return False
    name = text(description or b"").partition("(")[0]
    # What RQ's own client enqueued is described by the function that it calls.
    if wanted.name is not None and name not in (wanted.name, "cgjobs.perform"):
        return False
    if wanted.since is None:
        return True
    at = reads.time(created)
    return at is not None and at >= wanted.since

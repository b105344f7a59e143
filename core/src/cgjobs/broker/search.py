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
from cgjobs.broker.values import STATES
from cgjobs.model import Job, JobState, Priority

PAGE = 500
"""So many jobs are looked at in one call."""


@attrs.frozen
class Filter:
    """Which jobs are wanted; None: whatever it is.

    Args:
        name: Full name of the subtype.
        tag: One of their tags.
        since, until: Created at this time or later, and before that one; both aware.
        ended_since, ended_until: The same of when they ended.
        error: Their last error, such as ``ConnectionError: refused``, contains this, in capitals or not.
        error_type: The class of their last error, such as ``ConnectionError``.
    """

    name: str | None = None
    tag: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ended_since: datetime | None = None
    ended_until: datetime | None = None
    error: str | None = None
    error_type: str | None = None

    def wants(self, job: Job) -> bool:
        """Whether a job is wanted, as far as its hash says: not its error."""
        return (
            self.name in (None, job.name)
            and (self.tag is None or self.tag in job.tags)
            and _within(job.created_at, self.since, self.until)
            and _within(job.ended_at, self.ended_since, self.ended_until)
        )

    def wants_error(self, line: str) -> bool:
        """Whether a job whose last error is this is wanted."""
        kind = line.partition(":")[0]
        return (self.error is None or self.error.casefold() in line.casefold()) and (
            self.error_type is None or self.error_type in (kind, kind.rpartition(".")[2])
        )

    @property
    def of_errors(self) -> bool:
        """Whether it says something of errors."""
        return self.error is not None or self.error_type is not None


def _within(at: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    if since is None and until is None:
        return True
    return at is not None and (since is None or at >= since) and (until is None or at < until)


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


def newest(key: str, state: JobState, offset: int) -> Call[list[str]]:
    """Ids of one page of such a key, those that ended or were added last first.

    Workers take what was added first, so that what they do meanwhile hides nothing from who goes on.
    """
    first, last = offset, offset + PAGE - 1
    if state is JobState.WAITING:
        command: tuple[Any, ...] = ("LRANGE", key, -last - 1, -first - 1)
    else:
        command = ("ZRANGE", key, first, last, "REV")

    def parse(reply: Any) -> list[str]:
        entries = reply if isinstance(reply, list) else []
        entries = entries[::-1] if state is JobState.WAITING else entries
        return [text(entry).partition(":")[0] for entry in entries]

    return Call((command,), parse)


_FIELDS = ("tags", "created_at", "description", "ended_at", "status", "held", "outcome")


@attrs.frozen
class Match:
    """A job that may be wanted.

    Args:
        id: Its id.
        state: Its state.
        unknown: Whether nobody knows what it did.
        named: Whether its subtype is known.
    """

    id: str
    state: JobState | None
    unknown: bool
    named: bool


def fitting(ids: Sequence[str], wanted: Filter) -> Call[list[Match]]:
    """Those that may be wanted, by the few fields that say so, and by their last errors when these matter."""
    commands: list[tuple[Any, ...]] = [("HMGET", keys.job(job_id), *_FIELDS) for job_id in ids]
    if wanted.of_errors:
        commands += [("XREVRANGE", keys.results(job_id), "+", "-", "COUNT", 1) for job_id in ids]

    def parse(replies: list[Any]) -> list[Match]:
        rows, entries = replies[: len(ids)], replies[len(ids) :] or [None] * len(ids)
        found = (_match(*each, wanted) for each in zip(ids, rows, entries, strict=True))
        return [match for match in found if match is not None]

    return together(commands, parse)


def _match(job_id: str, row: Any, entries: Any, wanted: Filter) -> Match | None:
    if not isinstance(row, list):
        return None
    tags, created, description, ended, status, held, outcome = row
    if wanted.tag is not None and wanted.tag not in reads.tags(tags):
        return None
    name = text(description or b"").partition("(")[0]
    # What RQ's own client enqueued is described by the function that it calls.
    named = name != "cgjobs.perform"
    if wanted.name is not None and named and name != wanted.name:
        return None
    if not _within(reads.time(created), wanted.since, wanted.until):
        return None
    if not _within(reads.time(ended), wanted.ended_since, wanted.ended_until):
        return None
    if wanted.of_errors and ((line := reads.last_error(entries)) is None or not wanted.wants_error(line)):
        return None
    state = STATES.get("held" if status == b"deferred" and held else text(status or b""))
    return Match(job_id, state, outcome == b"unknown", named)

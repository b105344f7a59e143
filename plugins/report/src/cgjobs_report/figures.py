"""The numbers of a usage report, counted by the database.

A message counts where and when it was written, also when it was deleted later but not yet purged. Somebody is
active who has written a message.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime

import attrs

from cgjobs import Discard
from cgjobs_report.payloads import Params
from cgjobs_report.period import Span

MOST_BUCKETS = 1_000
"""Bars in one chart."""
STEPS = 5
"""How often `count` reports progress."""


@attrs.frozen
class Totals:
    """Sums over a period.

    Args:
        messages: Messages written.
        active_users: Different people who wrote.
        active_channels: Different channels in which somebody wrote.
        files: Files uploaded.
        file_bytes: Their size.
    """

    messages: int
    active_users: int
    active_channels: int
    files: int = 0
    file_bytes: int = 0


@attrs.frozen
class Bucket:
    """One bar of a chart.

    Args:
        span: Its time.
        messages: Messages written in it.
        active_users: Different people who wrote in it.
    """

    span: Span
    messages: int
    active_users: int


@attrs.frozen
class Rank:
    """One line of a list of the busiest.

    Args:
        name: Of the channel or the person.
        messages: Messages written there, or by this person.
        count: People who wrote in the channel, or channels in which the person wrote.
    """

    name: str
    messages: int
    count: int


@attrs.frozen(kw_only=True)
class Figures:
    """All numbers of one report.

    Args:
        span: The period.
        params: What was asked for.
        totals: Its sums.
        previous: The sums of the period before, or None when not asked for or without data.
        daily_users: How many people wrote on an average day.
        buckets: The period cut by the granularity.
        channels: The busiest channels; direct messages together are one.
        people: Who wrote most.
        warnings: What the reader should know about the numbers.
    """

    span: Span
    params: Params
    totals: Totals
    previous: Totals | None
    daily_users: float
    buckets: tuple[Bucket, ...]
    channels: tuple[Rank, ...]
    people: tuple[Rank, ...]
    warnings: tuple[str, ...]


_CHANNELS = """
    SELECT coalesce(min(CASE c.type WHEN 'dm' THEN 'Direct messages' ELSE c.name END), 'unknown'),
           count(*) AS messages, count(DISTINCT m.user_id)
    FROM messages AS m LEFT JOIN channels AS c ON c.id = m.channel_id
    WHERE m.created_at >= ? AND m.created_at < ?
    GROUP BY CASE c.type WHEN 'dm' THEN 'dm' ELSE m.channel_id END
    ORDER BY messages DESC, 1, min(m.channel_id) LIMIT ?"""
_PEOPLE = """
    SELECT coalesce(u.username, 'unknown'), count(*) AS messages, count(DISTINCT m.channel_id)
    FROM messages AS m LEFT JOIN users AS u ON u.id = m.user_id
    WHERE m.created_at >= ? AND m.created_at < ?
    GROUP BY m.user_id
    ORDER BY messages DESC, 1, m.user_id LIMIT ?"""
# CROSS JOIN keeps SQLite from turning the loops around: for each bucket one look into the index.
_BUCKETS = """
    SELECT b.key, count(*), count(DISTINCT m.user_id)
    FROM json_each(?) AS b CROSS JOIN messages AS m
    WHERE m.created_at >= json_extract(b.value, '$[0]') AND m.created_at < json_extract(b.value, '$[1]')
    GROUP BY b.key"""


def count(db: sqlite3.Connection, span: Span, params: Params, step: Callable[[str], None]) -> Figures:
    """Count everything.

    Args:
        db: ChatGenius' database, inside a transaction.
        span: The period.
        params: What was asked for.
        step: Told what is done next.

    Raises:
        Discard: Times are not ISO 8601 texts, or the granularity is too fine.
    """
    clock, files_clock, warnings = _Clock.of(db, "messages"), _Clock.of(db, "files"), []
    if files_clock is None:
        warnings.append("This database has no table of files; they are not counted.")
    if clock is None:
        raise Discard("the database has no table messages; is it ChatGenius'?")
    step("totals")
    totals = _totals(db, span, clock, files_clock)
    step("the period before")
    previous = _totals(db, span.before(), clock, files_clock) if params.compare else None
    if previous is not None and previous.messages == previous.files == 0:
        previous = None
        if totals.messages:
            warnings.append(f"There is nothing from {span.before().title} to compare with.")
    step("days")
    buckets = _count_buckets(db, itertools.islice(span.buckets(params.granularity), MOST_BUCKETS + 1), clock)
    if len(buckets) > MOST_BUCKETS:
        raise Discard(
            f"{span.title} has over {MOST_BUCKETS} {params.granularity}s; use a coarser granularity"
        )
    days = buckets if params.granularity == "day" else _count_buckets(db, span.buckets("day"), clock)
    step("channels")
    channels = _ranks(db, _CHANNELS, span, clock, params.top)
    step("people")
    people = _ranks(db, _PEOPLE, span, clock, params.top)
    (oldest,) = db.execute("SELECT min(created_at) FROM messages").fetchone()
    if oldest is not None and oldest >= clock.text(span.start):
        warnings.insert(0, f"The oldest message is of {oldest[:10]}: the period may be incomplete.")
    return Figures(
        span=span,
        params=params,
        totals=totals,
        previous=previous,
        daily_users=sum(day.active_users for day in days) / len(days),
        buckets=buckets,
        channels=channels,
        people=people,
        warnings=tuple(warnings),
    )


@attrs.frozen
class _Clock:
    """How a table writes its times. A bound without zone and fraction sorts before all that begin with it."""

    separator: str

    @classmethod
    def of(cls, db: sqlite3.Connection, table: str) -> _Clock | None:
        """The clock of a table, or None when there is no such table."""
        known = "SELECT count(*) FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?"
        if not db.execute(known, (table,)).fetchone()[0]:
            return None
        row = db.execute(f"SELECT created_at FROM {table} WHERE created_at IS NOT NULL LIMIT 1").fetchone()  # noqa: S608
        if row is None:
            return cls("T")
        if not isinstance(row[0], str) or row[0][10:11] not in ("T", " "):
            raise Discard(f"{table}.created_at holds {row[0]!r}; a report needs ISO 8601 texts in UTC")
        return cls(row[0][10])

    def text(self, moment: datetime) -> str:
        return moment.strftime(f"%Y-%m-%d{self.separator}%H:%M:%S")

    def bounds(self, span: Span) -> tuple[str, str]:
        return self.text(span.start), self.text(span.end)


def _totals(db: sqlite3.Connection, span: Span, clock: _Clock, files: _Clock | None) -> Totals:
    written = db.execute(
        """SELECT count(*), count(DISTINCT user_id), count(DISTINCT channel_id)
           FROM messages WHERE created_at >= ? AND created_at < ?""",
        clock.bounds(span),
    ).fetchone()
    if files is None:
        return Totals(*written)
    uploaded = db.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM files WHERE created_at >= ? AND created_at < ?",
        files.bounds(span),
    ).fetchone()
    return Totals(*written, *uploaded)


def _count_buckets(db: sqlite3.Connection, spans: Iterable[Span], clock: _Clock) -> tuple[Bucket, ...]:
    spans = tuple(spans)
    bounds = json.dumps([clock.bounds(span) for span in spans])
    found = {key: counts for key, *counts in db.execute(_BUCKETS, (bounds,))}
    return tuple(Bucket(span, *found.get(key, (0, 0))) for key, span in enumerate(spans))


def _ranks(db: sqlite3.Connection, query: str, span: Span, clock: _Clock, top: int) -> tuple[Rank, ...]:
    return tuple(Rank(*row) for row in db.execute(query, (*clock.bounds(span), top)))

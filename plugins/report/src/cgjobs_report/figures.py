"""The numbers of a usage report, counted by the database.

A message counts where and when it was written, also when it was deleted later but not yet purged. Somebody is
active who has written a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from sqlalchemy import ColumnElement, Connection, String, and_, cast, distinct, func, literal, or_, select

from cgjobs_data import Database, Entity
from cgjobs_report.buckets import Clock
from cgjobs_report.payloads import Params
from cgjobs_report.period import Span, cut

STEPS = 5
"""How often `count` reports progress."""
_UNKNOWN = "unknown"


@attrs.frozen
class Totals:
    """Sums over a period.

    Args:
        messages: Messages written.
        active_users: Different people who wrote.
        active_channels: Different channels in which somebody wrote.
        files: Files uploaded; None when they are not known.
        file_bytes: Their size.
        weekly_users: Different people who wrote in its last 7 days.
        monthly_users: Different people who wrote in the 30 days up to its end.
        daily_users: How many people wrote on an average day.
    """

    messages: int
    active_users: int
    active_channels: int
    files: int | None
    file_bytes: int | None
    weekly_users: int
    monthly_users: int
    daily_users: float

    @property
    def nothing(self) -> bool:
        """Whether nothing happened."""
        return not self.messages and not self.files


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
        buckets: The period cut by the granularity.
        channels: The busiest channels; direct messages together are one.
        people: Who wrote most.
        warnings: What the reader should know about the numbers.
    """

    span: Span
    params: Params
    totals: Totals
    previous: Totals | None
    buckets: tuple[Bucket, ...]
    channels: tuple[Rank, ...]
    people: tuple[Rank, ...]
    warnings: tuple[str, ...]


def count(
    db: Database, connection: Connection, span: Span, params: Params, step: Callable[[str], None]
) -> Figures:
    """Count everything.

    Args:
        db: ChatGenius' database.
        connection: In one snapshot of it.
        span: The period.
        params: What was asked for.
        step: Told what is done next.

    Raises:
        Discard: Tables or columns are missing, times are not what the settings say, or the granularity is too
            fine.
    """
    return _Count(db, connection, span, params).figures(step)


class _Count:
    def __init__(self, db: Database, connection: Connection, span: Span, params: Params) -> None:
        self._connection, self._span, self._params = connection, span, params
        self._messages = db.entity("messages", needs=("channel", "author", "created_at"))
        self._channels = db.entity("channels", needs=("id", "name"))
        self._users = db.entity("users", needs=("id", "name"))
        files = db.find("files", needs=("created_at",))
        self._written = Clock(connection, self._messages, "created_at")
        self._uploaded = None if files is None else Clock(connection, files, "created_at")
        self._size = None if files is None else files.get("size")
        self._counted: dict[tuple[Span, ...], tuple[Bucket, ...]] = {}

    def figures(self, step: Callable[[str], None]) -> Figures:
        span, params = self._span, self._params
        spans = cut(span, params.granularity)
        warnings = []
        if self._uploaded is None:
            warnings.append("This database has no table of files; they are not counted.")
        step("totals")
        totals = self._totals(span)
        step("the period before")
        previous = self._totals(span.before()) if params.compare else None
        if previous is not None and previous.nothing:
            previous = None
            if totals.messages:
                warnings.append(f"There is nothing from {span.before().title} to compare with.")
        step(f"{params.granularity}s")
        buckets = self._buckets(spans)
        step("channels")
        channels = self._channel_ranks()
        step("people")
        people = self._people()
        oldest = self._written.read(self._connection.scalar(select(func.min(self._written.column))))
        if oldest is not None and oldest >= span.start:
            day = oldest.astimezone(span.zone).date()
            warnings.insert(0, f"The oldest message is of {day}: the period may be incomplete.")
        return Figures(
            span=span,
            params=params,
            totals=totals,
            previous=previous,
            buckets=buckets,
            channels=channels,
            people=people,
            warnings=tuple(warnings),
        )

    def _totals(self, span: Span) -> Totals:
        author, channel = self._messages["author"], self._messages["channel"]
        query = select(func.count(), func.count(distinct(author)), func.count(distinct(channel)))
        messages, users, channels = self._connection.execute(query.where(self._written.within(span))).one()
        days = self._buckets(tuple(span.buckets("day")))
        files = size = None
        if self._uploaded is not None:
            total = func.sum(self._size) if self._size is not None else literal(None)
            uploads = select(func.count(), total).where(self._uploaded.within(span))
            files, size = self._connection.execute(uploads).one()
        return Totals(
            messages=messages,
            active_users=users,
            active_channels=channels,
            files=files,
            file_bytes=None if self._size is None else int(size or 0),
            weekly_users=self._people_of_last(span, 7),
            monthly_users=self._people_of_last(span, 30),
            daily_users=sum(day.active_users for day in days) / len(days),
        )

    def _people_of_last(self, span: Span, days: int) -> int:
        people = select(func.count(distinct(self._messages["author"])))
        return self._connection.scalar(people.where(self._written.within(span.last(days)))) or 0

    def _buckets(self, spans: tuple[Span, ...]) -> tuple[Bucket, ...]:
        if spans not in self._counted:  # days are counted for the average, and mostly for the charts too
            self._counted[spans] = self._count_buckets(spans)
        return self._counted[spans]

    def _count_buckets(self, spans: tuple[Span, ...]) -> tuple[Bucket, ...]:
        whole = Span(spans[0].start, spans[-1].end, spans[0].zone)
        # Numbered inside: PostgreSQL takes a CASE with parameters for another one each time.
        rows = (
            select(self._written.bucket(spans).label("bucket"), self._messages["author"].label("author"))
            .where(self._written.within(whole))
            .subquery()
        )
        query = select(rows.c.bucket, func.count(), func.count(distinct(rows.c.author)))
        found = {key: counts for key, *counts in self._connection.execute(query.group_by(rows.c.bucket))}
        return tuple(Bucket(span, *found.get(key, (0, 0))) for key, span in enumerate(spans))

    def _channel_ranks(self) -> tuple[Rank, ...]:
        ranks = self._ranks(
            self._messages["channel"], self._messages["author"], self._channels, self._not_direct()
        )
        direct = self._direct_messages()
        if direct is not None:
            ranks = sorted([*ranks, direct], key=lambda rank: (-rank.messages, rank.name))
        return tuple(ranks[: self._params.top])

    def _people(self) -> tuple[Rank, ...]:
        return tuple(self._ranks(self._messages["author"], self._messages["channel"], self._users))

    def _ranks(
        self, by: Any, counted: Any, names: Entity, only: ColumnElement[bool] | None = None
    ) -> list[Rank]:
        """The most active, counted before their names are looked up."""
        totals = (
            select(
                by.label("id"), func.count().label("messages"), func.count(distinct(counted)).label("others")
            )
            .where(self._written.within(self._span))
            .group_by(by)
            .subquery()
        )
        name = func.coalesce(cast(names["name"], String), _UNKNOWN)
        query = select(name, totals.c.messages, totals.c.others).select_from(
            totals.outerjoin(names.table, names["id"] == totals.c.id)
        )
        if only is not None:
            query = query.where(only)
        query = query.order_by(totals.c.messages.desc(), name, totals.c.id).limit(self._params.top)
        return [Rank(*row) for row in self._connection.execute(query)]

    def _not_direct(self) -> ColumnElement[bool] | None:
        kind = self._channels.get("type")
        return None if kind is None else or_(kind.is_(None), kind != "dm")

    def _direct_messages(self) -> Rank | None:
        kind = self._channels.get("type")
        if kind is None:
            return None
        query = (
            select(func.count(), func.count(distinct(self._messages["author"])))
            .join_from(
                self._messages.table,
                self._channels.table,
                and_(self._channels["id"] == self._messages["channel"], kind == "dm"),
            )
            .where(self._written.within(self._span))
        )
        messages, people = self._connection.execute(query).one()
        return Rank("Direct messages", messages, people) if messages else None

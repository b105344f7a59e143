"""The audit log of a period: who did what when, counted by the database, each entry told.

The entries are read once, in the snapshot in which they are counted, and are kept in a file until they are
written. Their digest says whether two reports are of the same entries.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import ColumnElement, Connection, and_, distinct, func, literal, or_, select

from cgjobs import Discard
from cgjobs_data import Database
from cgjobs_report.buckets import Clock
from cgjobs_report.document import Chart, Column, KeyFigure, Report, Row, Series, Table, label
from cgjobs_report.payloads import Audit
from cgjobs_report.period import Span, cut
from cgjobs_report.spool import Spool
from cgjobs_report.workbook import MOST_ROWS

STEPS = 3
"""How often `audit_report` reports progress."""
_ADDRESS = re.compile(r"([^@\s])[^@\s]*@([^@\s]+)")
_DIGEST = (
    "The digest is the SHA-256 of all entries in order, each a JSON array of id, time (UTC), actor, action, "
    "target, detail and hash, with a line break after it."
)
_NOTHING = ("No entries", "The audit log has no entries of this period that match.")


def audit_report(
    db: Database,
    connection: Connection,
    span: Span,
    payload: Audit,
    spool: Spool,
    step: Callable[[str], None],
    asked_at: datetime,
    generated_at: datetime,
) -> Report:
    """Count and read the log.

    Args:
        db: ChatGenius' database.
        connection: In one snapshot of it.
        span: The period.
        payload: What was asked for.
        spool: Where the entries are kept.
        step: Told what is done next.
        asked_at, generated_at: Moments that the report tells.

    Raises:
        Discard: There is no audit log, it lacks columns, or it has more entries than XLSX has rows.
    """
    log = _Log(db, connection, payload)
    step("entries")
    now = log.totals(span)
    if "xlsx" in payload.formats and now.entries >= MOST_ROWS:
        raise Discard(
            f"{now.entries:,} entries do not fit into XLSX, which has {MOST_ROWS:,} rows: ask for csv or "
            "json, for a shorter period, or for less by actors and actions"
        )
    before = log.totals(span.before()) if payload.params.compare else None
    if before is not None and not before.entries:
        before = None
    step("actors and actions")
    spans = cut(span, payload.params.granularity)
    counts = log.buckets(spans)
    tables = (log.ranking(span, "action", "actor"), log.ranking(span, "actor", "action"))
    step("reading entries")
    digest = log.read(span, spool)
    oldest = log.oldest()
    granularity = payload.params.granularity
    return Report(
        kind="audit",
        subject="Audit log of ChatGenius",
        span=span,
        timezone=payload.params.timezone,
        before=span.before() if before is not None else None,
        granularity=granularity,
        asked_at=asked_at,
        generated_at=generated_at,
        figures=(
            _figure("entries", "Entries", now, before),
            _figure("actors", "Actors", now, before),
            _figure("actions", "Kinds of action", now, before),
            _figure("targets", "Targets", now, before),
        ),
        charts=(
            Chart(
                key="entries",
                title=f"Entries per {granularity}",
                buckets=spans,
                granularity=granularity,
                series=(Series(name="Entries", values=tuple(counts)),),
            ),
        ),
        tables=(*tables, _per_bucket(spans, counts, granularity), _entries(spool, payload)),
        facts=_facts(payload, span, oldest, digest),
        warnings=_warnings(span, oldest),
        notes=(_DIGEST,) if payload.include_pii else (_DIGEST, _MASKED),
        nothing=None if now.entries else _NOTHING,
    )


_MASKED = "Names, addresses and details are left out; actors and targets that are addresses are masked."


@attrs.frozen
class _Totals:
    entries: int
    actors: int
    actions: int
    targets: int


class _Log:
    def __init__(self, db: Database, connection: Connection, payload: Audit) -> None:
        self._connection, self._payload = connection, payload
        self._log = db.entity("audit", needs=("at", "actor", "action"))
        self._clock = Clock(connection, self._log, "at")
        self._users = db.find("users", needs=("id",)) if payload.include_pii else None

    def totals(self, span: Span) -> _Totals:
        target = self._log.get("target")
        query = select(
            func.count(),
            func.count(distinct(self._log["actor"])),
            func.count(distinct(self._log["action"])),
            func.count(distinct(func.nullif(target, ""))) if target is not None else literal(0),
        ).where(self._chosen(span))
        return _Totals(*self._connection.execute(query).one())

    def buckets(self, spans: tuple[Span, ...]) -> list[int]:
        whole = Span(spans[0].start, spans[-1].end, spans[0].zone)
        rows = select(self._clock.bucket(spans).label("bucket")).where(self._chosen(whole)).subquery()
        query = select(rows.c.bucket, func.count()).group_by(rows.c.bucket)
        found = {row[0]: row[1] for row in self._connection.execute(query)}
        return [found.get(at, 0) for at in range(len(spans))]

    def ranking(self, span: Span, by: str, counted: str) -> Table:
        one, other = self._log[by], self._log[counted]
        query = (
            select(one, func.count().label("entries"), func.count(distinct(other)))
            .where(self._chosen(span))
            .group_by(one)
            .order_by(func.count().desc(), one)
            .limit(self._payload.params.top)
        )
        rows = tuple((self._masked(name), *counts) for name, *counts in self._connection.execute(query))
        columns = (
            Column(key="name", title=by.capitalize()),
            Column(key="entries", title="Entries", unit="count"),
            Column(key=f"{counted}s", title=f"{counted.capitalize()}s", unit="count"),
        )
        title = "By action" if by == "action" else "By actor"
        return Table(key=by, title=title, columns=columns, rows=rows, bar="entries")

    def read(self, span: Span, spool: Spool) -> str:
        """Keep the entries, oldest first; gives their digest."""
        columns = {
            name: self._log.get(name) for name in ("id", "at", "actor", "action", "target", "detail", "hash")
        }
        present = {name: column.label(name) for name, column in columns.items() if column is not None}
        query = (
            select(*present.values()).where(self._chosen(span)).order_by(self._clock.column, *_last(columns))
        )
        if self._users is not None:
            mine = [
                self._users[name].label(f"user_{name}") for name in ("name", "email") if name in self._users
            ]
            query = query.add_columns(*mine).select_from(
                self._log.table.outerjoin(self._users.table, self._users["id"] == self._log["actor"])
            )
        digest = hashlib.sha256()
        for row in self._connection.execute(query.execution_options(yield_per=1_000)).mappings():
            at = self._clock.read(row["at"])
            cells = [None if name not in present else _text(row[name]) for name in columns]
            cells[1] = None if at is None else at.isoformat(timespec="microseconds")
            digest.update(json.dumps(cells, ensure_ascii=False).encode() + b"\n")
            spool.add(self._told(cells, at.astimezone(span.zone) if at else None, row))
        return digest.hexdigest()

    def oldest(self) -> datetime | None:
        return self._clock.read(self._connection.scalar(select(func.min(self._clock.column))))

    def _told(self, cells: list[str | None], at: datetime | None, row: Any) -> Row:
        number, _, actor, action, target, detail, seal = cells
        if not self._payload.include_pii:
            return at, self._masked(actor), action, self._masked(target), seal, number
        name, email = row.get("user_name"), row.get("user_email")
        return at, actor, action, target, seal, number, name, email, detail

    def _masked(self, text: str | None) -> str | None:
        if text is None or self._payload.include_pii:
            return text
        return _ADDRESS.sub(r"\1***@\2", str(text))

    def _chosen(self, span: Span) -> ColumnElement[bool]:
        conditions = [self._clock.within(span)]
        for name in ("actor", "action", "target"):
            wanted: tuple[str, ...] = getattr(self._payload, f"{name}s")
            if not wanted:
                continue
            if name not in self._log:
                raise Discard(f"the audit log has no column {name!r} to choose by: leave out {name}s")
            exact = [text for text in wanted if not text.endswith("*")]
            begun = [text[:-1] for text in wanted if text.endswith("*")]
            column = self._log[name]
            conditions.append(
                or_(column.in_(exact), *(column.startswith(text, autoescape=True) for text in begun))
            )
        return and_(*conditions)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return (
        json.dumps(value, ensure_ascii=False, sort_keys=True)
        if isinstance(value, (dict, list))
        else str(value)
    )


def _last(columns: dict[str, Any]) -> list[Any]:
    return [columns["id"]] if columns["id"] is not None else []


def _figure(key: str, name: str, now: _Totals, before: _Totals | None) -> KeyFigure:
    earlier = None if before is None else getattr(before, key)
    return KeyFigure(key=key, name=name, value=getattr(now, key), before=earlier)


def _per_bucket(spans: tuple[Span, ...], counts: list[int], granularity: Any) -> Table:
    columns = (
        Column(key="name", title=granularity.capitalize()),
        Column(key="start", title="Start", unit="time", shown=False),
        Column(key="entries", title="Entries", unit="count"),
    )
    rows = tuple(
        (label(span, granularity), span.local_start, count) for span, count in zip(spans, counts, strict=True)
    )
    return Table(key=granularity, title="Over time", columns=columns, rows=rows, most=0)


def _entries(spool: Spool, payload: Audit) -> Table:
    columns = [
        Column(key="at", title="At", unit="time"),
        Column(key="actor", title="Actor"),
        Column(key="action", title="Action"),
        Column(key="target", title="Target"),
        Column(key="hash", title="Hash", shown=False),
        Column(key="id", title="Id", shown=False),
    ]
    if payload.include_pii:
        columns += [
            Column(key="actor_name", title="Name"),
            Column(key="actor_email", title="Address", shown=False),
            Column(key="detail", title="Detail"),
        ]
    return Table(key="entry", title="Entries", columns=tuple(columns), rows=spool, wide=True, most=200)


def _facts(payload: Audit, span: Span, oldest: datetime | None, digest: str) -> tuple[tuple[str, str], ...]:
    since = "it is empty" if oldest is None else f"{oldest.astimezone(span.zone):%Y-%m-%d %H:%M}"
    facts = [("The log goes back to", since), ("Digest of the entries", digest)]
    for name in ("actors", "actions", "targets"):
        wanted = getattr(payload, name)
        if wanted:
            facts.append((f"Only {name}", ", ".join(wanted)))
    return tuple(facts)


def _warnings(span: Span, oldest: datetime | None) -> tuple[str, ...]:
    if oldest is None or oldest <= span.start:
        return ()
    return (
        f"The log goes back to {oldest.astimezone(span.zone).date()} only: the period may be incomplete.",
    )

"""One batch of messages, one transaction: lock, look again, delete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import attrs
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Delete,
    Select,
    Update,
    any_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from cgjobs_cleanup.eligibility import Rules
from cgjobs_cleanup.foreign_keys import Dependent
from cgjobs_cleanup.payloads import Mode
from cgjobs_cleanup.purge_state import Cursor
from cgjobs_data import Database, sqlstate

_REFUSALS = ("22", "23", "P0")
"""What a trigger or a rule says to the change of a row: data, constraint, RAISE."""

_PLAN = text(
    "SELECT set_config('plan_cache_mode', :mode, true), set_config('synchronous_commit', 'off', true)"
)
"""No lock waits for the disk to have the commit: what a crashing server forgets, a later pass finds."""


class Moved(Exception):
    """What was eligible when it was locked is not any more: roll back, look again."""


class Archive(Protocol):
    """Takes what is about to be deleted."""

    def write(self, key: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Write rows, each with its table's name; when it returns, they are safe. The key is the first id."""


@attrs.frozen
class Outcome:
    """What one batch did.

    Args:
        cursor: The last message looked at; None when there was none.
        taken: Messages locked.
        deleted: How many went.
        refused: How many the database refused to change.
        cascaded: Rows that went with them, by table.
        samples: A few of their ids.
    """

    cursor: Cursor | None
    taken: int = 0
    deleted: int = 0
    refused: int = 0
    cascaded: dict[str, int] = attrs.field(factory=dict)
    samples: tuple[str, ...] = ()


class Batch:
    """The statements of one job's batches, built once.

    Args:
        db: The database.
        rules: Which messages may go.
        dependents: What goes with them.
        mode: Whether rows are deleted, or marked.
        archive: Where they are written before.
    """

    def __init__(
        self,
        db: Database,
        rules: Rules,
        dependents: Sequence[Dependent],
        mode: Mode,
        archive: Archive | None,
    ) -> None:
        self._db, self._rules, self._mode, self._archive = db, rules, mode, archive
        self._dependents = () if mode == "soft" else tuple(dependents)
        messages = rules.messages
        self._table, self._id, self._created = messages.table, messages["id"], messages["created_at"]
        self._ids = self._among(self._id)
        self._first = self._select(None)
        self._later = self._select("after")

    def run(self, connection: Connection, size: int, cursor: Cursor | None, *, accept: bool) -> Outcome:
        """Delete the next messages after the cursor, within the transaction that is open.

        Args:
            connection: In a transaction; the caller commits it.
            size: At most so many.
            cursor: Where the batch before ended.
            accept: Go on when fewer go than were locked, which a trigger may want.

        Raises:
            Moved: Fewer could be deleted than were locked; nothing may be committed.
        """
        if self._db.dialect == "mysql":  # before the first statement that begins a transaction
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self._plan(connection, "force_custom_plan")  # one for any cursor is none for this one
        statement = self._first if cursor is None else self._later
        values = {"size": size} | ({} if cursor is None else {"at": cursor[0], "after": cursor[1]})
        rows = connection.execute(statement, values).all()
        self._plan(connection, "auto")  # or each row's foreign keys would be planned anew
        if not rows:
            return Outcome(None)
        ids = [row[0] for row in rows]
        cascaded = {d.name: self._count(connection, d, ids) for d in self._dependents if d.cascades}
        if self._archive is not None:
            self._archive.write(str(ids[0]), self._contents(connection, ids))
        for dependent in self._dependents:
            if not dependent.cascades:
                gone = connection.execute(delete(dependent.table).where(self._of(dependent)), {"ids": ids})
                cascaded[dependent.name] = gone.rowcount
        if self._mode == "soft":
            deleted, refused = self._mark(connection, ids)
        else:
            deleted, refused = self._delete(connection, ids), 0
        if deleted + refused < len(ids) and not accept:
            raise Moved
        return Outcome(
            cursor=(rows[-1][1], rows[-1][0]),
            taken=len(ids),
            deleted=deleted,
            refused=len(ids) - deleted,
            cascaded=cascaded,
            samples=tuple(str(ident) for ident in ids[:5]),
        )

    def _plan(self, connection: Connection, mode: str) -> None:
        if self._db.dialect == "postgresql":
            connection.execute(_PLAN, {"mode": mode})

    def _select(self, after: str | None) -> Select[Any]:
        conditions = [self._rules.eligible, self._rules.leaf]
        if after is not None:
            at = bindparam("at", type_=self._created.type)
            # Not one comparison of rows: MySQL cannot use an index for that.
            conditions += [
                self._created >= at,
                or_(self._created > at, self._id > bindparam("after", type_=self._id.type)),
            ]
        return (
            select(self._id, self._created)
            .where(*conditions)
            .order_by(self._created, self._id)
            .limit(bindparam("size"))
            .with_for_update(of=self._table, skip_locked=True)
        )

    def _delete(self, connection: Connection, ids: list[Any]) -> int:
        if self._db.dialect == "mysql":
            return self._delete_in_two(connection, ids)
        statement: Delete = delete(self._table).where(self._ids, self._rules.eligible, self._rules.leaf)
        return connection.execute(statement, {"ids": ids}).rowcount

    def _delete_in_two(self, connection: Connection, ids: list[Any]) -> int:
        """MySQL deletes from no table that a subquery of the same statement reads (1093)."""
        look = select(self._id).where(self._ids, self._rules.eligible, self._rules.leaf)
        still = [row[0] for row in connection.execute(look, {"ids": ids})]
        if not still:
            return 0
        statement = delete(self._table).where(self._ids)  # a further condition may choose a worse index
        return connection.execute(statement, {"ids": still}).rowcount

    def _mark(self, connection: Connection, ids: list[Any]) -> tuple[int, int]:
        """Set ``deleted_at``; what the database refuses is halved until the single row is found."""
        messages = self._rules.messages
        column = messages["deleted_at"].name
        now = messages.written(datetime.now(UTC))
        statement: Update = update(self._table).where(self._ids, self._rules.old).values({column: now})
        try:
            with connection.begin_nested():
                return connection.execute(statement, {"ids": ids}).rowcount, 0
        except DBAPIError as error:
            if not sqlstate(error).startswith(_REFUSALS):
                raise
            if len(ids) == 1:
                return 0, 1
            half = len(ids) // 2
            low, high = self._mark(connection, ids[:half]), self._mark(connection, ids[half:])
            return low[0] + high[0], low[1] + high[1]

    def _count(self, connection: Connection, dependent: Dependent, ids: list[Any]) -> int:
        counting = select(func.count()).select_from(dependent.table).where(self._of(dependent))
        return int(connection.execute(counting, {"ids": ids}).scalar_one())

    def _contents(self, connection: Connection, ids: list[Any]) -> list[tuple[str, dict[str, Any]]]:
        whole = select(self._table).where(self._ids).order_by(self._created, self._id)
        found = [(self._table.name, dict(row)) for row in connection.execute(whole, {"ids": ids}).mappings()]
        for dependent in self._dependents:
            rows: Select[Any] = (
                select(literal_column("*")).select_from(dependent.table).where(self._of(dependent))
            )
            found += [
                (dependent.name, dict(row)) for row in connection.execute(rows, {"ids": ids}).mappings()
            ]
        return found

    def _of(self, dependent: Dependent) -> ColumnElement[bool]:
        column = dependent.table.c[dependent.column]
        return self._among(column)

    def _among(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        """Whether a column has one of the ids; on PostgreSQL as one array, which is twice as fast."""
        if self._db.dialect == "postgresql":
            return column == any_(bindparam("ids", type_=ARRAY(self._id.type)))
        return column.in_(bindparam("ids", expanding=True, type_=self._id.type))

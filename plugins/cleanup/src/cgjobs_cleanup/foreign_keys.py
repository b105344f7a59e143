"""Who refers to the messages, and whether that lets them go at a bearable pace."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import attrs
from sqlalchemy import Connection, TableClause, column, inspect, table

from cgjobs import Discard
from cgjobs_data import Database, Entity


@attrs.frozen(eq=False)
class Dependent:
    """A table with rows that belong to messages and go with them.

    Args:
        name: The table.
        column: The column that has the message's id.
        schema: Where it is; None for the connection's own schema.
        cascades: Whether the database deletes its rows by itself.
    """

    name: str
    column: str
    schema: str | None
    cascades: bool
    table: TableClause = attrs.field(init=False)
    """The table for SQL; only the column is known of it."""

    @table.default
    def _table(self) -> TableClause:
        return table(self.name, column(self.column), schema=self.schema)


@attrs.frozen(eq=False)
class References:
    """What the preflight found.

    Args:
        dependents: Rows of these tables go with their message.
        advice: What could be better, for people.
    """

    dependents: tuple[Dependent, ...]
    advice: tuple[str, ...]


def references(
    db: Database, connection: Connection, messages: Entity, *, deletable: Collection[str], large: bool
) -> References:
    """Look at all foreign keys that refer to the messages, and at the indexes that deleting needs.

    Args:
        db: The database.
        connection: A connection to it.
        messages: The table.
        deletable: Tables that may be deleted from although their foreign key does not cascade.
        large: Whether there are so many messages that a missing index on ``created_at`` is no bagatelle.

    Raises:
        Discard: ``missing_fk_index``, ``missing_index`` or ``blocking_fk``: all at once, each with what mends
            it.
    """
    look = inspect(connection)
    schema, name, ident = messages.table.schema, messages.table.name, messages["id"].name
    dependents, faults, advice = [], [], []
    thread, created = messages.get("thread"), messages["created_at"].name
    refers = set()
    for (_, other), keys in sorted(look.get_multi_foreign_keys(schema=schema).items()):
        for key in keys:
            if key["referred_table"] != name or key["referred_schema"] not in (None, schema):
                continue
            columns = key["constrained_columns"]
            rule = _on_delete(db, connection, other, key)
            if not _indexed(look, other, columns[0], schema):
                faults.append(
                    f"missing_fk_index: {other}.{columns[0]} refers to {name} without an index, which makes "
                    f"deleting about a thousand times slower; {_create_index(db, other, columns[0])}"
                )
            if other == name:
                refers.add(columns[0])
            elif len(columns) != 1 or key["referred_columns"] != [ident] or rule.startswith("SET"):
                pass  # the database does what is to be done
            elif rule == "CASCADE" or other in deletable:
                dependents.append(Dependent(other, columns[0], schema, cascades=rule == "CASCADE"))
            else:
                faults.append(
                    f"blocking_fk: {other}.{columns[0]} refers to {name} and does not let its rows go "
                    f"({rule}); make it ON DELETE CASCADE, or add {other!r} to "
                    "[plugins.cleanup.messages] delete_from"
                )
    if thread is not None and thread.name not in refers:
        advice.append(
            f"{name}.{thread.name} is no foreign key: a reply written while its root is deleted may stay"
        )
        if not _indexed(look, name, thread.name, schema):
            faults.append(f"missing_index: {_create_index(db, name, thread.name)}")
    if not _indexed(look, name, created, schema):
        said = f"missing_index: {_create_index(db, name, created)}"
        (faults if large else advice).append(said)
    if faults:
        raise Discard("; ".join(faults))
    return References(tuple(dependents), tuple(advice))


def _on_delete(db: Database, connection: Connection, name: str, key: Any) -> str:
    """What the database does with a row when the row goes that it refers to."""
    if db.dialect == "sqlite":  # SQLAlchemy does not read the rule of a key that stands beside its column
        quoted = db.engine.dialect.identifier_preparer.quote_identifier(name)
        for found in connection.exec_driver_sql(f"PRAGMA foreign_key_list({quoted})").mappings():
            if found["from"] == key["constrained_columns"][0] and found["table"] == key["referred_table"]:
                return str(found["on_delete"])
    return str(key["options"].get("ondelete") or "NO ACTION").upper()


def _indexed(look: Any, name: str, wanted: str, schema: str | None) -> bool:
    """Whether an index begins with this column and has all rows, or all with a value in it."""
    for index in look.get_indexes(name, schema=schema):
        if (index.get("column_names") or [None])[0] == wanted:
            options = index.get("dialect_options", {})
            where = options.get("postgresql_where") or options.get("sqlite_where")
            if where is None or _only_not_null(str(where), wanted):
                return True
    constraints = [look.get_pk_constraint(name, schema=schema)["constrained_columns"]]
    constraints += [each["column_names"] for each in look.get_unique_constraints(name, schema=schema)]
    return any(columns[:1] == [wanted] for columns in constraints)


def _only_not_null(where: str, wanted: str) -> bool:
    return re.fullmatch(rf"\W*{re.escape(wanted)}\W+IS\s+NOT\s+NULL\W*", where, re.IGNORECASE) is not None


def _create_index(db: Database, name: str, wanted: str) -> str:
    quote = db.engine.dialect.identifier_preparer.quote
    concurrently = "CONCURRENTLY " if db.dialect == "postgresql" else ""
    return f"CREATE INDEX {concurrently}{quote(f'idx_{name}_{wanted}')} ON {quote(name)} ({quote(wanted)});"

"""Whether an account has a privilege on a table: it is asked, nothing is done."""

from __future__ import annotations

import os
from typing import Any, Literal

from sqlalchemy import Connection, Table, delete, false, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from cgjobs_data.diagnosis import sqlstate

Privilege = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]


def may(connection: Connection, table: Table, privilege: Privilege) -> bool:
    """Ask the database.

    Args:
        connection: In no transaction that is read-only: MySQL would refuse to explain a DELETE.
        table: The table.
        privilege: Which.
    """
    match connection.dialect.name:
        case "postgresql":
            name = connection.dialect.identifier_preparer.format_table(table)
            return bool(connection.scalar(select(func.has_table_privilege(name, privilege))))
        case "mysql":
            return _may_explain(connection, table, privilege)
        case _:  # SQLite opens a file that is write-protected for reading, whatever one asked for
            file = connection.execute(text("PRAGMA database_list")).one().file
            return privilege == "SELECT" or os.access(file, os.W_OK)


def _may_explain(connection: Connection, table: Table, privilege: Privilege) -> bool:
    """MySQL asks for the privilege when a statement is explained, and does not carry it out."""
    column = next(iter(table.columns))
    statements: dict[str, Any] = {
        "SELECT": select(column).where(false()),
        "INSERT": insert(table).from_select([column.name], select(column).where(false())),
        "UPDATE": update(table).values({column: column}).where(false()),
        "DELETE": delete(table).where(false()),
    }
    try:
        connection.exec_driver_sql(f"EXPLAIN {statements[privilege].compile(dialect=connection.dialect)}")
    except DBAPIError as error:
        if sqlstate(error) == "42501":
            return False
        raise
    return True

"""Makes the companion tables that a database lacks, and says with which statements."""

from __future__ import annotations

import attrs
from sqlalchemy import Connection, MetaData, Table, inspect
from sqlalchemy.schema import CreateIndex, CreateTable

from cgjobs_data import companion
from cgjobs_data.database import Database


@attrs.frozen
class Plan:
    """What `install` will do.

    Args:
        missing: Names of the tables that it will make.
        present: Names of those that are there.
        statements: The DDL, in the dialect of the database.
    """

    missing: tuple[str, ...]
    present: tuple[str, ...]
    statements: tuple[str, ...]


def plan(database: Database) -> Plan:
    """Look at what is there. Changes nothing."""
    with database.reading("data-init") as connection:
        metadata, missing = _missing(database, connection)
        statements = []
        for table in missing:
            statements.append(str(CreateTable(table).compile(dialect=connection.dialect)).strip())
            statements += [
                str(CreateIndex(index).compile(dialect=connection.dialect)).strip()
                for index in sorted(table.indexes, key=lambda index: str(index.name))
            ]
    names = [table.name for table in missing]
    present = [table.name for table in metadata.sorted_tables if table.name not in names]
    return Plan(tuple(names), tuple(present), tuple(statements))


def install(database: Database) -> Plan:
    """Make the missing tables; those that are there are left alone. Running it again does nothing.

    On PostgreSQL and SQLite all of them are made or none; MySQL commits each.
    """
    made = plan(database)
    with database.writing("data-init") as connection:
        _, missing = _missing(database, connection)
        for table in missing:
            table.create(connection)
    return made


def _missing(database: Database, connection: Connection) -> tuple[MetaData, list[Table]]:
    metadata = companion.metadata(database.settings.companion.prefix, database.schema)
    known = inspect(connection)
    missing = [t for t in metadata.sorted_tables if not known.has_table(t.name, schema=database.schema)]
    return metadata, missing

"""The tables as they are in the database, found by what they are called in the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Column, Engine, MetaData, Table
from sqlalchemy.exc import NoSuchTableError

from cgjobs import Discard
from cgjobs_data import companion
from cgjobs_data.entity import Entity
from cgjobs_data.layout import COLUMNS, TableNames
from cgjobs_data.settings import Settings

_CHECK = "`cgjobs data check` shows what else is missing"


class MissingTable(Discard):
    """The database has no such table, or the preset none."""


class Reflection:
    """What one look at the database found; each table is looked for when it is wanted first.

    Args:
        settings: What the tables are called.
        engine: Where they are.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, self._engine = settings, engine
        self._dialect = engine.dialect.name
        self._schema = settings.schema or None
        self._metadata = MetaData(schema=self._schema)
        self._tables: dict[str, Table | None] = {}
        self._wanted: MetaData | None = None

    def entity(self, name: str, needs: Collection[str]) -> Entity:
        """A logical table.

        Raises:
            Discard: It, or a column that is needed or was named in the settings, is missing.
        """
        if name not in COLUMNS:
            raise KeyError(f"{name!r} is no table; there are {', '.join(COLUMNS)}")
        if unknown := sorted(set(needs) - set(COLUMNS[name])):
            raise KeyError(f"{name} has no {', '.join(unknown)}; there are {', '.join(COLUMNS[name])}")
        names, written = self._settings.names(name)
        if names is None:
            raise MissingTable(
                f"preset {self._settings.schema_version!r} has no table of {name}; where there is one, name "
                f"it in [plugins.data.tables.{name}] table"
            )
        table = self._table(names.table)
        if table is None:
            raise self._no_table(name, names)
        columns = {
            logical: table.columns[physical]
            for logical, physical in names.columns.items()
            if physical in table.columns
        }
        conditions = self._settings.kept(name)
        faults = [
            f"no column {names.columns[column]!r} for {column!r}"
            if column in names.columns
            else f"nothing is named for {column!r}"
            for column in (*needs, *(written - set(needs)))
            if column not in columns
        ]
        faults += [
            f"no column {condition.column!r} for the condition {label!r}"
            for label, condition in conditions.items()
            if condition.column not in table.columns
        ]
        if faults:
            raise Discard(
                f"table {table.fullname!r} ({name}) has {'; '.join(faults)}; it has "
                f"{', '.join(table.columns.keys())}; correct [plugins.data.tables.{name}]; {_CHECK}"
            )
        zoned = self._dialect == "postgresql"
        if name == "audit" and "table" not in self._settings.tables.get(name, {}):
            time = self._settings.tables.get(name, {}).get("time") or companion.time_format(self._dialect)
        else:
            time = names.time
        return Entity(name, table, columns, time, zoned, conditions)  # type: ignore[arg-type]

    def companion(self, name: str) -> Entity:
        """A companion table.

        Raises:
            Discard: It, or one of its columns, is missing.
        """
        if name not in companion.NAMES:
            raise KeyError(f"{name!r} is no companion table; there are {', '.join(companion.NAMES)}")
        prefix = self._settings.companion.prefix
        if self._wanted is None:  # made once: it takes longer than the statements that need it
            self._wanted = companion.metadata(prefix, self._schema)
        wanted = self._wanted
        model = next(table for table in wanted.tables.values() if table.name == f"{prefix}{name}")
        table = self._table(model.name)
        if table is None:
            raise MissingTable(f"the table {model.name!r} is missing; `cgjobs data init` creates it")
        if missing := [column for column in model.columns.keys() if column not in table.columns]:  # noqa: SIM118
            raise Discard(
                f"the table {model.name!r} lacks {', '.join(missing)}: it is of another release, or somebody "
                "else's; rename it, or choose another [plugins.data.companion] prefix"
            )
        columns: Mapping[str, Column[Any]] = {
            column: table.columns[column]
            for column in model.columns.keys()  # noqa: SIM118 - iterating gives columns
        }
        return Entity(
            name, table, columns, companion.time_format(self._dialect), self._dialect == "postgresql"
        )

    def _table(self, name: str) -> Table | None:
        if name not in self._tables:
            with self._engine.connect() as connection:
                try:
                    self._tables[name] = Table(
                        name, self._metadata, autoload_with=connection, resolve_fks=False
                    )
                except NoSuchTableError:
                    self._tables[name] = None
        return self._tables[name]

    def _no_table(self, name: str, names: TableNames) -> MissingTable:
        where = f" in schema {self._schema!r}" if self._schema else ""
        if name == "audit" and "table" not in self._settings.tables.get(name, {}):
            return MissingTable(
                f"there is no audit log: the table {names.table!r} is missing; `cgjobs data init` creates "
                "it, or name ChatGenius' own in [plugins.data.tables.audit] table"
            )
        return MissingTable(
            f"there is no table {names.table!r} ({name}){where}; correct [plugins.data] preset, schema or "
            f"tables.{name}.table; {_CHECK}"
        )

"""One logical table in a real database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import JSON, Column, ColumnElement, Table, false, func, or_, type_coerce

from cgjobs_data import moment
from cgjobs_data.layout import TimeFormat
from cgjobs_data.settings import Condition


@attrs.frozen(eq=False)
class Entity:
    """A reflected table with the logical names of its columns.

    Args:
        name: Its logical name.
        table: The table, as it was found in the database.
        columns: Its columns by logical name.
        time: How it holds times.
        zoned: Whether the database has a type for times with a zone.
        conditions: For which rows `kept` is true, by name.
    """

    name: str
    table: Table
    columns: Mapping[str, Column[Any]]
    time: TimeFormat = "timestamptz"
    zoned: bool = True
    conditions: Mapping[str, Condition] = attrs.field(factory=dict)

    def __getitem__(self, name: str) -> Column[Any]:
        """The column of this logical name; raises KeyError when the table lacks it."""
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def get(self, name: str) -> Column[Any] | None:
        """The column of this logical name, or None when the table lacks it."""
        return self.columns.get(name)

    def written(self, at: datetime) -> Any:
        """What its columns hold for a moment (aware); to compare with and to write."""
        return moment.write(at, self.time, zoned=self.zoned)

    def read(self, value: Any) -> datetime | None:
        """The moment that a value of its columns means, aware and in UTC; None for NULL."""
        return moment.read(value, self.time)

    @property
    def kept(self) -> ColumnElement[bool]:
        """True for rows that the settings keep (``keep_where``); false for all when nothing is configured."""
        return or_(false(), *(func.coalesce(self._holds(each), false()) for each in self.conditions.values()))

    def _holds(self, condition: Condition) -> ColumnElement[bool]:
        column: ColumnElement[Any] = self.table.columns[condition.column]
        if condition.json_field:
            json = column if isinstance(column.type, JSON) else type_coerce(column, JSON())
            column = json[condition.json_field].as_string()
        value = condition.value
        match condition.op:
            case "null":
                return column.is_(None)
            case "not_null":
                return column.is_not(None)
            case "in":
                return column.in_(value)  # type: ignore[arg-type]  # a list, as Condition checked
            case "=":
                return column == value
            case "<>":
                return column != value
            case "<":
                return column < value
            case "<=":
                return column <= value
            case ">":
                return column > value
            case ">=":
                return column >= value

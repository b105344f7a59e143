"""Rows cut into buckets by the database: one pass over them, whatever the zone, in every dialect."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, literal_column, select

from cgjobs import Discard
from cgjobs_data import Entity
from cgjobs_report.period import Span


class Clock:
    """What a column of times holds, so that moments can be compared with it.

    Texts are compared by their beginning: a bound without fraction and zone sorts before all that begin with
    it. The separator of date and time is that of the first row.

    Raises:
        Discard: The column holds something else than the settings say.
    """

    def __init__(self, connection: Connection, entity: Entity, column: str) -> None:
        self._entity, self.column = entity, entity[column]
        sample = connection.scalar(select(self.column).where(self.column.is_not(None)).limit(1))
        self._separator = "T"
        if entity.time == "iso8601" and sample is not None:
            if not isinstance(sample, str) or sample[4:5] != "-" or sample[10:11] not in ("T", " "):
                name = f"{entity.table.name}.{self.column.name}"
                raise Discard(
                    f"{name} holds {sample!r}, which is no ISO 8601 text; correct time in "
                    f"[plugins.data.tables.{entity.name}]"
                )
            self._separator = sample[10]

    def bound(self, moment: datetime) -> Any:
        """What the column holds for a moment."""
        if self._entity.time == "iso8601":
            return moment.strftime(f"%Y-%m-%d{self._separator}%H:%M:%S")
        return self._entity.written(moment)

    def within(self, span: Span) -> ColumnElement[bool]:
        """Whether a row is in a span."""
        return and_(self.column >= self.bound(span.start), self.column < self.bound(span.end))

    def bucket(self, spans: Sequence[Span]) -> ColumnElement[int]:
        """The number of the span in which a row is; the spans follow each other.

        A tree of CASEs: ten comparisons for a thousand spans. No dialect's own function is needed.
        """

        def choose(first: int, last: int) -> ColumnElement[int]:
            if last - first == 1:
                return literal_column(str(first))
            middle = (first + last) // 2
            earlier = self.column < self.bound(spans[middle].start)
            return case((earlier, choose(first, middle)), else_=choose(middle, last))

        return choose(0, len(spans))

    def read(self, value: Any) -> datetime | None:
        """The moment that a value means (UTC); None for NULL."""
        return self._entity.read(value)

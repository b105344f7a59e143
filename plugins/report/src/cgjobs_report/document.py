"""What every report is made of: key figures, charts and tables, whatever they are about. Frozen values.

The writers of the formats know only this, so that a further report gets all formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from datetime import datetime
from typing import Literal, Protocol

import attrs

from cgjobs_report.payloads import Granularity
from cgjobs_report.period import Span

Unit = Literal["count", "decimal", "bytes", "seconds", "share"]
"""How a number is shown. ``share`` is from 0 to 1."""
Cell = str | int | float | datetime | None
Row = tuple[Cell, ...]


@attrs.frozen(kw_only=True)
class KeyFigure:
    """A number that stands for the whole period.

    Args:
        key: Its name in data, in snake case.
        name: Its name for people.
        value: The number; None when it cannot be said.
        before: That of the period before; None when there is none to compare with.
        unit: What it counts.
        better: Which change is welcome; None: neither is.
        note: What it means, in a few words.
    """

    key: str
    name: str
    value: float | None
    before: float | None = None
    unit: Unit = "count"
    better: Literal["more", "less"] | None = None
    note: str = ""


@attrs.frozen(kw_only=True)
class Series:
    """The values of one thing, one for each bucket of its chart.

    Args:
        name: For the legend.
        values: None where there is none.
        look: ``main``, ``second`` and ``third`` are colours; ``bad`` is a warning one.
    """

    name: str
    values: tuple[float | None, ...]
    look: Literal["main", "second", "third", "bad"] = "main"


@attrs.frozen(kw_only=True)
class Chart:
    """Numbers over time.

    Args:
        key: Its name in file names.
        title: What it shows.
        kind: ``bars`` stack the series; ``lines`` draws each.
        unit: What the values count.
        buckets: The time that each value stands for.
        granularity: How those were cut.
        series: At least one.
    """

    key: str
    title: str
    kind: Literal["bars", "lines"] = "bars"
    unit: Unit = "count"
    buckets: tuple[Span, ...]
    granularity: Granularity
    series: tuple[Series, ...]

    @property
    def quiet(self) -> tuple[bool, ...]:
        """Which buckets are weekends, where that can be told."""
        fine = self.granularity in ("hour", "day")
        return tuple(fine and bucket.local_start.weekday() >= 5 for bucket in self.buckets)

    @property
    def labels(self) -> tuple[str, ...]:
        """Each bucket's name: ``Mon 5 Oct``, with the hour or as a month where that is what it is."""
        return tuple(label(bucket, self.granularity) for bucket in self.buckets)


@attrs.frozen(kw_only=True)
class Column:
    """One column of a table.

    Args:
        key: Its name in data, in snake case.
        title: Its name for people.
        unit: What it counts; ``text`` and ``time`` for what is no number.
        shown: Whether it is on the page and on paper; data have it anyway.
    """

    key: str
    title: str
    unit: Unit | Literal["text", "time"] = "text"
    shown: bool = True


class Rows(Sized, Iterable[Row], Protocol):
    """Rows that can be read more than once: a tuple, or a file of them."""


@attrs.frozen(kw_only=True)
class Table:
    """Rows under named columns.

    Args:
        key: Its name in data, in snake case, singular.
        title: What it lists.
        columns: Its columns.
        rows: Its rows, a cell for each column.
        bar: Key of the column of which a bar is drawn under the first cell; None: none is.
        wide: Whether it needs the width of the page.
        nothing: What the page says when there are no rows; empty: the table is left out.
        most: So many rows are on the page and on paper; data have all. 0: it is in data alone.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: Rows
    bar: str | None = None
    wide: bool = False
    nothing: str = ""
    most: int = 100


@attrs.frozen(kw_only=True)
class Report:
    """One report, ready to be written in any format.

    Args:
        kind: ``usage``, ``audit`` or ``performance``.
        subject: What it is about: ``Usage of ChatGenius``.
        span: Its period.
        timezone: In which days begin and end.
        before: The period that it is compared with; None when it is not.
        granularity: How its charts are cut.
        asked_at: When it was asked for (aware).
        generated_at: When its numbers were read (aware).
        figures: Its key figures.
        charts: Its charts.
        tables: Its tables.
        facts: What else there is to say, by its name: filters, digests.
        warnings: What the reader should know about the numbers.
        notes: How the numbers are meant.
        nothing: Why there is nothing in it: a short sentence and a longer one. None: there is something.
    """

    kind: str
    subject: str
    span: Span
    timezone: str
    before: Span | None = None
    granularity: Granularity = "day"
    asked_at: datetime
    generated_at: datetime
    figures: tuple[KeyFigure, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    nothing: tuple[str, str] | None = None

    @property
    def title(self) -> str:
        """For people: ``Usage of ChatGenius, October 2026``."""
        return f"{self.subject}, {self.span.title}"


def label(bucket: Span, granularity: Granularity) -> str:
    """A bucket's name: ``Mon 5 Oct``, with the hour or as a month where that is what it is."""
    at = bucket.local_start
    day = f"{at:%a} {at.day} {at:%b}"
    return {
        "hour": f"{day} {at:%H:%M}",
        "day": day,
        "week": f"Week of {at.day} {at:%b}",
        "month": f"{at:%b %Y}",
    }[granularity]

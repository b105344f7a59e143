"""A report as one HTML page that needs nothing else: no script, no image, no font, no network."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from cgjobs_report import units, vega
from cgjobs_report.bars import Bars, bars
from cgjobs_report.document import Cell, Chart, Column, Report, Row, Table

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@attrs.frozen(kw_only=True)
class Drawing:
    """A chart on the page: drawn by Vega-Lite for wide and narrow screens, or as plain bars."""

    title: str
    said: str
    wide: Markup | None = None
    narrow: Markup | None = None
    bars: Bars | None = None
    unit: str = "count"


def write(report: Report, path: Path) -> None:
    """Write the page; with the extra ``charts`` its charts have axes and legends."""
    page = environment().get_template("report.html.j2")
    path.write_text(page.render(context(report)), "utf-8", newline="\n")


def context(report: Report) -> dict[str, Any]:
    """What the template is given."""
    return {
        "report": report,
        "charts": [] if report.nothing else [_drawing(chart) for chart in report.charts],
        "narrow": [table for table in tables(report) if not table.wide],
        "wide": [table for table in tables(report) if table.wide],
        "looks": vega.COLORS,
    }


def tables(report: Report) -> list[Table]:
    """The tables that people are shown."""
    some = () if report.nothing else report.tables
    return [table for table in some if table.most and (len(table.rows) or table.nothing)]


def heading(report: Report) -> str:
    """What stands below the title: zone, comparison, when the numbers were read."""
    parts = [f"Days begin and end in the zone {report.timezone}"]
    if report.before is not None:
        parts.append(f"changes are against {report.before.title}")
    return "; ".join(parts) + "."


def ending(report: Report) -> str:
    """What stands below everything: how the numbers are meant, and when they were read."""
    at = f"Generated on {report.generated_at:%Y-%m-%d at %H:%M} UTC"
    if report.asked_at.replace(second=0) != report.generated_at.replace(second=0):
        at += f", requested on {report.asked_at:%Y-%m-%d at %H:%M} UTC"
    return " ".join([at + ".", *report.notes])


def first_rows(table: Table) -> list[Row]:
    """The rows that people are shown."""
    return list(itertools.islice(table.rows, table.most))


def left_out(table: Table) -> str:
    """How many rows they are not shown; empty when there are none."""
    more = len(table.rows) - table.most
    return f"{more:,} more rows are in the CSV, XLSX and JSON formats of this report." if more > 0 else ""


def share_of_first(table: Table, row: Row) -> float | None:
    """How long the bar under a row's first cell is, from 0 to 100; None: there is none."""
    if table.bar is None:
        return None
    at = [column.key for column in table.columns].index(table.bar)
    most = max((_number(other[at]) for other in itertools.islice(table.rows, table.most)), default=0)
    return round(_number(row[at]) / most * 100, 1) if most else 0


def visible(table: Table, row: Row) -> list[tuple[Column, Cell]]:
    """A row's cells that people are shown, each with its column."""
    return [(column, cell) for column, cell in zip(table.columns, row, strict=True) if column.shown]


def _number(cell: Cell) -> float:
    return cell if isinstance(cell, (int, float)) else 0


def _drawing(chart: Chart) -> Drawing:
    from markupsafe import Markup

    plain = bars(chart)
    said = f"{chart.title}: at most {units.shown(plain.peak, chart.unit)}, {plain.peak_at}"
    if not vega.available():
        return Drawing(title=chart.title, said=said, bars=plain, unit=chart.unit)

    def drawn(width: int, height: int) -> Markup:
        return Markup(vega.themed(vega.svg(chart, width=width, height=height)))  # noqa: S704 - ours, see vega

    narrow = drawn(290, 150) if len(chart.buckets) <= vega.MOST_BARS else None  # others can be scrolled
    return Drawing(title=chart.title, said=said, wide=drawn(800, 180), narrow=narrow)


@functools.cache
def environment() -> Environment:
    """The templates; what they are given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # .1 s, only for those who need it

    environment = Environment(
        loader=PackageLoader("cgjobs_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shown=units.shown, change=units.change, mood=units.mood)
    environment.globals.update(
        heading=heading,
        ending=ending,
        first_rows=first_rows,
        left_out=left_out,
        share_of_first=share_of_first,
        visible=visible,
    )
    return environment

"""A report as an XLSX workbook: a sheet with the key figures and charts, then one for each table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgjobs import Discard
from cgjobs_report import page, units, vega
from cgjobs_report.document import Cell, Chart, Report, Table

if TYPE_CHECKING:
    import xlsxwriter
    from xlsxwriter.worksheet import Worksheet

MOST_ROWS = 1_048_576
"""Rows of a sheet, its head included: the format has no more."""
_LONGEST = 32_767  # characters of a cell
_FORMATS = {
    "count": "#,##0",
    "decimal": "#,##0.0",
    "bytes": "#,##0",
    "seconds": "#,##0.000",
    "share": "0.0%",
    "time": "yyyy-mm-dd hh:mm:ss",
    "text": "@",
}
_UNITS = {"bytes": " (bytes)", "seconds": " (seconds)"}
# What XML cannot hold; Excel would refuse the file.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def write(report: Report, path: Path) -> None:
    """Write the workbook. Texts stay texts: none becomes a formula, a number or a link.

    Raises:
        Discard: A table has more rows than a sheet.
    """
    import xlsxwriter  # .1 s, only for those who need it

    refuse_too_many(report)
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "remove_timezone": True,
        "default_date_format": _FORMATS["time"],
    }
    with xlsxwriter.Workbook(str(path), options) as book:
        book.set_properties(
            {
                "title": report.title,
                "author": "ChatGenius",
                "comments": page.heading(report),
                "created": report.generated_at.replace(tzinfo=None),
            }
        )
        sheets = _Sheets(book)
        summary = book.add_worksheet("Summary")
        names = {table.key: _sheet_name(table.title) for table in report.tables}
        for table in report.tables:
            sheets.table(table, names[table.key])
        sheets.summary(report, summary, names)


def refuse_too_many(report: Report) -> None:
    """Raises `Discard` when a table does not fit into a sheet, before anything is written."""
    for table in report.tables:
        if len(table.rows) >= MOST_ROWS:
            raise Discard(
                f"{len(table.rows):,} rows of {table.title!r} do not fit into XLSX, which has {MOST_ROWS:,}: "
                "ask for csv or json, for a shorter period, or for less by filters"
            )


class _Sheets:
    def __init__(self, book: xlsxwriter.Workbook) -> None:
        self._book = book
        base = {"font_name": "Calibri", "font_size": 11, "valign": "top"}
        self._cells = {unit: book.add_format({**base, "num_format": code}) for unit, code in _FORMATS.items()}
        head = {**base, "bold": True, "font_color": "#ffffff", "bg_color": vega.COLORS["main"]}
        self._head = book.add_format({**head, "valign": "vcenter"})
        self._head_number = book.add_format({**head, "valign": "vcenter", "align": "right"})
        self._title = book.add_format({**base, "bold": True, "font_size": 20, "font_color": "#1c2333"})
        self._subject = book.add_format({**base, "bold": True, "font_color": vega.COLORS["main"]})
        self._soft = book.add_format({**base, "font_color": vega.COLORS["text"]})
        self._wrapped = book.add_format({**base, "font_color": vega.COLORS["text"], "text_wrap": True})
        self._warning = book.add_format({**base, "bg_color": "#fff6dd", "text_wrap": True})
        self._good = book.add_format({**base, "font_color": "#187a42", "align": "right"})
        self._bad = book.add_format({**base, "font_color": "#b3372f", "align": "right"})
        self._neither = book.add_format({**base, "font_color": vega.COLORS["text"], "align": "right"})

    def table(self, table: Table, name: str) -> None:
        sheet = self._book.add_worksheet(name)
        sheet.freeze_panes(1, 0)
        sheet.repeat_rows(0)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.set_footer("&L&A&RPage &P of &N")
        for at, column in enumerate(table.columns):
            wide = {"text": 34, "time": 20}.get(column.unit, 16)
            sheet.set_column(at, at, max(wide, len(column.title) + 4))
        sheet.set_row(0, 20)
        for at, column in enumerate(table.columns):
            style = self._head if column.unit in ("text", "time") else self._head_number
            sheet.write_string(0, at, column.title + _UNITS.get(column.unit, ""), style)
        last = 0
        for last, row in enumerate(table.rows, start=1):
            for at, cell in enumerate(row):
                self._write(sheet, last, at, cell, table.columns[at].unit)
        if last:
            sheet.autofilter(0, 0, last, len(table.columns) - 1)
        else:
            sheet.write_string(1, 0, table.nothing or "There is nothing to list.", self._soft)

    def summary(self, report: Report, sheet: Worksheet, names: dict[str, str]) -> None:
        sheet.hide_gridlines(2)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.set_column(0, 0, 34)
        sheet.set_column(1, 3, 18)
        sheet.set_column(4, 4, 40)
        sheet.write_string(0, 0, report.subject, self._subject)
        sheet.set_row(1, 30)
        sheet.write_string(1, 0, report.span.title, self._title)
        sheet.write_string(2, 0, page.heading(report), self._soft)
        at = 4
        for warning in report.warnings:
            sheet.merge_range(at, 0, at, 4, warning, self._warning)
            at += 1
        at += bool(report.warnings)
        for name, said in report.facts:
            sheet.write_string(at, 0, name, self._soft)
            sheet.write_string(at, 1, _text(said), self._cells["text"])
            at += 1
        at += bool(report.facts)
        if report.nothing:
            sheet.write_string(at, 0, " ".join(report.nothing), self._cells["text"])
            at += 2
        elif report.figures:
            at = self._figures(report, sheet, at)
            at = self._charts(report, sheet, names, at)
        for note in page.ending(report).split(". "):
            sheet.write_string(at, 0, note.removesuffix(".") + ".", self._soft)
            at += 1

    def _figures(self, report: Report, sheet: Worksheet, at: int) -> int:
        before = report.before.title if report.before else "Before"
        sheet.set_row(at, 20)
        for column, title in enumerate(("Figure", report.span.title, before, "Change", "")):
            style = self._head_number if 1 <= column <= 3 else self._head
            sheet.write_string(at, column, title, style)
        for figure in report.figures:
            at += 1
            unit = _UNITS.get(figure.unit, "")
            sheet.write_string(at, 0, figure.name + unit, self._cells["text"])
            self._write(sheet, at, 1, figure.value, figure.unit)
            self._write(sheet, at, 2, figure.before, figure.unit)
            style = {"good": self._good, "bad": self._bad}.get(units.mood(figure), self._neither)
            sheet.write_string(at, 3, units.change(figure), style)
            sheet.write_string(at, 4, figure.note, self._soft)
        return at + 2

    def _charts(self, report: Report, sheet: Worksheet, names: dict[str, str], at: int) -> int:
        """Charts of the workbook's own, of the columns from which the table of the same key was written."""
        for chart in report.charts:
            table = next((table for table in report.tables if table.key == report.granularity), None)
            if table is None:
                return at
            drawn = self._chart(chart, table, names[table.key])
            if drawn is None:
                continue
            sheet.insert_chart(at, 0, drawn, {"description": chart.title})
            at += 15
        return at

    def _chart(self, chart: Chart, table: Table, sheet: str) -> Any:
        titles = [column.title for column in table.columns]
        of = chart.title.partition(" ")[0]  # Wait p95 is the series p95 of the chart of waits
        columns = {title.removeprefix(f"{of} "): at for at, title in enumerate(titles)}
        series = [one for one in chart.series if one.name in columns]
        if not series or not len(table.rows):
            return None
        kind = {"type": "line"} if chart.kind == "lines" else {"type": "column", "subtype": "stacked"}
        drawn = self._book.add_chart(kind)
        last = len(table.rows)
        for one in series:
            color = {"color": vega.COLORS[one.look]}
            drawn.add_series(
                {
                    "name": one.name,
                    "categories": [sheet, 1, 0, last, 0],
                    "values": [sheet, 1, columns[one.name], last, columns[one.name]],
                    "fill": color,
                    "line": {**color, "width": 1.5} if chart.kind == "lines" else {"none": True},
                    "gap": 35,
                }
            )
        grid = {"visible": True, "line": {"color": vega.COLORS["line"]}}
        font = {"color": vega.COLORS["text"], "size": 9}
        drawn.set_title({"name": chart.title, "name_font": {"size": 12, "bold": True}, "overlay": False})
        drawn.set_x_axis({"num_font": font, "text_axis": True, "line": {"color": vega.COLORS["line"]}})
        drawn.set_y_axis({"num_font": font, "major_gridlines": grid, "line": {"none": True}, "min": 0})
        drawn.set_legend({"none": True} if len(series) == 1 else {"position": "bottom"})
        drawn.set_chartarea({"border": {"none": True}})
        drawn.set_size({"width": 940, "height": 280})
        return drawn

    def _write(self, sheet: Worksheet, row: int, column: int, cell: Cell, unit: str) -> None:
        style = self._cells[unit]
        if cell is None:
            sheet.write_blank(row, column, None, style)
        elif isinstance(cell, str):
            sheet.write_string(row, column, _text(cell), style)
        elif isinstance(cell, (int, float)):
            sheet.write_number(row, column, cell, style)
        else:
            sheet.write_datetime(row, column, cell, style)


def _text(value: str) -> str:
    return _UNWRITABLE.sub("\ufffd", value)[:_LONGEST]


def _sheet_name(title: str) -> str:
    """A sheet's name has at most 31 characters and none of ``[]:*?/\\'``."""
    return re.sub(r"[\[\]:*?/\\']", " ", title)[:31]

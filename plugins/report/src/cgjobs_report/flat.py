"""A report as CSV and as JSON: for spreadsheets that know nothing better, and for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from cgjobs_report.document import Cell, Report, Table
from cgjobs_report.period import Span

# "CSV Injection", owasp.org; the last four are the full-width forms of the first four.
_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")


def write_csv(report: Report, path: Path) -> None:
    """Write one table (RFC 4180), a section for each kind of row. No cell is taken for a formula."""
    columns = dict.fromkeys(("section", "start", "end", "name"))
    columns |= dict.fromkeys(figure.key for figure in report.figures)
    columns |= dict.fromkeys(column.key for table in report.tables for column in table.columns)
    # With the mark at the beginning, as spreadsheets guess another encoding without.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(columns), restval="")
        writer.writeheader()
        for row in _sections(report):
            writer.writerow({column: inert(_plain(value)) for column, value in row.items()})


def write_json(report: Report, path: Path) -> None:
    """Write the same as one object, row by row."""
    head = {
        "report": report.kind,
        "title": report.title,
        "period": _period(report.span),
        "timezone": report.timezone,
        "granularity": report.granularity,
        "comparedWith": None if report.before is None else _period(report.before),
        "requestedAt": report.asked_at.isoformat(timespec="seconds"),
        "generatedAt": report.generated_at.isoformat(timespec="seconds"),
        "warnings": list(report.warnings),
        "notes": list(report.notes),
        "facts": dict(report.facts),
        "figures": {
            _camel(figure.key): {"value": figure.value, "before": figure.before, "unit": figure.unit}
            for figure in report.figures
        },
    }
    with path.open("w", encoding="utf-8") as file:
        file.write(_dumped(head, indent=1)[:-2] + ',\n "tables": {')
        for number, table in enumerate(report.tables):
            file.write(f"{',' if number else ''}\n  {_dumped(_camel(table.key))}: [")
            for position, row in enumerate(_rows(table)):
                cells = {_camel(key): _plain(value) for key, value in row.items()}
                file.write(f"{',' if position else ''}\n   {_dumped(cells)}")
            file.write("\n  ]")
        file.write("\n }\n}\n")


def inert(value: Any) -> Any:
    """Keep a text from being a formula, by an apostrophe before what starts one."""
    risky = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if risky else value


def _sections(report: Report) -> Iterator[dict[str, Cell]]:
    yield {
        "section": "period",
        **_times(report.span),
        "name": report.span.title,
        **{figure.key: figure.value for figure in report.figures},
    }
    if report.before is not None:
        yield {
            "section": "previous",
            **_times(report.before),
            "name": report.before.title,
            **{figure.key: figure.before for figure in report.figures},
        }
    for table in report.tables:
        for row in _rows(table):
            yield {"section": table.key, **row}


def _rows(table: Table) -> Iterator[dict[str, Cell]]:
    keys = [column.key for column in table.columns]
    return (dict(zip(keys, row, strict=True)) for row in table.rows)


def _plain(value: Cell) -> Cell:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds" if not value.microsecond else "milliseconds")
    return round(value, 6) if isinstance(value, float) else value


def _times(span: Span) -> dict[str, Cell]:
    return {"start": span.local_start, "end": span.local_end}


def _period(span: Span) -> dict[str, Any]:
    return {"from": _plain(span.local_start), "to": _plain(span.local_end), "title": span.title}


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _dumped(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)

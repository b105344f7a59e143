"""A report as a PDF, set by Typst: the extra ``pdf``.

All data enter as one JSON text and are only ever shown: what is written in a name is never a command.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from cgjobs import Discard
from cgjobs_report import bars, page, units, vega
from cgjobs_report.document import Chart, Report, Table

_TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
ADVICE = "pip install 'chatgenius-jobs-report[pdf]'"


def available() -> bool:
    """Whether the extra ``pdf`` is installed."""
    return importlib.util.find_spec("typst") is not None


def write(report: Report, path: Path) -> None:
    """Write the PDF; with the extra ``charts`` its charts have more to them.

    Raises:
        Discard: The extra ``pdf`` is not installed.
    """
    refuse_when_missing()
    import typst

    path.write_bytes(
        typst.compile(
            _TEMPLATE.read_bytes(),
            format="pdf",
            sys_inputs={"report": json.dumps(document(report), ensure_ascii=False)},
            timestamp=report.generated_at.replace(microsecond=0),  # it refuses fractions
        )
    )


def refuse_when_missing() -> None:
    """Raises `Discard` when the extra ``pdf`` is not installed, before any work is done."""
    if not available():
        raise Discard(f"PDF needs Typst: {ADVICE}")


def document(report: Report) -> dict[str, Any]:
    """What the template is given: texts alone."""
    charts = [] if report.nothing else [_chart(chart) for chart in report.charts]
    return {
        "subject": report.subject,
        "title": report.span.title,
        "heading": page.heading(report),
        "zone": report.timezone,
        "generated": f"{report.generated_at:%Y-%m-%d %H:%M} UTC",
        "ending": page.ending(report),
        "warnings": list(report.warnings),
        "facts": [list(fact) for fact in report.facts],
        "nothing": report.nothing,
        "figures": [
            {
                "name": figure.name,
                "value": units.shown(figure.value, figure.unit),
                "change": units.change(figure),
                "mood": units.mood(figure),
                "note": figure.note,
            }
            for figure in report.figures
        ],
        "charts": charts,
        "tables": [_table(table) for table in page.tables(report)],
    }


def _chart(chart: Chart) -> dict[str, str]:
    plain = bars.bars(chart)
    drawn = vega.svg(chart, width=760, height=142) if vega.available() else bars.svg(chart, vega.COLORS)
    return {
        "title": chart.title,
        "svg": drawn,
        "said": f"{chart.title}: at most {units.shown(plain.peak, chart.unit)}, {plain.peak_at}",
    }


def _table(table: Table) -> dict[str, Any]:
    rows = page.first_rows(table)
    return {
        "title": table.title,
        "wide": table.wide,
        "nothing": table.nothing,
        "note": page.left_out(table),
        "columns": [
            {"title": column.title, "kind": column.unit if column.unit in ("text", "time") else "number"}
            for column in table.columns
            if column.shown
        ],
        "rows": [
            [units.shown(cell, column.unit) for column, cell in page.visible(table, row)] for row in rows
        ],
        "bars": None if table.bar is None else [page.share_of_first(table, row) for row in rows],
    }

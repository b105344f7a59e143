"""Which format is written by which module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cgjobs_report import flat, page, paper, workbook
from cgjobs_report.document import Report
from cgjobs_report.payloads import Format

WRITERS: Mapping[Format, Callable[[Report, Path], None]] = {
    "html": page.write,
    "csv": flat.write_csv,
    "xlsx": workbook.write,
    "pdf": paper.write,
    "json": flat.write_json,
}
"""Each format's writer: a report, to a new file."""
CONTENT_TYPES: Mapping[Format, str] = {
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
    "json": "application/json",
}
"""What each is told to be where it is stored."""

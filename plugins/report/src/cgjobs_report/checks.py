"""What ``cgjobs doctor`` says about the reports: nothing is counted, written or sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from cgjobs import Discard, Finding, Retry
from cgjobs_data import Database, open_store
from cgjobs_data import Settings as DataSettings
from cgjobs_report import paper, vega
from cgjobs_report.settings import Settings

_TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "report.usage": {
        "messages": ("channel", "author", "created_at"),
        "channels": ("id", "name"),
        "users": ("id", "name"),
    },
    "report.audit": {"audit": ("at", "actor", "action")},
    "report.performance": {},
}
_PATIENCE = timedelta(seconds=2)
_CHARTS = "pip install 'chatgenius-jobs-report[charts]' draws charts with axes and legends"


def check(settings: Callable[[type[Any]], Any]) -> Iterator[Finding]:
    """For each report: its tables, the store, the extras."""
    mine, data = settings(Settings), settings(DataSettings)
    stored = _store(data, mine.store)
    extras = _extras(mine)
    missing = _tables(data)
    for name in _TABLES:
        faults = [*missing[name], *stored, *(extras if name == "report.usage" else ())]
        if faults:
            yield from (Finding(name, level, said, advice) for level, said, advice in faults)
        else:
            yield Finding(name, "ok", f"ready; files go into the store {mine.store!r}")
    if not vega.available():
        yield Finding("report.charts", "warn", "charts are plain bars", _CHARTS)
    if not paper.available() and "pdf" not in mine.formats:
        yield Finding("report.pdf", "warn", "no report can be a PDF", paper.ADVICE)


_Faults = list[tuple[Any, str, str]]


def _tables(data: DataSettings) -> dict[str, _Faults]:
    found: dict[str, _Faults] = {name: [] for name in _TABLES}
    try:
        with Database(data, patience=_PATIENCE) as database:
            for name, tables in _TABLES.items():
                for table, columns in tables.items():
                    try:
                        database.entity(table, needs=columns)
                    except Discard as error:
                        found[name].append(("bad", error.reason, ""))
    except (Discard, Retry) as error:
        level = "bad" if data.url else "warn"  # nobody said that there is one
        for name in ("report.usage", "report.audit"):
            found[name].append((level, error.reason, ""))
    return found


def _store(data: DataSettings, name: str) -> _Faults:
    try:
        store = open_store(data, name)
    except Discard as error:
        return [("bad", error.reason, "")]
    directory = store.settings.directory
    if directory is None:
        return []  # what a bucket allows is seen when something is put
    standing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    if standing.is_dir() and os.access(standing, os.W_OK | os.X_OK):
        return []
    advice = f"give the worker's account the right to write, or correct [plugins.data.stores.{name}]"
    return [("bad", f"the store {name!r} cannot be written: {standing}", advice)]


def _extras(mine: Settings) -> _Faults:
    if "pdf" in mine.formats and not paper.available():
        return [("bad", "formats has pdf, and Typst is not installed", paper.ADVICE)]
    return []

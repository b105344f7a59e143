"""What ``cgjobs doctor`` says about the reports."""

import sqlite3
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgjobs import Finding
from cgjobs_data import Settings as DataSettings
from cgjobs_data import StoreSettings
from cgjobs_report import Settings, cgjobs_checks, paper, vega


def findings(data: DataSettings, mine: Settings | None = None) -> dict[str, Finding]:
    given: dict[type[Any], Any] = {Settings: mine or Settings(), DataSettings: data}
    return {finding.check: finding for finding in cgjobs_checks(given.__getitem__)}


def test_everything_is_ready(demo_database: DataSettings) -> None:
    found = findings(demo_database)

    assert set(found) == {"report.usage", "report.audit", "report.performance"}
    assert {finding.level for finding in found.values()} == {"ok"}


@pytest.mark.parametrize(("url", "level"), [("", "warn"), ("sqlite:////nowhere/chat.db", "bad")])
def test_a_missing_database_concerns_the_reports_that_read_it(tmp_path: Path, url: str, level: str) -> None:
    found = findings(DataSettings(directory=tmp_path, url=url))

    levels = {name: finding.level for name, finding in found.items()}
    assert levels == {"report.usage": level, "report.audit": level, "report.performance": "ok"}
    assert "[plugins.data] url" in found["report.usage"].message


def test_a_missing_audit_log_concerns_its_report_alone(demo_database: DataSettings) -> None:
    with sqlite3.connect(demo_database.demo_file) as db:
        db.execute("DROP TABLE cgj_audit_log")
    db.close()

    found = findings(demo_database)

    assert (found["report.usage"].level, found["report.audit"].level) == ("ok", "bad")
    assert "cgjobs data" in found["report.audit"].message


def test_a_store_that_is_not_there_or_no_directory_is_told(
    demo_database: DataSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no directory")
    store = StoreSettings(directory=tmp_path / "file" / "reports")

    lacking = findings(demo_database, Settings(store="archiv"))
    blocked = findings(attrs.evolve(demo_database, stores={"reports": store}))

    assert "no store is named 'archiv'" in lacking["report.performance"].message
    assert "cannot be written" in blocked["report.usage"].message
    assert not (tmp_path / "file" / "reports").exists()


def test_extras_that_are_missing_are_told_with_the_command(
    demo_database: DataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (paper, vega):
        monkeypatch.setattr(module, "available", lambda: False)

    asked, unasked = findings(demo_database, Settings(formats=("pdf",))), findings(demo_database)

    assert asked["report.usage"].level == "bad"
    assert asked["report.usage"].advice == "pip install 'chatgenius-jobs-report[pdf]'"
    assert {name for name, finding in unasked.items() if finding.level == "warn"} == {
        "report.charts",
        "report.pdf",
    }

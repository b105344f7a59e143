"""`report.audit`: every entry of the log, counted and filtered, naming people only when asked to."""

import csv
import io
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgjobs import Discard
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_report import Audit, Params, ReportResult, Settings, audit_log, workbook
from cgjobs_report.handlers import audit

ASKED = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def run(data: DataSettings, **options: Any) -> ReportResult:
    ctx = RecordingContext(settings=[Settings(), data])
    ctx.job = attrs.evolve(ctx.job, created_at=ASKED, started_at=ASKED)
    with ctx:
        return audit(Audit(**{"formats": ("csv", "json"), **options}), ctx)


def content(result: ReportResult, kind: str) -> str:
    (url,) = (file.url for file in result.files if file.format == kind)
    return Path(url.removeprefix("file://")).read_bytes().decode("utf-8-sig")


def rows(result: ReportResult, section: str) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(content(result, "csv"), newline=""), strict=True)
    return [row for row in table if row["section"] == section]


def facts(result: ReportResult) -> dict[str, str]:
    found: dict[str, str] = json.loads(content(result, "json"))["facts"]
    return found


def entries(data: DataSettings) -> list[tuple[str, ...]]:
    with sqlite3.connect(data.demo_file) as db:
        query = """SELECT at, actor, action, target FROM cgj_audit_log
                   WHERE at >= '2026-10-01' AND at < '2026-11-01' ORDER BY at, id"""
        found = list(db.execute(query))
    db.close()
    return found


def test_every_entry_of_the_period_is_in_the_report_in_order(demo_database: DataSettings) -> None:
    result = run(demo_database)

    mine = entries(demo_database)
    listed = rows(result, "entry")
    assert result.rows == len(listed) == len(mine) > 10
    assert [(row["actor"], row["action"], row["target"]) for row in listed] == [row[1:] for row in mine]
    assert [datetime.fromisoformat(row["at"]) for row in listed] == [
        datetime.fromisoformat(row[0]) for row in mine
    ]
    by_action = Counter(row[2] for row in mine)
    assert {row["name"]: int(row["entries"]) for row in rows(result, "action")} == by_action
    (totals,) = rows(result, "period")
    assert (int(totals["entries"]), int(totals["actors"])) == (len(mine), len({row[1] for row in mine}))
    assert sum(int(row["entries"]) for row in rows(result, "day")) == len(mine)


def test_people_are_named_only_when_asked_for(demo_database: DataSettings) -> None:
    plain, full = run(demo_database), run(demo_database, include_pii=True)

    assert not {"actor_name", "actor_email", "detail"} & set(rows(plain, "entry")[0])
    assert "192.0.2." not in content(plain, "csv") + content(plain, "json")
    assert "@" not in content(plain, "csv")
    first = rows(full, "entry")[0]
    assert first["actor_email"].endswith("@example.com")
    assert json.loads(first["detail"])["ip"].startswith("192.0.2.")
    assert plain.files[0].path != full.files[0].path


def test_an_actor_that_is_an_address_is_masked(demo_database: DataSettings) -> None:
    with sqlite3.connect(demo_database.demo_file) as db:
        db.execute("UPDATE cgj_audit_log SET actor = 'ada.lovelace@example.com'")
    db.close()

    plain, full = run(demo_database), run(demo_database, include_pii=True)

    assert {row["actor"] for row in rows(plain, "entry")} == {"a***@example.com"}
    assert {row["name"] for row in rows(plain, "actor")} == {"a***@example.com"}
    assert {row["actor"] for row in rows(full, "entry")} == {"ada.lovelace@example.com"}


def test_the_digest_is_that_of_the_entries(demo_database: DataSettings) -> None:
    plain, full, other = (
        run(demo_database),
        run(demo_database, include_pii=True),
        run(demo_database, actions=("message.*",)),
    )
    before = facts(plain)["Digest of the entries"]
    with sqlite3.connect(demo_database.demo_file) as db:
        db.execute(
            """UPDATE cgj_audit_log SET detail = 'changed' WHERE id =
               (SELECT id FROM cgj_audit_log WHERE at >= '2026-10-05' ORDER BY at LIMIT 1)"""
        )
    db.close()

    assert len(before) == 64
    assert facts(full)["Digest of the entries"] == before
    assert facts(other)["Digest of the entries"] != before
    assert facts(run(demo_database))["Digest of the entries"] != before


def test_filters_choose_entries_and_are_told(demo_database: DataSettings) -> None:
    mine = entries(demo_database)
    actor = mine[0][1]

    by_actor = run(demo_database, actors=(actor,))
    by_action = run(demo_database, actions=("message.*",))

    assert by_actor.rows == len([row for row in mine if row[1] == actor])
    assert by_action.rows == len([row for row in mine if row[2].startswith("message.")]) > 0
    assert facts(by_actor)["Only actors"] == actor
    assert by_actor.files[0].path != by_action.files[0].path


def test_how_far_the_log_goes_back_is_said(demo_database: DataSettings) -> None:
    result = run(demo_database, params=Params(from_="2025-11-01", to="2025-12-01"))

    assert facts(result)["The log goes back to"].startswith("2025-11-2")
    assert "The log goes back to 2025-11-2" in result.warnings[0]


def test_a_log_without_entries_says_so(demo_database: DataSettings) -> None:
    result = run(demo_database, formats=("html", "csv", "xlsx"), actors=("nobody",))

    assert result.rows == 0
    assert "The audit log has no entries of this period that match." in content(result, "html")


def test_a_missing_log_is_told_with_the_command(demo_database: DataSettings) -> None:
    with sqlite3.connect(demo_database.demo_file) as db:
        db.execute("DROP TABLE cgj_audit_log")
    db.close()

    with pytest.raises(Discard, match="cgjobs data"):
        run(demo_database)


def test_a_log_too_long_for_a_workbook_is_refused_before_it_is_read(
    demo_database: DataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (audit_log, workbook):
        monkeypatch.setattr(module, "MOST_ROWS", 5)

    with pytest.raises(Discard, match=r"do not fit into XLSX.* ask for csv or json"):
        run(demo_database, formats=("xlsx",))


def test_postgresql_has_the_same_report(
    demo_database: DataSettings, seeded_postgres: Callable[..., DataSettings]
) -> None:
    data = seeded_postgres("head")

    result = run(data, include_pii=True, params=Params(period="last_year"))
    run_again = run(data, include_pii=True, params=Params(period="last_year"))

    assert result.rows == len(rows(result, "entry"))
    assert facts(result) == facts(run_again)

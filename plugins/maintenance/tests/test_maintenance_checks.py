"""What `cgjobs doctor` says of what is maintained."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cgjobs import Finding
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import Settings, cgjobs_checks
from cgjobs_maintenance.checks import CACHE, REINDEX, VACUUM, check
from cgjobs_maintenance.settings import CacheTarget, SearchTarget


def findings(settings: Settings, data: DataSettings | None = None, **options: Any) -> list[Finding]:
    return list(check(settings, data or DataSettings(directory=Path("/nowhere")), **options))


def of(found: list[Finding], name: str) -> Finding:
    (one,) = [finding for finding in found if finding.check == name]
    return one


def test_with_nothing_configured_it_says_what_to_write() -> None:
    found = findings(Settings())

    assert (of(found, VACUUM).level, of(found, CACHE).level, of(found, REINDEX).level) == (
        "warn",
        "warn",
        "ok",
    )
    assert "[plugins.data] url" in of(found, VACUUM).advice


def test_the_hook_hands_over_both_settings() -> None:
    known = {Settings: Settings(), DataSettings: DataSettings(url="postgresql://127.0.0.1/x")}

    found = list(cgjobs_checks(lambda cls: known[cls]))

    assert of(found, VACUUM).message == "'chatgenius' is the database of [plugins.data]"


def test_files_are_looked_at(tmp_path: Path) -> None:
    good = tmp_path / "good.db"
    good.write_bytes(b"x" * 100)

    databases = {"good": good, "gone": tmp_path / "gone.db"}
    found = findings(Settings(databases=databases), patience=60)

    assert [(each.level, each.message) for each in found if each.check == VACUUM] == [
        ("ok", "database 'good': SQLite, 100 bytes"),
        ("bad", f"database 'gone': there is no file at '{tmp_path}/gone.db'"),
    ]


def test_caches_are_looked_at(cache_url: str, tmp_path: Path) -> None:
    caches = {
        "there": CacheTarget(cache_url, prefixes=("a:",)),
        "away": CacheTarget("redis://127.0.0.1:1", prefixes=("a:",)),
        "files": CacheTarget(directory=tmp_path),
        "nowhere": CacheTarget(directory=tmp_path / "nowhere"),
    }

    found = [each for each in findings(Settings(caches=caches), patience=60) if each.check == CACHE]

    assert [each.level for each in found] == ["ok", "bad", "ok", "bad"]
    assert found[0].message == "cache 'there': 1 server, 0 keys, noeviction"
    assert "Connection refused" in found[1].message


def test_tables_that_are_not_the_accounts_are_told(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS cgj_chk")
        db.execute("CREATE ROLE cgj_chk LOGIN")
        db.execute("CREATE TABLE messages (id int)")
    stranger = postgres.replace("postgres:@", "cgj_chk:@")

    found = findings(Settings(databases={"ours": postgres, "theirs": stranger}), patience=60)

    assert [each.level for each in found if each.check == VACUUM] == ["ok", "warn"]
    assert "1 of its tables are not the account's" in found[-1].message


def test_what_hangs_holds_up_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()

        found = findings(Settings(caches={"silent": CacheTarget(place, prefixes=("a:",))}), patience=0.2)

        assert time.monotonic() - began < 5  # it would wait for 5 s for each reply
    assert of(found, CACHE).message == "cache 'silent' did not answer within 0.2 s"


def test_search_servers_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(search={"messages": SearchTarget("http://127.0.0.1:1")})

    away = of(findings(settings, patience=60), REINDEX)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    missing = of(findings(settings), REINDEX)

    assert away.level == "bad"
    assert "does not answer" in away.message
    assert missing.advice == "pip install 'chatgenius-jobs-maintenance[search]'"

"""What `cgjobs doctor` says about the plugin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cgjobs import Discard
from cgjobs_cleanup import Logs, Nightly, Settings, StoreRoot, cgjobs_checks, checks
from cgjobs_data import Database, StoreSettings
from cgjobs_data import Settings as DataSettings


def found(own: Settings, data: DataSettings) -> dict[str, list[tuple[str, str]]]:
    """Level and message of each finding, with its advice, by subtype."""
    by_class: dict[type[Any], Any] = {Settings: own, DataSettings: data}
    told: dict[str, list[tuple[str, str]]] = {}
    for each in cgjobs_checks(by_class.__getitem__):
        told.setdefault(each.check, []).append((each.level, f"{each.message} | {each.advice}"))
    return told


def test_all_is_well_where_all_is_there(demo_database: DataSettings, tmp_path: Path) -> None:
    told = found(Settings(roots={"uploads": tmp_path}), demo_database)

    assert {name: [level for level, _ in each] for name, each in told.items()} == {
        "cleanup.files": ["ok"],
        "cleanup.logs": ["ok"],
        "cleanup.messages": ["ok"],
    }


def test_roots_that_are_not_there_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    data = DataSettings(directory=tmp_path, stores={"s3": StoreSettings(bucket="b")})
    roots: dict[str, Any] = {"a": tmp_path / "a", "b": StoreRoot("s4"), "c": StoreRoot("s3")}

    told = found(Settings(roots=roots), data)

    assert [level for level, _ in told["cleanup.files"]] == ["bad"] * 3
    assert "pip install 'chatgenius-jobs-cleanup[s3]'" in told["cleanup.files"][2][1]
    assert told["cleanup.messages"][0][0] == "warn"
    assert found(Settings(), data)["cleanup.files"][0][0] == "warn"


def test_a_missing_codec_of_a_nightly_job_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise Discard("pip install it")

    monkeypatch.setattr(checks, "load_zstd", missing)
    job = Logs("logs", action="compress", codec="zstd", compress_after=timedelta(days=1))
    own = Settings(roots={"logs": tmp_path}, nightly=Nightly(logs=(job,)))

    assert found(own, DataSettings(directory=tmp_path))["cleanup.logs"] == [
        ("bad", "a nightly job compresses with zstd | pip install it")
    ]


def test_a_missing_index_is_told_with_the_statement_that_helps(
    seeded_postgres: Callable[[str], DataSettings], tmp_path: Path
) -> None:
    data = seeded_postgres("db-f-001")
    with Database(data) as db, db.engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX idx_reactions_message_id"))

    told = found(Settings(roots={"uploads": tmp_path}), data)["cleanup.messages"]

    assert [level for level, _ in told] == ["bad"]
    assert "CREATE INDEX CONCURRENTLY" in told[0][1]


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    data = DataSettings(url="postgresql://nobody@127.0.0.1:9/none", directory=tmp_path)

    assert found(Settings(), data)["cleanup.messages"][0][0] == "bad"

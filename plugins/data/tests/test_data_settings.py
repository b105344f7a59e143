"""`[plugins.data]`: names are checked, secrets hidden, presets overridden name by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgjobs.testing import RecordingContext
from cgjobs_data import Condition, Hold, Settings, StoreSettings, held_at, moment
from cgjobs_data.companion import NAMES
from cgjobs_data.layout import COLUMNS


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("chatgenius", "begins with none of"),
        ("redis://me:hidden@host/0", "begins with none of"),
        ("sqlite://", "names no file"),
        ("postgresql://me:hid/hidden@host/db", "percent-encode it"),
        ("postgresql://host/db?password=hidden", "has a password among its parameters"),
    ],
)
def test_what_is_no_database_is_refused_without_repeating_it(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        Settings(url=url)

    assert "hidden" not in str(caught.value)


def test_the_url_is_not_shown() -> None:
    assert "hidden" not in repr(Settings(url="postgresql://me:hidden@host/db"))


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        ({"message": {"table": "m"}}, "unknown table 'message'; did you mean 'messages'"),
        ({"messages": {"autor": "user_id"}}, "unknown key 'autor'; did you mean 'author'"),
        ({"messages": {"time": "unix"}}, "none of timestamptz"),
        ({"messages": {"keep_where": ["starred"]}}, "no condition is named 'starred'"),
        ({"messages": {"keep_where": "starred"}}, "is no list"),
        ({"files": {"name": "n"}}, "has no such table"),
    ],
)
def test_wrong_names_are_refused(tables: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Settings(url="postgresql://host/db", tables=tables)


def test_all_wrong_names_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"unknown table 'a'.*unknown key 'b'"):
        Settings(tables={"a": {}, "users": {"b": "c"}})


def test_a_name_overrides_one_of_the_preset_and_an_empty_one_takes_it_away() -> None:
    settings = Settings(
        url="postgresql://host/db",
        tables={"messages": {"table": "posts", "body": "text", "thread": "", "time": "epoch_ms"}},
    )

    names, written = settings.names("messages")

    assert names is not None
    assert (names.table, names.time, names.columns["body"], names.columns["author"]) == (
        "posts",
        "epoch_ms",
        "text",
        "user_id",
    )
    assert "thread" not in names.columns
    assert written == {"body"}


def test_without_a_url_there_is_the_demo_with_it_the_newest_schema() -> None:
    assert Settings().schema_version == "demo"
    assert Settings(url="postgresql://host/db").schema_version == "chatgenius-head"
    assert Settings(preset="none").names("users") == (None, frozenset())


def test_two_settings_are_two_databases() -> None:
    one, other = Settings(), Settings()
    with RecordingContext() as ctx:
        assert ctx.use(list, (one,)) is not ctx.use(list, (other,))  # type: ignore[type-var]


@pytest.mark.parametrize(
    "wrong",
    [
        {"op": "in", "value": "x"},
        {"op": "=", "value": None},
        {"op": "null", "value": 1},
        {"op": "<", "value": [1]},
    ],
)
def test_an_impossible_condition_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="op "):
        Condition(column="c", **wrong)


def test_a_store_is_one_place() -> None:
    for wrong in ({}, {"directory": Path("x"), "bucket": "b"}, {"bucket": "b", "access_key_id": "k"}):
        with pytest.raises(ValueError, match=r"store has either|belong together"):
            StoreSettings(**wrong)


def test_a_prefix_is_plain() -> None:
    from cgjobs_data.settings import CompanionSettings

    with pytest.raises(ValueError, match="is no prefix"):
        CompanionSettings(prefix='x"; DROP TABLE users')


def test_a_hold_ends_when_it_says() -> None:
    forever, past = (
        Hold(scope="user", target="u"),
        Hold(scope="user", target="u", until="2026-01-01T00:00:00Z"),
    )
    settings = Settings(holds=(forever, past))

    assert held_at(settings, datetime(2026, 6, 1, tzinfo=UTC)) == (forever,)
    assert held_at(settings, datetime(2025, 6, 1, tzinfo=UTC)) == (forever, past)
    with pytest.raises(ValueError, match="no time zone"):
        Hold(scope="user", target="u", until="2026-01-01T00:00:00")


AT = datetime(2026, 11, 24, 12, 0, 1, 250_000, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("time", "written"),
    [
        ("timestamptz", AT.astimezone(UTC)),
        ("utc", datetime(2026, 11, 24, 10, 0, 1, 250_000)),  # noqa: DTZ001
        ("epoch_s", 1795514401),
        ("epoch_ms", 1795514401250),
        ("iso8601", "2026-11-24T10:00:01.250Z"),
    ],
)
def test_a_time_is_written_as_the_column_holds_it_and_read_back(time: Any, written: object) -> None:
    assert moment.write(AT, time, zoned=True) == written
    read = moment.read(written, time)
    assert read == (AT if time != "epoch_s" else AT.replace(microsecond=0))
    assert read is not None
    assert read.tzinfo is UTC


def test_a_naive_moment_is_refused_and_what_is_no_time_too() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        moment.write(datetime(2026, 1, 1), "utc", zoned=True)  # noqa: DTZ001
    with pytest.raises(ValueError, match="is no time"):
        moment.read(b"x", "utc")


def test_the_readme_names_every_setting_table_and_column() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in readme.splitlines() if "|" in line
    ]
    keys = {row[0].strip("`").partition(".")[0] for row in rows if row[0].startswith("`")}
    tables = {row[0]: tuple(row[1].split(", ")) for row in rows if row[0] in COLUMNS}

    assert {field.name for field in attrs.fields(Settings)} <= keys
    assert tables == COLUMNS
    for name in NAMES:
        assert name in readme

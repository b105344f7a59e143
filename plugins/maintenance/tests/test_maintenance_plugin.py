"""The plugin around the handler: payload, settings, schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import cgjobs_maintenance
from cgjobs import Cron, Discard, plugins
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import Cache, Reindex, Settings, Vacuum
from cgjobs_maintenance.schedule import weekly
from cgjobs_maintenance.settings import CacheTarget, Weekly
from cgjobs_maintenance.window import Window

T = TypeVar("T")


class Slot:
    """A Sunday's midnight with these settings."""

    at = datetime(2026, 11, 29, tzinfo=UTC)

    def __init__(self, settings: Settings, data: DataSettings | None = None) -> None:
        self._settings: dict[type[Any], Any] = {Settings: settings, DataSettings: data or DataSettings()}

    def settings(self, cls: type[T]) -> T:
        found: T = self._settings[cls]
        return found


def test_the_plugin_loads_and_its_payload_finds_its_handler() -> None:
    registry = plugins.load(found=[], extra=[("maintenance", cgjobs_maintenance)], strict=True)

    assert registry.subtype_for(Vacuum("app")).name == "maintenance.vacuum"
    assert registry.processor("maintenance").schedule == Cron("0 0 * * 0")


def test_the_schedule_yields_one_vacuum_for_each_database() -> None:
    settings = Settings(databases={"app": Path("/srv/app.db"), "search": Path("/srv/search.db")})

    assert weekly(Slot(settings)) == [Vacuum("app"), Vacuum("search")]


def test_the_schedule_yields_what_the_settings_say() -> None:
    caches = {"thumbnails": CacheTarget(directory=Path("/var/cache/thumbnails"))}
    sweep = Cache("thumbnails", max_bytes=10**9)
    settings = Settings(
        databases={"app": Path("/srv/app.db")}, caches=caches, weekly=Weekly(vacuum=(), cache=(sweep,))
    )

    assert weekly(Slot(settings)) == [sweep]


def test_the_schedule_refuses_a_cache_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="which is no cache; there are: none"):
        Settings(weekly=Weekly(cache=(Cache("thumbnails", max_bytes=1),)))


def test_without_a_database_the_schedule_says_how_to_configure_one() -> None:
    with pytest.raises(Discard, match=r"nothing is configured; set \[plugins.maintenance.databases\]"):
        weekly(Slot(Settings()))


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "thorough"},
        {"lock_timeout": timedelta(minutes=2)},
        {"lock_timeout": timedelta(seconds=-1)},
        {"max_duration": timedelta(0)},
        {"max_duration": timedelta(days=2)},
    ],
)
def test_a_payload_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Vacuum("app", **fields)


def test_the_database_of_the_data_plugin_is_vacuumed_when_one_is_configured() -> None:
    data = DataSettings(url="postgresql://127.0.0.1/chatgenius")

    assert weekly(Slot(Settings(), data)) == [Vacuum("chatgenius")]
    assert weekly(Slot(Settings(databases={"chatgenius": "/srv/x.db"}), data)) == [Vacuum("chatgenius")]


@pytest.mark.parametrize(
    ("databases", "words"),
    [
        ({"app": "app.db"}, "neither a path from / nor a URL"),
        ({"app": "oracle://host/x"}, "begins with none of postgresql://"),
        ({"app": "sqlite://"}, "names no file"),
    ],
)
def test_a_database_is_a_path_or_a_url(databases: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(databases=databases)


@pytest.mark.parametrize(
    "weekly",
    [
        Weekly(vacuum=(Vacuum("nowhere"),)),
        Weekly(reindex=(Reindex("nowhere"),)),
        Weekly(cache=(Cache("nowhere", max_bytes=1),)),
    ],
)
def test_the_schedule_names_only_what_there_is(weekly: Weekly) -> None:
    with pytest.raises(ValueError, match="names 'nowhere', which is no"):
        Settings(weekly=weekly)
    Settings(weekly=Weekly(vacuum=(Vacuum("chatgenius"),), reindex=(Reindex("chatgenius"),)))


@pytest.mark.parametrize("window", ["1:00-5:00", "01:00", "25:00-26:00", "01:00-01:00", "01:00-05:60"])
def test_a_window_that_is_none_is_refused(window: str) -> None:
    with pytest.raises(ValueError, match="window"):
        Vacuum("app", window=window)


@pytest.mark.parametrize(
    ("at", "wait"),
    [("00:59", 1), ("01:00", 0), ("04:59", 0), ("05:00", 20 * 60), ("23:00", 120)],
)
def test_a_window_opens_each_day(at: str, wait: int) -> None:
    now = datetime.fromisoformat(f"2026-11-24T{at}:00+00:00")

    assert Window.parse("01:00-05:00").wait(now) == timedelta(minutes=wait)


@pytest.mark.parametrize(("at", "wait"), [("21:59", 1), ("22:00", 0), ("03:59", 0), ("04:00", 18 * 60)])
def test_a_window_may_pass_midnight(at: str, wait: int) -> None:
    now = datetime.fromisoformat(f"2026-11-24T{at}:00+00:00")

    assert Window.parse("22:00-04:00").wait(now) == timedelta(minutes=wait)

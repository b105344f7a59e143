"""The plugin around the handler: payload, settings, schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import cgjobs_maintenance
from cgjobs import Cron, Discard, plugins
from cgjobs_maintenance import Cache, Settings, Vacuum
from cgjobs_maintenance.schedule import weekly
from cgjobs_maintenance.settings import CacheTarget, Weekly

T = TypeVar("T")


class Slot:
    """A Sunday's midnight with these settings."""

    at = datetime(2026, 11, 29, tzinfo=UTC)

    def __init__(self, settings: Settings) -> None:
        self._settings: Any = settings

    def settings(self, cls: type[T]) -> T:
        found: T = self._settings
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

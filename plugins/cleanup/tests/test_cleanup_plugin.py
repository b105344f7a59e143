"""The plugin around the handler: payload, settings, schedule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import cgjobs_cleanup
from cgjobs import Cron, Discard, loading, plugins
from cgjobs_cleanup import Files, Logs, Nightly, Policy, Settings
from cgjobs_cleanup.schedule import nightly

T = TypeVar("T")
MONTH = timedelta(days=30)


class Slot:
    """A midnight with these settings."""

    at = datetime(2026, 11, 24, tzinfo=UTC)

    def __init__(self, settings: Settings) -> None:
        self._settings: Any = settings

    def settings(self, cls: type[T]) -> T:
        found: T = self._settings
        return found


def test_the_plugin_loads_and_its_payload_finds_its_handler() -> None:
    registry = plugins.load(found=[], extra=[("cleanup", cgjobs_cleanup)], strict=True)

    assert registry.subtype_for(Files("uploads", MONTH)).name == "cleanup.files"
    assert registry.processor("cleanup").schedule == Cron("0 0 * * *")


def configured(directory: Path, text: str) -> Settings:
    """Settings as they are read from a file."""
    file = directory / "cgjobs.toml"
    file.write_text(text)
    settings = loading.settings_reader(loading.load(file))("cleanup", Settings)
    assert isinstance(settings, Settings)
    return settings


def test_the_schedule_yields_the_jobs_as_they_are_configured(tmp_path: Path) -> None:
    settings = configured(
        tmp_path,
        """
        [plugins.cleanup]
        roots = {uploads = "/srv/uploads", app = "/var/log/app"}

        [[plugins.cleanup.nightly.files]]
        root = "uploads"
        age = "30d"
        pattern = ["tmp/**"]

        [[plugins.cleanup.nightly.logs]]
        root = "app"
        age = "90d"
        action = "compress_then_delete"
        """,
    )

    assert nightly(Slot(settings)) == [
        Files("uploads", MONTH, pattern=("tmp/**",)),
        Logs("app", timedelta(days=90), action="compress_then_delete"),
    ]


def test_without_a_job_the_schedule_deletes_nothing_and_says_how_to_change_that() -> None:
    with pytest.raises(Discard, match=r"write \[\[plugins.cleanup.nightly.files\]\]"):
        nightly(Slot(Settings(roots={"exports": Path("/srv/exports")})))


@pytest.mark.parametrize(
    "fields",
    [
        {"age": timedelta(0)},
        {"pattern": ()},
        {"pattern": ("/etc/**",)},
        {"exclude": ("../x",)},
        {"min_size": -1},
        {"order": "newest_first"},
        {"max_duration": timedelta(milliseconds=999)},
        {"max_duration": timedelta(hours=25)},
        {"max_items": 0},
        {"max_fraction": 1.1},
        {"max_fraction": float("nan")},
    ],
)
def test_a_payload_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Files(**{"root": "uploads", "age": MONTH, **fields})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"nightly": Nightly(files=(Files("upload", MONTH),))},
            "nightly.files names 'upload', which is no root; the roots are uploads",
        ),
        ({"policies": {"x": Policy()}}, "policies.x names 'x', which is no root"),
        (
            {"nightly": Nightly(logs=(Logs("uploads", timedelta(hours=1)),))},
            "nightly.logs has age 1:00:00 for 'uploads', below",
        ),
    ],
)
def test_settings_that_contradict_themselves_are_refused_before_any_job_runs(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(roots={"uploads": Path("/srv/uploads")}, **settings)

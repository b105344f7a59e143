"""`maintenance.cache` on a directory."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cgjobs import Discard, JobCancelled, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_maintenance import Cache, CacheResult, Settings, cache_directory
from cgjobs_maintenance.cache_directory import DirectorySweep
from cgjobs_maintenance.handlers import cache
from cgjobs_maintenance.settings import CacheTarget


@pytest.fixture
def thumbnails(tmp_path: Path) -> Path:
    """Files of 100 bytes, last used 0 to 9 days ago, in two levels."""
    root = tmp_path / "thumbnails"
    for days in range(10):
        make(root / f"{days % 2}" / f"{days}.webp", days)
    return root


def make(path: Path, days: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 100)
    used = (datetime.now(UTC) - timedelta(days=days, hours=1)).timestamp()
    os.utime(path, (used, used))


def context(root: Path, **options: Any) -> RecordingContext:
    return RecordingContext(settings=[Settings(caches={"files": CacheTarget(directory=root)})], **options)


def run(root: Path, **fields: Any) -> CacheResult:
    return cache(Cache("files", **fields), context(root))


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*.*"))


def test_files_that_were_not_used_lately_go(thumbnails: Path) -> None:
    result = run(thumbnails, idle=timedelta(days=4))

    assert left(thumbnails) == ["0.webp", "1.webp", "2.webp", "3.webp"]
    assert (result.scanned, result.matched, result.unlinked, result.skipped.young) == (10, 6, 6, 4)
    assert (result.memory_before, result.memory_after) == (1_000, 400)


def test_reading_a_file_is_using_it(thumbnails: Path) -> None:
    now = datetime.now(UTC).timestamp()
    os.utime(thumbnails / "1" / "9.webp", (now, 0))

    run(thumbnails, idle=timedelta(days=4))

    assert "9.webp" in left(thumbnails)


def test_what_was_used_longest_ago_goes_until_the_rest_fits(thumbnails: Path) -> None:
    result = run(thumbnails, max_bytes=350)

    assert left(thumbnails) == ["0.webp", "1.webp", "2.webp"]
    assert (result.unlinked, result.memory_after) == (7, 300)


def test_age_and_size_are_asked_together(thumbnails: Path) -> None:
    run(thumbnails, idle=timedelta(days=8), max_bytes=900)
    assert len(left(thumbnails)) == 8

    run(thumbnails, idle=timedelta(days=8), max_bytes=500)
    assert len(left(thumbnails)) == 5


def test_a_dry_run_counts_the_same_and_deletes_nothing(thumbnails: Path) -> None:
    dry = run(thumbnails, idle=timedelta(days=4), dry_run=True)

    assert (dry.matched, dry.unlinked, dry.matched_bytes, dry.memory_after) == (6, 0, 600, 1_000)
    assert len(dry.samples) == 5
    assert len(left(thumbnails)) == 10


def test_max_items_takes_what_was_used_longest_ago(thumbnails: Path) -> None:
    result = run(thumbnails, only="all", max_items=3)

    assert left(thumbnails) == [f"{days}.webp" for days in range(7)]
    assert (result.unlinked, result.stopped_by) == (3, "max_items")


def test_a_pattern_is_compared_with_the_name_of_a_file(thumbnails: Path) -> None:
    make(thumbnails / "keep.db", 30)

    result = run(thumbnails, only="all", pattern="*.webp")

    assert left(thumbnails) == ["keep.db"]
    assert result.skipped.other == 1


def test_no_link_leads_out_of_the_directory(thumbnails: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    make(outside / "precious.webp", 30)
    (thumbnails / "link").symlink_to(outside)
    (thumbnails / "file.webp").symlink_to(outside / "precious.webp")

    result = run(thumbnails, only="all")

    assert left(outside) == ["precious.webp"]
    assert (thumbnails / "file.webp").is_symlink()
    assert result.unlinked == 10


def test_a_directory_that_becomes_a_link_between_the_looks_leads_nowhere(
    thumbnails: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    make(outside / "0.webp", 30)

    class Swapping(RecordingContext):
        def progress(self, done: float, total: float | None = None, message: str = "") -> None:
            if not (tmp_path / "moved").exists():
                (thumbnails / "0").rename(tmp_path / "moved")
                (thumbnails / "0").symlink_to(outside)

    for number in range(cache_directory.BATCH):  # so that it reports, and the swap happens
        make(thumbnails / "many" / f"{number}.webp", 20)
    ctx = Swapping(settings=[Settings(caches={"files": CacheTarget(directory=thumbnails)})])

    cache(Cache("files", only="all"), ctx)

    assert left(outside) == ["0.webp"]


def test_a_file_that_was_used_meanwhile_stays(thumbnails: Path) -> None:
    for number in range(cache_directory.BATCH):
        make(thumbnails / "many" / f"{number}.webp", 20)

    class Using(RecordingContext):
        def progress(self, done: float, total: float | None = None, message: str = "") -> None:
            now = datetime.now(UTC).timestamp()
            os.utime(thumbnails / "1" / "9.webp", (now, now))

    cache(
        Cache("files", idle=timedelta(days=4)),
        Using(settings=[Settings(caches={"files": CacheTarget(directory=thumbnails)})]),
    )

    assert "9.webp" in left(thumbnails)


def test_a_sweep_that_takes_too_long_goes_on_later(tmp_path: Path) -> None:
    for number in range(2 * cache_directory.BATCH + 10):
        make(tmp_path / f"{number}.webp", 20)
    ticks = iter([0.0, 5.0])

    with (
        cache_directory.opened("files", tmp_path) as root,
        pytest.raises(Snooze, match="max_duration: 999 of"),
    ):
        DirectorySweep(
            root,
            Cache("files", only="all", max_duration=timedelta(seconds=1)),
            context(tmp_path),
            cutoff=datetime.now(UTC),
            clock=lambda: next(ticks),
        ).run()

    assert run(tmp_path, only="all").unlinked == cache_directory.BATCH + 11


def test_a_cancelled_sweep_says_what_it_did(tmp_path: Path) -> None:
    for number in range(cache_directory.BATCH):
        make(tmp_path / f"{number}.webp", 20)
    ctx = context(tmp_path, cancel_after=2)

    with pytest.raises(JobCancelled):
        cache(Cache("files", only="all"), ctx)

    assert ctx.lines[-1].fields["unlinked"] == cache_directory.BATCH - len(left(tmp_path))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "say what shall go"),
        ({"only": "no_ttl"}, "files have no time to live"),
        ({"only": "all", "set_ttl": timedelta(days=1)}, "files have no time to live"),
        ({"only": "all", "pattern": "a/*.webp"}, "has a slash"),
    ],
)
def test_what_a_directory_cannot_do_is_refused(thumbnails: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Discard, match=words):
        run(thumbnails, **fields)
    assert len(left(thumbnails)) == 10


@pytest.mark.parametrize("root", ["/", "/nowhere/at/all"])
def test_a_root_that_cannot_be_a_cache_is_refused(root: str) -> None:
    with pytest.raises(Discard, match=r"is or contains|cannot be opened"):
        run(Path(root), only="all")


def test_a_root_that_is_a_link_is_refused(thumbnails: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(thumbnails)

    with pytest.raises(Discard, match="cannot be opened"):
        run(link, only="all")

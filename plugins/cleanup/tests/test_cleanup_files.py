"""`cleanup.files`: deletes what it should, and nothing else whatever is done to the tree meanwhile."""

from __future__ import annotations

import fnmatch
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Discard, JobCancelled, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Files, FilesResult, Policy, Settings, sweep, tree
from cgjobs_cleanup.handlers import files

NOW = datetime.now(UTC)
MONTH = timedelta(days=30)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty tree beside which there is room for what must not be touched."""
    root = tmp_path / "uploads"
    root.mkdir()
    return root


def put(path: Path, *, days: float = 90, size: int = 10) -> Path:
    """A file last written so many days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    when = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (when, when))
    return path


def context(root: Path, **settings: Any) -> RecordingContext:
    ctx = RecordingContext(settings=[Settings(roots={"uploads": root}, **settings)])
    ctx.job = attrs.evolve(ctx.job, created_at=NOW)
    return ctx


def clean(root: Path, **fields: Any) -> FilesResult:
    """Run the handler; more than half may go, since most trees here are tiny."""
    payload: dict[str, Any] = {"root": "uploads", "age": MONTH, "max_fraction": 1.0} | fields
    return files(Files(**payload), context(root))


def left(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}


@pytest.fixture
def before_each_delete(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something between the listing of a file and its deletion."""

    def hook(action: Callable[[], object]) -> None:
        real = tree.Tree.delete

        def delete(self: tree.Tree, file: tree.File) -> bool:
            action()
            return real(self, file)

        monkeypatch.setattr(tree.Tree, "delete", delete)

    return hook


def test_old_files_go_and_young_ones_stay(root: Path) -> None:
    put(root / "a" / "old.png", days=31)
    put(root / "a" / "young.png", days=29)

    result = clean(root)

    assert left(root) == {"a/young.png"}
    assert (result.scanned, result.matched, result.deleted, result.bytes_freed) == (2, 1, 1, 10)
    assert result.skipped.young == 1
    assert result.samples == ("a/old.png",)
    assert result.stopped_by is None


def test_hidden_files_and_directories_stay_unless_asked_for(root: Path) -> None:
    put(root / ".htaccess")
    put(root / "a" / ".cache" / "x")

    result = clean(root)

    assert left(root) == {".htaccess", "a/.cache/x"}
    assert (result.skipped.unselected, result.skipped.excluded_dirs) == (1, 1)
    assert clean(root, exclude=()).deleted == 2


def test_only_what_matches_the_pattern_and_the_size_goes(root: Path) -> None:
    put(root / "tmp" / "a.bin", size=100)
    put(root / "tmp" / "b.bin", size=99)
    put(root / "keep" / "c.bin", size=100)

    result = clean(root, pattern=("tmp/**",), min_size=100)

    assert left(root) == {"tmp/b.bin", "keep/c.bin"}
    assert (result.scanned, result.skipped.unselected, result.skipped.young) == (3, 2, 0)


def test_a_symbolic_link_is_neither_followed_nor_deleted(root: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside" / "precious")
    (root / "directory").symlink_to(outside.parent)
    (root / "file").symlink_to(outside)

    result = clean(root)

    assert outside.exists()
    assert (root / "directory").is_symlink()
    assert (root / "file").is_symlink()
    assert (result.scanned, result.skipped.symlink) == (0, 2)


def test_a_directory_swapped_for_a_link_during_the_sweep_leads_nowhere(
    root: Path, tmp_path: Path, before_each_delete: Callable[[Callable[[], object]], None]
) -> None:
    inside = put(root / "a" / "precious")
    outside = tmp_path / "outside" / "precious"
    outside.parent.mkdir()
    os.link(inside, outside)  # same inode, size and time: only the way to it differs

    def swap() -> None:
        shutil.move(root / "a", tmp_path / "gone")
        (root / "a").symlink_to(outside.parent)

    before_each_delete(swap)

    result = clean(root)

    assert outside.exists()
    assert (result.deleted, result.skipped.changed, result.errors_total) == (0, 1, 0)


def test_a_file_replaced_by_a_link_after_it_was_listed_stays(
    root: Path, tmp_path: Path, before_each_delete: Callable[[Callable[[], object]], None]
) -> None:
    outside = put(tmp_path / "precious")
    inside = put(root / "a")

    def swap() -> None:
        inside.unlink()
        inside.symlink_to(outside)

    before_each_delete(swap)

    assert clean(root).skipped.changed == 1
    assert inside.is_symlink()
    assert outside.exists()


def test_a_file_written_after_it_was_listed_stays(
    root: Path, before_each_delete: Callable[[Callable[[], object]], None]
) -> None:
    path = put(root / "a")
    before_each_delete(lambda: path.write_text("somebody needs me"))

    result = clean(root)

    assert path.exists()
    assert (result.deleted, result.bytes_freed, result.skipped.changed) == (0, 0, 1)


def test_a_directory_that_vanishes_during_the_walk_is_no_error(
    root: Path, before_each_delete: Callable[[Callable[[], object]], None]
) -> None:
    put(root / "a" / "x")
    put(root / "a" / "y")
    before_each_delete(lambda: shutil.rmtree(root / "a", ignore_errors=True))

    result = clean(root)

    assert (result.deleted, result.skipped.changed, result.errors_total) == (0, 2, 0)


def test_a_directory_that_cannot_be_read_is_reported_and_the_rest_is_cleaned(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root / "a" / "x")
    put(root / "locked" / "y")
    real = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:  # root may read anything, hence by hand
        if path == "locked":
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)

    result = clean(root)

    assert left(root) == {"locked/y"}
    assert [(error.path, error.code) for error in result.errors] == [("locked", "EACCES")]


def test_a_tree_nested_too_deeply_is_reported(root: Path) -> None:
    deep = root.joinpath(*"d" * tree.MAX_DEPTH)
    put(deep / "x")
    put(deep.parent / "y")

    result = clean(root)

    assert result.deleted == 1
    assert [error.code for error in result.errors] == ["ENAMETOOLONG"]


@pytest.mark.parametrize("order", ["any", "oldest_first"])
@pytest.mark.parametrize("held", [3, 100])
def test_a_dry_run_counts_what_a_run_then_deletes(
    root: Path, order: str, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "HELD", held)
    monkeypatch.setattr(sweep, "BATCH", 2)
    for number in range(11):
        put(root / f"{number % 3}" / f"{number}", days=40 + number % 4, size=number)
    everything = left(root)

    dry = clean(root, order=order, dry_run=True)

    assert left(root) == everything
    assert attrs.evolve(dry, dry_run=False) == clean(root, order=order)
    assert dry.deleted == 11
    assert left(root) == set()


def test_oldest_first_takes_the_oldest_even_when_they_do_not_fit_into_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "HELD", 2)
    for days in (50, 90, 40, 70, 60, 80):
        put(root / str(days), days=days)

    result = clean(root, order="oldest_first", max_items=4)

    assert left(root) == {"40", "50"}
    assert result.samples == ("90", "80", "70", "60")
    assert result.stopped_by == "max_items"


def test_max_items_that_are_all_there_is_stop_nothing(root: Path) -> None:
    put(root / "a")

    assert clean(root, max_items=1).stopped_by is None


def test_a_retry_deletes_the_same_files_however_late_it_is(root: Path) -> None:
    put(root / "old", days=31)
    put(root / "nearly", days=29.9)  # past the age by the time of the retry, not by that of the job
    ctx = context(root)
    ctx.job = attrs.evolve(ctx.job, attempt=2, started_at=NOW + timedelta(days=5))

    result = files(Files("uploads", MONTH), ctx)

    assert left(root) == {"nearly"}
    assert result.cutoff == NOW - MONTH


def test_too_large_a_share_is_refused_and_nothing_deleted(root: Path) -> None:
    for number in range(3):
        put(root / f"old{number}")
    put(root / "young", days=1)

    with pytest.raises(Discard, match=r"would_delete_too_much: 3 of 4 files .* \(75%\)"):
        clean(root, max_fraction=0.5)

    assert len(left(root)) == 4
    assert clean(root, max_fraction=0.5, confirm_fraction=True).deleted == 3


def test_an_empty_tree_is_never_too_large_a_share(root: Path) -> None:
    assert clean(root, max_fraction=0.0).scanned == 0


def test_an_age_below_the_floor_is_refused(root: Path) -> None:
    with pytest.raises(Discard, match=r"below the 1 day, 0:00:00 that root 'uploads' allows"):
        clean(root, age=timedelta(hours=23))

    ctx = context(root, policies={"uploads": Policy(min_age=timedelta(hours=1))})
    assert files(Files("uploads", timedelta(hours=23)), ctx).matched == 0


def test_an_unknown_root_is_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(Discard, match=r"no root is named 'upload' .* there are: uploads"):
        files(Files("upload", MONTH), context(root))


def test_a_missing_root_and_a_linked_one_are_refused(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)

    for path in (tmp_path / "missing", link, put(tmp_path / "file")):
        with pytest.raises(Discard, match="cannot be opened"):
            clean(path)


def test_the_home_directory_its_parents_and_what_is_protected_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "ann"
    (home / ".local" / "state" / "cgjobs").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    for path in (Path("/"), home, home.parent, home / ".local", home / ".local" / "state" / "cgjobs"):
        with pytest.raises(Discard, match="is or contains"):
            clean(path)
    with pytest.raises(Discard, match="is or contains"):
        files(Files("uploads", MONTH), context(root, protected=(root / "state",)))


def test_a_root_around_what_the_home_directory_links_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk" / "ann").mkdir(parents=True)
    (tmp_path / "ann").symlink_to(tmp_path / "disk" / "ann")
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))

    with pytest.raises(Discard, match="is or contains"):
        clean(tmp_path / "disk")


def test_a_cancelled_sweep_stops_at_the_next_batch_and_says_what_is_gone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    for number in range(6):
        put(root / str(number))
    ctx = context(root)
    counted = 3
    cancelled = RecordingContext(settings=[ctx.settings(Settings)], cancel_after=counted + 2)

    with pytest.raises(JobCancelled):
        files(Files("uploads", MONTH, max_fraction=1.0), cancelled)

    assert len(left(root)) == 2
    assert cancelled.lines[-1].fields["deleted"] == 4
    assert clean(root).deleted == 2


def test_progress_comes_once_per_batch_and_ends_at_its_total(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    for number in range(4):
        put(root / str(number))
    ctx = context(root)

    files(Files("uploads", MONTH, max_fraction=1.0), ctx)

    assert [(report.done, report.total) for report in ctx.reports] == [(0, None), (0, None), (2, 4), (4, 4)]


def run_for(seconds: float, root: Path, ctx: RecordingContext, **fields: Any) -> FilesResult:
    """One run with a clock that goes on by this much each time it is read."""
    ticks = iter(range(1_000))
    with tree.Tree(root) as open_tree:
        payload = Files("uploads", MONTH, max_fraction=1.0, max_duration=timedelta(seconds=10), **fields)
        clock = lambda: next(ticks) * seconds  # noqa: E731
        return sweep.Sweep(open_tree, payload, ctx, cutoff=NOW - MONTH, clock=clock).run()


def test_a_sweep_that_takes_too_long_goes_on_later_and_reaches_its_end(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    for number in range(6):
        put(root / str(number))

    for remaining in (4, 2):
        with pytest.raises(Snooze, match="max_duration: 2 of"):
            run_for(60, root, context(root))
        assert len(left(root)) == remaining

    assert run_for(60, root, context(root)).deleted == 2


def test_a_dry_run_is_never_put_off(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    for number in range(6):
        put(root / str(number))

    assert run_for(60, root, context(root), dry_run=True).deleted == 6


def failing(share: Callable[[tree.File], bool]) -> Callable[[tree.Tree, tree.File], bool]:
    real = tree.Tree.delete

    def delete(self: tree.Tree, file: tree.File) -> bool:
        if share(file):
            raise OSError(16, "Device or resource busy")
        return real(self, file)

    return delete


def test_a_few_files_that_cannot_be_deleted_are_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        put(root / str(number))
    monkeypatch.setattr(tree.Tree, "delete", failing(lambda file: file.path == "7"))

    result = clean(root)

    assert (result.deleted, result.errors_total) == (9, 1)
    assert [(error.path, error.code) for error in result.errors] == [("7", "EBUSY")]
    assert left(root) == {"7"}


def test_many_files_that_cannot_be_deleted_are_tried_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        put(root / str(number))
    monkeypatch.setattr(tree.Tree, "delete", failing(lambda file: int(file.path) < 30))

    with pytest.raises(Retry, match=r"30 of 40 files .* EBUSY"):
        clean(root)


def test_files_that_cannot_be_deleted_are_not_put_off_for_ever(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    for number in range(6):
        put(root / str(number))
    monkeypatch.setattr(tree.Tree, "delete", failing(lambda file: True))

    with pytest.raises(Retry):
        run_for(60, root, context(root))


def test_a_second_name_is_reported_and_frees_no_bytes(root: Path, tmp_path: Path) -> None:
    os.link(put(root / "a"), tmp_path / "elsewhere")
    put(root / "b", size=7)

    result = clean(root)

    assert (result.deleted, result.hard_links, result.bytes_freed) == (2, 1, 7)
    assert (tmp_path / "elsewhere").exists()


def test_directories_that_the_job_emptied_go_when_asked_for(root: Path) -> None:
    put(root / "a" / "b" / "old")
    put(root / "c" / "old")
    put(root / "c" / "young", days=1)
    (root / "was-empty").mkdir()

    assert clean(root, remove_empty_dirs=True).dirs_removed == 2
    assert sorted(path.name for path in root.iterdir()) == ["c", "was-empty"]
    assert root.exists()


def test_directories_stay_when_not_asked_for(root: Path) -> None:
    put(root / "a" / "old")

    clean(root)

    assert (root / "a").is_dir()


def test_pipes_stay(root: Path) -> None:
    os.mkfifo(root / "pipe")

    assert clean(root).skipped.special == 1


def test_names_that_are_no_text_are_deleted_and_reported_readably(root: Path) -> None:
    put(Path(os.fsdecode(os.fsencode(root) + b"/\xff\n")))

    assert clean(root).samples == ("\\xff\n",)


def test_no_descriptor_stays_open_however_a_sweep_ends(root: Path) -> None:
    for number in range(3):
        put(root / str(number) / "x")
    before = len(os.listdir("/proc/self/fd"))

    clean(root, order="oldest_first", max_items=1)
    with pytest.raises(JobCancelled):
        files(
            Files("uploads", MONTH),
            RecordingContext(settings=[Settings(roots={"uploads": root})], cancel_after=1),
        )

    assert len(os.listdir("/proc/self/fd")) == before


names = st.sampled_from(["a", "b", ".git", ".x", "log.txt", "ü"])
entries = st.dictionaries(
    st.lists(names, min_size=1, max_size=4).map("/".join),
    st.tuples(st.integers(min_value=0, max_value=60), st.integers(min_value=0, max_value=3)),
    max_size=12,
)


@given(entries=entries, pattern=st.sampled_from(["**", "*.txt", "a/**", "**/b/*"]), order=st.booleans())
def test_the_files_counted_are_the_files_deleted_are_the_files_of_a_naive_reading(
    entries: dict[str, tuple[int, int]], pattern: str, order: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        root.mkdir()
        for name, (days, size) in entries.items():
            try:
                put(root / name, days=days + 0.5, size=size)
            except OSError:  # its parent is a file, or it is a directory
                continue
        everything = left(root)
        expected = {name for name in everything if is_expected(name, pattern, *entries[name])}
        options: dict[str, Any] = {"pattern": (pattern,), "min_size": 1}
        options["order"] = "oldest_first" if order else "any"

        dry = clean(root, dry_run=True, **options)
        untouched = left(root)
        real = clean(root, **options)

        assert untouched == everything
        assert everything - left(root) == expected
        assert dry.deleted == real.deleted == dry.matched == len(expected)
        assert set(dry.samples) <= expected


def is_expected(name: str, pattern: str, days: int, size: int) -> bool:
    """The payload's rules once more, in other words."""
    parts = name.split("/")
    matches = {
        "**": True,
        "*.txt": fnmatch.fnmatchcase(parts[-1], "*.txt"),
        "a/**": parts[0] == "a" and len(parts) > 1,
        "**/b/*": parts[-2:-1] == ["b"],
    }[pattern]
    return matches and not any(part.startswith(".") for part in parts) and days >= 30 and size >= 1

"""`cleanup.logs`: what was rotated long ago goes or shrinks, and what somebody writes to never does."""

from __future__ import annotations

import contextlib
import errno
import gzip
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Discard, JobCancelled, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Logs, LogsResult, Policy, Settings, log_sweep, open_files, packing
from cgjobs_cleanup.handlers import logs
from cgjobs_cleanup.log_name import LogName

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MONTH = timedelta(days=30)
WRITER = """
import os, sys
log = open(sys.argv[1], "ab", buffering=0)
if len(sys.argv) > 2:
    os.rename(sys.argv[1], sys.argv[2])
print("open", flush=True)
sys.stdin.readline()
log.write(b"one more line\\n")
print("written", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "log"
    root.mkdir()
    return root


@pytest.fixture
def writers() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have a log open; ended when the test is over."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


def write_to(running: list[subprocess.Popen[str]], *paths: Path) -> subprocess.Popen[str]:
    """Another process that opens the first path, and renames it to the second, as logrotate does."""
    command = [sys.executable, "-c", WRITER, *map(str, paths)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    running.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def put(path: Path, *, days: float = 90, text: str = "one line of a log\n" * 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    when = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (when, when))
    return path


def context(root: Path, **settings: Any) -> RecordingContext:
    ctx = RecordingContext(settings=[Settings(roots={"logs": root}, **settings)])
    ctx.job = attrs.evolve(ctx.job, created_at=NOW)
    return ctx


def clean(root: Path, ctx: RecordingContext | None = None, **fields: Any) -> LogsResult:
    """Run the handler; more than half may go, since most trees here are tiny."""
    payload: dict[str, Any] = {"root": "logs", "max_fraction": 1.0}
    payload |= {} if fields.get("action") == "compress" else {"age": MONTH}
    return logs(Logs(**payload | fields), ctx or context(root))


def left(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    ("name", "family", "day", "number", "packed"),
    [
        ("app.log", "app.log", None, None, False),
        ("app.log.1", "app.log", None, 1, False),
        ("app.log.12.gz", "app.log", None, 12, True),
        ("app.log-20261101", "app.log-*", "2026-11-01", None, False),
        ("app.log-20261101.gz", "app.log-*", "2026-11-01", None, True),
        ("app.log-2026110117", "app.log-*", "2026-11-01", None, False),
        ("app.log-20261101-1793500000", "app.log-*", "2026-11-01", None, False),
        ("app.log.2026-11-01", "app.log.*", "2026-11-01", None, False),
        ("app.log.2026-11-01_12-30-00", "app.log.*", "2026-11-01", None, False),
        ("app-2026-11-01.log", "app-*.log", "2026-11-01", None, False),
        ("app-2026-11-01.log.3", "app-*.log", "2026-11-01", 3, False),
        ("app-2026-13-01.log", "app-2026-13-01.log", None, None, False),
        ("v20261.log", "v20261.log", None, None, False),
        ("app.log.gz", "app.log", None, None, True),
        ("app.log-20261101.gz.part", "app.log-*", "2026-11-01", None, True),
    ],
)
def test_a_name_says_family_day_and_number(
    name: str, family: str, day: str | None, number: int | None, packed: bool
) -> None:
    until = day and datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)

    assert LogName.read(name) == LogName(family, until or None, number, packed)


@given(st.text(min_size=1, max_size=60))
def test_any_name_can_be_read(name: str) -> None:
    assert LogName.read(name).family is not None


@given(st.dates(), st.sampled_from(["-", "_", ".", ""]))
def test_a_name_without_a_sign_of_rotation_is_live_and_a_dated_one_is_not(day: Any, between: str) -> None:
    if day.year < 1900 or day.year > 2099:
        return
    dated = day.strftime(f"%Y{between}%m{between}%d")

    assert LogName.read("app.log").live
    assert not LogName.read(f"app-{dated}.log").live


def test_age_is_that_of_the_day_in_the_name_and_else_that_of_the_last_write(root: Path) -> None:
    put(root / "app.log", days=0)
    put(root / "app.log-20261024", days=0)
    put(root / "app.log-20261025", days=90)
    put(root / "old.log.2", days=31)
    put(root / "old.log.1", days=29)
    put(root / "old.log", days=0)

    result = clean(root)

    assert left(root) == {"app.log", "app.log-20261025", "old.log.1", "old.log"}
    assert (result.scanned, result.families, result.deleted) == (6, 3, 2)
    assert (result.skipped.live, result.skipped.young) == (3, 1)
    assert result.bytes_before - result.bytes_after == 3600
    assert result.samples == ("old.log.2", "app.log-20261024")


def test_a_log_without_a_sign_of_rotation_stays_however_old(root: Path) -> None:
    put(root / "app.log", days=2_000)

    result = clean(root, action="compress_then_delete")

    assert left(root) == {"app.log"}
    assert result.skipped.live == 1


def test_the_newest_of_a_family_stays_since_it_may_be_the_live_one(root: Path) -> None:
    for day in (1, 2, 3):
        put(root / f"app-2025-11-0{day}.log")

    assert clean(root, action="compress_then_delete").deleted == 2
    assert left(root) == {"app-2025-11-03.log"}


def test_keep_last_keeps_so_many_of_each_family_and_compresses_them(root: Path) -> None:
    for day in range(1, 6):
        put(root / "a" / f"app-2025-11-0{day}.log")
        put(root / "b" / f"app-2025-11-0{day}.log")

    result = clean(root, action="compress_then_delete", keep_last=3)

    kept = {"app-2025-11-03.log.gz", "app-2025-11-04.log.gz", "app-2025-11-05.log"}
    assert left(root) == {f"{folder}/{name}" for folder in "ab" for name in kept}
    assert (result.deleted, result.compressed, result.skipped.kept) == (4, 4, 0)


@pytest.mark.parametrize(("codec", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_a_compressed_log_has_the_same_contents_mode_owner_and_time(
    root: Path, codec: Any, suffix: str
) -> None:
    log = put(root / "app.log-20261101", days=20, text="héllo\n" * 300_000)
    put(root / "app.log-20261120", days=3)
    log.chmod(0o640)
    before, contents = log.stat(), log.read_bytes()

    result = clean(root, action="compress", codec=codec)

    packed = root / f"app.log-20261101{suffix}"
    unpack = gzip.decompress if codec == "gzip" else packing.load_zstd().decompress
    assert left(root) == {packed.name, "app.log-20261120"}
    assert unpack(packed.read_bytes()) == contents
    after = packed.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_uid,
    )
    assert (result.compressed, result.deleted, result.errors_total) == (1, 0, 0)
    assert result.bytes_after < result.bytes_before / 10


def test_a_log_somebody_has_open_stays_even_after_it_was_renamed(
    root: Path, writers: list[subprocess.Popen[str]]
) -> None:
    put(root / "app.log", days=90)
    held = root / "app.log-20251001"
    write_to(writers, root / "app.log", held)
    os.utime(held, (0, 0))
    put(root / "app.log-20251002")
    put(root / "app.log-20251003")

    for action in ("delete", "compress", "compress_then_delete"):
        assert clean(root, action=action).skipped.open == 1

    assert "app.log-20251001" in left(root)
    assert not [path for path in left(root) if path.endswith(".part")]


@pytest.mark.parametrize("guard", ["lease", "processes"])
def test_either_guard_by_itself_finds_the_writer(
    root: Path, writers: list[subprocess.Popen[str]], guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if guard == "lease":
        monkeypatch.setattr(open_files, "_scan", set)
    else:
        monkeypatch.setattr(open_files, "_lease", lambda fd: True)
    held = put(root / "app.log-20251001")
    put(root / "app.log-20251002")
    write_to(writers, held)

    assert clean(root).skipped.open == 1
    assert held.exists()


def test_where_the_system_cannot_tell_a_log_written_today_counts_as_open(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "_lease", lambda fd: None)
    put(root / "app.log-20251001", days=0.5)
    put(root / "app.log-20251002", days=2)
    put(root / "app.log-20251003", days=0)

    result = clean(root)

    assert left(root) == {"app.log-20251001", "app.log-20251003"}
    assert (result.deleted, result.skipped.open) == (1, 1)


def test_opening_a_log_while_it_is_looked_at_ends_nobody(root: Path) -> None:
    log = put(root / "app.log-20251001")
    fd = os.open(log, os.O_RDONLY)
    try:
        with open_files.alone_with(fd) as alone:
            assert alone
            with pytest.raises(BlockingIOError):
                os.open(log, os.O_WRONLY | os.O_NONBLOCK)
    finally:
        os.close(fd)

    assert signal.getsignal(signal.SIGURG) in (signal.SIG_DFL, signal.SIG_IGN)
    os.close(os.open(log, os.O_WRONLY))


def test_a_log_written_to_while_it_is_compressed_keeps_every_line(
    root: Path, writers: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put(root / "app.log-20251001")
    put(root / "app.log-20251002")
    real = packing._dress

    def open_and_write(*args: Any) -> None:
        process = write_to(writers, log)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "written\n"
        real(*args)

    monkeypatch.setattr(packing, "_dress", open_and_write)

    result = clean(root, action="compress")

    assert left(root) == {"app.log-20251001", "app.log-20251002"}
    assert log.read_text().endswith("one more line\n")
    assert result.compressed == 0
    assert result.skipped.open + result.skipped.changed == 1


def test_a_log_replaced_while_it_is_compressed_stays_as_it_is_now(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = put(root / "app.log-20251001")
    put(root / "app.log-20251002")
    real = packing._name

    def replace(*args: Any) -> None:
        real(*args)
        log.unlink()
        log.write_text("new")

    monkeypatch.setattr(packing, "_name", replace)

    result = clean(root, action="compress")

    assert left(root) == {"app.log-20251001", "app.log-20251002"}
    assert log.read_text() == "new"
    assert (result.compressed, result.skipped.changed) == (0, 1)


def test_python_s_rotating_handler_goes_on_rotating_what_is_left(root: Path) -> None:
    handler = RotatingFileHandler(root / "app.log", maxBytes=200, backupCount=5)
    try:
        for number in range(200):
            handler.emit(logging.LogRecord("app", 20, "", 0, f"line {number}", (), None))
        for path in root.iterdir():
            os.utime(path, (0, 0))

        result = clean(root, action="compress_then_delete", age=MONTH, keep_last=3)
        handler.emit(logging.LogRecord("app", 20, "", 0, "x" * 300, (), None))
        handler.emit(logging.LogRecord("app", 20, "", 0, "after", (), None))
    finally:
        handler.close()

    assert result.compressed == 0
    assert result.deleted == 3
    assert (root / "app.log").read_text() == "after\n"
    assert "app.log.1" in left(root)


def test_numbered_logs_are_deleted_and_never_compressed(root: Path) -> None:
    put(root / "app.log", days=0)
    put(root / "app.log.1", days=10)
    put(root / "app.log.2", days=40)

    result = clean(root, action="compress_then_delete")

    assert left(root) == {"app.log", "app.log.1"}
    assert (result.deleted, result.compressed, result.skipped.numbered) == (1, 0, 1)


def test_a_dry_run_says_the_same_and_changes_nothing(
    root: Path, writers: list[subprocess.Popen[str]]
) -> None:
    for day in range(1, 10):
        put(root / f"app.log-2025110{day}")
        put(root / f"web.log-2026110{day}")
    write_to(writers, root / "app.log-20251101")
    before = left(root)

    plan = clean(root, action="compress_then_delete", dry_run=True)
    unchanged = left(root) == before
    result = clean(root, action="compress_then_delete")

    assert unchanged
    assert (plan.deleted, plan.compressed, plan.samples) == (
        result.deleted,
        result.compressed,
        result.samples,
    )
    assert plan.skipped == result.skipped
    assert plan.skipped.open == 1
    assert (result.deleted, result.compressed) == (7, 8)


def test_max_total_size_takes_the_oldest_but_none_below_the_floor(root: Path) -> None:
    for day in range(10, 20):
        put(root / f"app.log-202611{day}", text="x" * 1_000)
    put(root / "app.log", days=0, text="x" * 1_000)
    ctx = context(root, policies={"logs": Policy(min_age=timedelta(days=9))})

    result = clean(root, ctx, max_total_size=2_000)

    assert left(root) == {f"app.log-202611{day}" for day in range(15, 20)} | {"app.log"}
    assert result.deleted == 11 - len(left(root))
    assert result.bytes_after == 1_000 * len(left(root))


def test_max_total_size_counts_what_compressing_saved(root: Path) -> None:
    for day in range(10, 20):
        put(root / f"app.log-202611{day}", text="x" * 10_000)

    result = clean(root, action="compress_then_delete", max_total_size=20_000)

    assert (result.compressed, result.deleted) == (9, 0)
    assert result.bytes_after < 20_000


def test_a_full_disk_leaves_nothing_behind_and_is_tried_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root / "app.log-20261101")
    put(root / "app.log-20261102")

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing, "_dress", full)

    with pytest.raises(Retry, match=r"no room to compress 'app\.log-20261101'"):
        clean(root, action="compress")
    assert left(root) == {"app.log-20261101", "app.log-20261102"}


def test_what_does_not_read_back_as_the_same_is_thrown_away(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root / "app.log-20261101")
    put(root / "app.log-20261102")
    monkeypatch.setattr(packing.Packer, "_read_packed", lambda self, fd: (0, b""))

    with pytest.raises(Retry, match=r"EIO for 'app\.log-20261101'"):
        clean(root, action="compress")
    assert left(root) == {"app.log-20261101", "app.log-20261102"}


def test_a_run_that_died_at_any_step_is_finished_by_the_next(root: Path) -> None:
    contents = put(root / "app.log-20261101", days=20).read_bytes()
    put(root / "app.log-20261102", days=20)
    (root / "app.log-20261101.gz").write_bytes(gzip.compress(contents))
    (root / "app.log-20261102.gz.part").write_bytes(b"half")
    put(root / "app.log-20261103", days=20)

    result = clean(root, action="compress")

    assert left(root) == {"app.log-20261101.gz", "app.log-20261102.gz", "app.log-20261103"}
    assert (result.compressed, result.errors_total) == (2, 0)
    assert gzip.decompress((root / "app.log-20261101.gz").read_bytes()) == contents


def test_a_file_that_has_the_compressed_name_is_never_replaced(root: Path) -> None:
    for day in range(1, 20):
        put(root / f"app.log-202610{day:02}")
    (root / "app.log-20261001.gz").write_bytes(b"somebody else's")

    result = clean(root, action="compress")

    assert (root / "app.log-20261001.gz").read_bytes() == b"somebody else's"
    assert (root / "app.log-20261001").exists()
    assert [(error.path, error.code) for error in result.errors] == [("app.log-20261001", "EEXIST")]


def test_a_cancelled_job_leaves_no_half_file(root: Path) -> None:
    put(root / "app.log-20261101", text="x" * 5_000_000)
    put(root / "app.log-20261102")
    ctx = RecordingContext(settings=[Settings(roots={"logs": root})], cancel_after=4)
    ctx.job = attrs.evolve(ctx.job, created_at=NOW)

    with pytest.raises(JobCancelled):
        clean(root, ctx, action="compress")

    assert left(root) == {"app.log-20261101", "app.log-20261102"}


def test_when_the_time_is_over_the_job_goes_on_in_a_new_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(1, 10):
        put(root / f"app.log-2026100{day}")
    ticks = iter(range(10_000))
    monkeypatch.setattr(log_sweep.OpenFiles, "seen", lambda *args: False)
    monkeypatch.setattr("cgjobs_cleanup.handlers.monotonic", lambda: next(ticks))

    with pytest.raises(Snooze, match="1 of 8 logs done, going on"):
        clean(root, max_duration=timedelta(seconds=1))
    while True:
        with contextlib.suppress(Snooze):
            clean(root, max_duration=timedelta(seconds=3))
            break

    assert left(root) == {"app.log-20261009"}


def test_max_items_stops_and_says_so(root: Path) -> None:
    for day in range(1, 10):
        put(root / f"app.log-2026100{day}")

    result = clean(root, max_items=3)

    assert (result.deleted, result.stopped_by) == (3, "max_items")
    assert "app.log-20261004" in left(root)


def test_more_than_the_fraction_is_refused_with_the_numbers(root: Path) -> None:
    for day in range(1, 10):
        put(root / f"app.log-2026100{day}")

    with pytest.raises(Discard, match=r"8 of 9 files of root 'logs' \(89%\) are to be deleted"):
        clean(root, max_fraction=0.5)
    with pytest.raises(Discard, match="8 of 9"):
        clean(root, age=timedelta(days=400), max_total_size=0, max_fraction=0.5)
    assert len(left(root)) == 9
    assert clean(root, max_fraction=0.5, confirm_fraction=True).deleted == 8


def test_an_age_below_the_floor_is_refused(root: Path) -> None:
    ctx = context(root, policies={"logs": Policy(min_age=timedelta(days=60))})

    with pytest.raises(Discard, match="below the 60 days"):
        clean(root, ctx)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"age": None}, "action 'delete' needs an age"),
        ({"age": None, "action": "compress_then_delete"}, "needs an age"),
        ({"action": "compress"}, "action 'compress' deletes nothing"),
        ({"age": None, "action": "compress", "max_total_size": 1}, "deletes nothing"),
        ({"action": "shred"}, "action"),
        ({"codec": "rar"}, "codec"),
        ({"keep_last": 0}, "keep_last"),
        ({"max_total_size": -1}, "max_total_size"),
        ({"pattern": ()}, "pattern is empty"),
        ({"compress_after": timedelta(0)}, "compress_after is 0:00:00"),
    ],
)
def test_a_payload_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Logs(**{"root": "logs", "age": MONTH, **fields})

"""`maintenance.vacuum` on real SQLite files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cgjobs import Discard, JobCancelled, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_maintenance import Settings, Vacuum, VacuumResult, vacuuming
from cgjobs_maintenance.handlers import vacuum

PLENTY = 10**15


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def fill(path: Path, *pragmas: str, rows: int = 2_000) -> Path:
    """A database of which four fifths have been deleted."""
    with opened(path) as db:
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, author INT, text TEXT)")
        db.execute("CREATE INDEX by_author ON message (author)")
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO message VALUES (?, ?, ?)", ((n, n % 7, f"{n} " + "x" * 500) for n in range(rows))
        )
        db.execute("COMMIT")
        db.execute("DELETE FROM message WHERE id % 5 > 0")
    return path


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return fill(tmp_path / "app.sqlite3")


def context(path: Path, **options: Any) -> RecordingContext:
    return RecordingContext(settings=[Settings(databases={"app": path})], **options)


def run(path: Path, **fields: Any) -> VacuumResult:
    return vacuum(Vacuum("app", **fields), context(path))


def rows(path: Path) -> list[Any]:
    with opened(path) as db:
        return db.execute("SELECT * FROM message ORDER BY id").fetchall()


def is_sound(path: Path) -> bool:
    with opened(path) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def test_a_full_vacuum_gives_the_space_back_and_keeps_the_rows(app: Path) -> None:
    kept = rows(app)

    result = run(app)

    assert result.bytes_after == app.stat().st_size < result.bytes_before / 2
    assert result.freelist_before > 0
    assert (result.freelist_after, result.wal_bytes) == (0, 0)
    assert (result.mode, result.checkpointed, result.integrity) == ("full", True, "ok")
    assert rows(app) == kept


def test_a_full_vacuum_leaves_no_large_log_behind(tmp_path: Path) -> None:
    app = fill(tmp_path / "app.sqlite3", "journal_mode=WAL")
    with opened(app) as idle:  # a connection that stays keeps SQLite from removing the log by itself
        idle.execute("SELECT count(*) FROM message").fetchone()

        result = run(app)

        assert (result.wal_bytes, result.checkpointed) == (0, True)
        assert app.with_name("app.sqlite3-wal").stat().st_size == 0


def test_an_open_reader_delays_only_the_emptying_of_the_log(tmp_path: Path) -> None:
    app = fill(tmp_path / "app.sqlite3", "journal_mode=WAL")
    with opened(app) as reader:
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM message").fetchone()

        result = run(app, lock_timeout=timedelta(0))

        assert (result.checkpointed, result.freelist_after) == (False, 0)
        assert result.wal_bytes > 0
        assert reader.execute("SELECT count(*) FROM message").fetchone() == seen
        reader.execute("COMMIT")
    assert run(app).checkpointed


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
@pytest.mark.parametrize("mode", ["full", "incremental", "optimize"])
def test_an_open_writer_means_trying_again_later(tmp_path: Path, journal: str, mode: str) -> None:
    app = fill(tmp_path / "app.sqlite3", "auto_vacuum=INCREMENTAL", f"journal_mode={journal}")
    with opened(app) as writer:
        writer.execute("BEGIN IMMEDIATE")

        with pytest.raises(Retry, match="'app' was locked while"):
            run(app, mode=mode, lock_timeout=timedelta(0))


def test_a_lock_on_the_whole_file_means_trying_again_later(app: Path) -> None:
    with opened(app) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        with pytest.raises(Retry, match="while opening"):
            run(app, lock_timeout=timedelta(0))


def test_a_cancelled_vacuum_stops_midway_and_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    app = fill(tmp_path / "app.sqlite3", rows=40_000)
    copy = tmp_path / "copy.sqlite3"
    copy.write_bytes(app.read_bytes())
    whole = context(copy)
    vacuum(Vacuum("app"), whole)
    steps = [report.message for report in whole.reports]
    assert steps.count("vacuuming") > 3, "the test's database is too small to be interrupted"
    size = app.stat().st_size

    with pytest.raises(JobCancelled):
        vacuum(Vacuum("app"), context(app, cancel_after=steps.index("vacuuming") + 2))

    assert app.stat().st_size == size
    assert is_sound(app)
    assert rows(app) == rows(copy)


def test_progress_of_a_full_vacuum_is_a_word_and_no_percentage(tmp_path: Path) -> None:
    app = fill(tmp_path / "app.sqlite3", rows=20_000)
    ctx = context(app)

    vacuum(Vacuum("app"), ctx)

    assert {report.total for report in ctx.reports} == {None}
    assert ctx.reports[-1].message == "vacuuming"


def with_clock(
    path: Path, payload: Vacuum, seconds: float, free: Callable[[Path], int] = lambda directory: PLENTY
) -> VacuumResult:
    """One run with a clock that goes on by this much each time it is read."""
    ticks = iter(range(10**6))
    clock = lambda: next(ticks) * seconds  # noqa: E731
    return vacuuming.Vacuuming(path, payload, context(path), clock=clock, free_space=free).run()


def test_a_full_vacuum_that_takes_too_long_is_stopped_for_good(tmp_path: Path) -> None:
    app = fill(tmp_path / "app.sqlite3", rows=20_000)
    before = rows(app)

    with pytest.raises(Discard, match=r"did not end within 0:00:10 and was stopped"):
        with_clock(app, Vacuum("app", max_duration=timedelta(seconds=10)), seconds=60)

    assert is_sound(app)
    assert rows(app) == before


def test_a_disk_without_room_for_twice_the_file_is_refused(app: Path) -> None:
    size = app.stat().st_size

    with pytest.raises(Discard, match=f"may need {2 * size:,} bytes, .* has {2 * size - 1:,} left"):
        with_clock(app, Vacuum("app"), 0, free=lambda directory: 2 * size - 1)

    assert with_clock(app, Vacuum("app"), 0, free=lambda directory: 2 * size).freelist_after == 0


def test_an_incremental_vacuum_gives_back_every_free_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuuming, "PAGES", 50)
    app = fill(tmp_path / "app.sqlite3", "auto_vacuum=INCREMENTAL")
    ctx = context(app)

    result = vacuum(Vacuum("app", mode="incremental"), ctx)

    assert result.freelist_before > 100
    assert (result.freelist_after, result.checkpointed) == (0, True)
    assert result.bytes_after < result.bytes_before
    done = [report.done for report in ctx.reports if report.message == "giving pages back"]
    assert done == sorted(done)
    assert done[-1] == ctx.reports[-1].total
    assert is_sound(app)


def test_an_incremental_vacuum_that_takes_too_long_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuuming, "PAGES", 100)
    app = fill(tmp_path / "app.sqlite3", "auto_vacuum=INCREMENTAL")
    payload = Vacuum("app", mode="incremental", max_duration=timedelta(seconds=10))
    runs = 1

    while True:
        try:
            result = with_clock(app, payload, seconds=60)
            break
        except Snooze:
            runs += 1

    assert runs > 1
    assert result.freelist_after == 0


def test_incremental_is_refused_where_sqlite_would_silently_do_nothing(app: Path) -> None:
    with pytest.raises(Discard, match="does not have auto_vacuum=INCREMENTAL"):
        run(app, mode="incremental")


def test_optimize_tells_the_planner_about_tables_that_nobody_has_queried_yet(app: Path) -> None:
    result = run(app, mode="optimize")

    with opened(app) as db:
        statistics = db.execute("SELECT idx FROM sqlite_stat1").fetchall()
    assert ("by_author",) in statistics
    assert result.bytes_after >= result.bytes_before
    assert result.integrity is None


def test_a_missing_file_is_refused_and_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "missing.sqlite3"

    with pytest.raises(Discard, match=r"where no file is; correct \[plugins.maintenance.databases\] app"):
        run(missing)

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_goes_away_before_it_is_opened_is_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "missing.sqlite3"

    with pytest.raises(Discard, match="unable to open database file"):
        with_clock(missing, Vacuum("app"), 0)

    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Discard, match="where no file is"):
        run(tmp_path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, though long enough to have a header of one" * 100)
    before = text.read_bytes()

    with pytest.raises(Discard, match="file is not a database; configure the path of a SQLite database"):
        run(text)

    assert text.read_bytes() == before


def test_a_damaged_database_is_left_alone(app: Path) -> None:
    with opened(app) as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'message'").fetchone()[0]
    data = bytearray(app.read_bytes())
    data[(page - 1) * 4096 + 8 : page * 4096] = b"\xff" * (4096 - 8)
    app.write_bytes(data)

    with pytest.raises(Discard, match=r"\.recover"):
        run(app)

    assert app.read_bytes() == data


def test_a_link_is_followed_to_its_file(app: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(app)

    assert run(link).bytes_after == app.stat().st_size
    assert link.is_symlink()


def test_a_name_with_signs_of_a_uri_is_a_name(tmp_path: Path) -> None:
    app = fill(tmp_path / "a?mode=memory#b%20c.sqlite3")

    assert run(app).freelist_after == 0


def test_an_unknown_database_is_refused_with_the_known_ones(app: Path) -> None:
    with pytest.raises(Discard, match=r"no database is named 'ap' .* there are: app"):
        vacuum(Vacuum("ap"), context(app))

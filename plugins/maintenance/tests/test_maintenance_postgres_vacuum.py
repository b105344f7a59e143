"""`maintenance.vacuum` on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import psycopg
import pytest

from cgjobs import Discard, JobCancelled, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_data import Database, Notice
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import Settings, TablesVacuumed, Vacuum, postgres_vacuum
from cgjobs_maintenance.handlers import vacuum
from cgjobs_maintenance.postgres_vacuum import PostgresVacuum, told
from cgjobs_maintenance.results import TableVacuumed


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def fill(url: str, name: str, rows: int, *, keep: int = 5) -> None:
    """A table of which all rows but every fifth have been deleted, and which autovacuum leaves alone."""
    with connected(url) as db:
        db.execute(
            f"CREATE TABLE {name} (id int PRIMARY KEY, t text) WITH (autovacuum_enabled = false)".encode()
        )
        db.execute(
            f"INSERT INTO {name} SELECT n, repeat('x', 100) FROM generate_series(1, {rows}) n".encode()
        )
        db.execute(f"DELETE FROM {name} WHERE id % {keep} > 0".encode())


def context(url: str, **options: Any) -> RecordingContext:
    return RecordingContext(settings=[Settings(databases={"app": url}), DataSettings()], **options)


def run(url: str, ctx: RecordingContext | None = None, **fields: Any) -> TablesVacuumed:
    with ctx or context(url) as ctx:
        result = vacuum(Vacuum("app", **fields), ctx)
    assert isinstance(result, TablesVacuumed)
    return result


def one(url: str, ctx: RecordingContext | None = None, **fields: Any) -> TableVacuumed:
    (table,) = run(url, ctx, **fields).tables
    return table


def test_dead_rows_go_and_the_counts_are_told(postgres: str) -> None:
    fill(postgres, "messages", 1_000)
    ctx = context(postgres)

    table = one(postgres, ctx, tables=("messages",))

    assert (table.name, table.outcome) == ("public.messages", "ok")
    assert (table.dead_before, table.dead_after, table.not_removable) == (800, 0, 0)
    assert table.bytes_before > 0
    assert table.xmin_holder is None
    with connected(postgres) as db:
        row = db.execute("SELECT vacuum_count, analyze_count FROM pg_stat_user_tables").fetchone()
    assert row == (1, 1)
    assert ctx.reports[-1].done == ctx.reports[-1].total == 1
    assert ctx.lines[-1].event == "tables_vacuumed"


def test_auto_takes_the_tables_that_have_many_dead_rows(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_vacuum, "_AUTO_ROWS", 1_000)  # a tenth, to be quick
    fill(postgres, "few", 1_000)
    fill(postgres, "many", 1_400)
    fill(postgres, "more", 2_000, keep=2_001)
    fill(postgres, "spread", 1_100, keep=1_101)
    with connected(postgres) as db:
        db.execute("INSERT INTO spread SELECT n, '' FROM generate_series(2000, 20000) n")

    names = [table.name for table in run(postgres).tables]

    assert names == ["public.more", "public.many"]


def test_a_table_that_there_is_not_is_named_with_all_others_before_anything_is_done(postgres: str) -> None:
    fill(postgres, "messages", 100)

    with pytest.raises(Discard, match=r"there is no table 'nowhere', 'public\.x; DROP TABLE messages'"):
        run(postgres, tables=("messages", "nowhere", "public.x; DROP TABLE messages"))
    with connected(postgres) as db:
        assert db.execute("SELECT vacuum_count FROM pg_stat_user_tables").fetchone() == (0,)


def test_a_name_with_quotes_and_spaces_is_a_name(postgres: str) -> None:
    fill(postgres, '"Odd ""name"" x"', 100)

    assert one(postgres, tables=('Odd "name" x',)).outcome == "ok"


def test_a_table_that_is_not_ours_is_told_as_skipped_not_as_done(postgres: str) -> None:
    fill(postgres, "messages", 100)
    with connected(postgres) as db:
        db.execute("DROP ROLE IF EXISTS cgj_vac")
        db.execute("CREATE ROLE cgj_vac LOGIN")
        db.execute("CREATE TABLE mine (id int)")
        db.execute("ALTER TABLE mine OWNER TO cgj_vac")
    stranger = postgres.replace("postgres:@", "cgj_vac:@")
    assert stranger != postgres

    both = run(stranger, tables=("messages", "mine"))
    with pytest.raises(Discard, match=r"may vacuum none of public\.messages; .*MAINTAIN"):
        run(stranger, tables=("messages",))

    assert [table.outcome for table in both.tables] == ["skipped_permission", "ok"]
    assert "permission denied" in both.tables[0].message
    with connected(postgres) as db:
        db.execute("DROP TABLE mine")
        db.execute("DROP ROLE cgj_vac")


@pytest.mark.parametrize("mode", ["SHARE UPDATE EXCLUSIVE", "ACCESS EXCLUSIVE"])
def test_a_locked_table_is_passed_by_and_told_or_tried_later(postgres: str, mode: str) -> None:
    fill(postgres, "messages", 100)
    fill(postgres, "users", 100)
    with psycopg.connect(postgres) as other:
        other.execute(f"LOCK TABLE messages IN {mode} MODE".encode())

        both = run(postgres, tables=("messages", "users"))
        with pytest.raises(Retry, match="55P03"):
            run(postgres, tables=("messages",), skip_locked=False, lock_timeout=timedelta(milliseconds=50))

    assert [table.outcome for table in both.tables] == ["skipped_locked", "ok"]


def test_who_holds_an_old_snapshot_is_named(postgres: str) -> None:
    fill(postgres, "messages", 100, keep=101)
    with psycopg.connect(postgres, application_name="nightly-export") as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM pg_class")
        with connected(postgres) as db:
            db.execute("INSERT INTO messages SELECT n, '' FROM generate_series(1000, 1100) n")
            db.execute("DELETE FROM messages WHERE id >= 1000")

        table = one(postgres, tables=("messages",))

    assert table.not_removable == 101
    assert table.xmin_holder is not None
    assert "nightly-export" in table.xmin_holder


def test_when_nothing_could_be_removed_it_is_not_called_done(postgres: str) -> None:
    with connected(postgres) as db:
        db.execute("CREATE TABLE messages (id int) WITH (autovacuum_enabled = false)")
        db.execute("INSERT INTO messages SELECT generate_series(1, 200)")
    with psycopg.connect(postgres) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM messages")
        with connected(postgres) as db:
            db.execute("DELETE FROM messages")

        table = one(postgres, tables=("messages",))

    assert (table.outcome, table.not_removable) == ("nothing_removable", 200)


def test_full_needs_a_second_word_and_gives_the_space_back(postgres: str) -> None:
    fill(postgres, "messages", 5_000)
    with pytest.raises(ValueError, match="set confirm_full"):
        Vacuum("app", full=True)

    plain = one(postgres, tables=("messages",))
    full = one(postgres, tables=("messages",), full=True, confirm_full=True)

    assert plain.bytes_after > full.bytes_after
    assert full.outcome == "ok"


def test_a_statement_that_takes_too_long_is_stopped(postgres: str) -> None:
    fill(postgres, "messages", 100)

    with psycopg.connect(postgres) as other:
        other.execute("LOCK TABLE messages IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(Retry, match="57014"):
            run(
                postgres,
                tables=("messages",),
                skip_locked=False,
                statement_timeout=timedelta(milliseconds=100),
                lock_timeout=timedelta(seconds=30),
            )


def test_a_cancelled_job_stops_the_statement_that_runs(postgres: str) -> None:
    fill(postgres, "messages", 100)
    with psycopg.connect(postgres) as other:
        other.execute("LOCK TABLE messages IN SHARE UPDATE EXCLUSIVE MODE")  # the vacuum waits behind it
        ctx = context(postgres, cancel_after=1)

        with pytest.raises(JobCancelled):
            run(postgres, ctx, tables=("messages",), skip_locked=False, lock_timeout=timedelta(minutes=1))

        assert ctx.reports[0].message == "public.messages: waiting"


def test_how_far_a_table_is_is_told_while_it_is_vacuumed(postgres: str) -> None:
    fill(postgres, "messages", 60_000)
    ctx = context(postgres)
    name = psycopg.conninfo.conninfo_to_dict(postgres)["dbname"]
    with connected(postgres) as db:
        for setting in ("vacuum_cost_delay = '10ms'", "vacuum_cost_limit = 10"):
            db.execute(f"ALTER DATABASE {name} SET {setting}".encode())

    run(postgres, ctx, tables=("messages",))

    during = [report for report in ctx.reports if "scanning heap" in report.message]
    assert during, ctx.reports
    assert 0 < during[-1].done < 1
    assert [report.done for report in ctx.reports] == sorted(report.done for report in ctx.reports)


def test_autovacuum_on_a_table_is_left_alone(postgres: str) -> None:
    fill(postgres, "messages", 40_000)
    with connected(postgres) as db:
        # The worker sleeps for a second after almost every page.
        db.execute(
            "ALTER TABLE messages SET (autovacuum_enabled = true, autovacuum_vacuum_cost_delay = 100, "
            "autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 0, "
            "autovacuum_vacuum_scale_factor = 0)"
        )
        naptime(db, "1s")
        try:
            deadline = datetime.now(UTC) + timedelta(seconds=60)
            while not db.execute(
                "SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = 'messages'::regclass"
            ).fetchone():
                assert datetime.now(UTC) < deadline, "autovacuum does not come"

            table = one(postgres, tables=("messages",))

            assert table.outcome == "skipped_autovacuum"
        finally:
            naptime(db, "1min")


def naptime(db: psycopg.Connection, value: str) -> None:
    db.execute(f"ALTER SYSTEM SET autovacuum_naptime = '{value}'".encode())
    db.execute("SELECT pg_reload_conf()")


def at(hour: int) -> datetime:
    return datetime(2026, 11, 24, hour, 30, tzinfo=UTC)


def vacuuming(url: str, payload: Vacuum, ctx: RecordingContext, **options: Any) -> PostgresVacuum:
    return PostgresVacuum(ctx.use(Database, ctx.settings(Settings).servers["app"]), payload, ctx, **options)


def test_outside_its_window_it_waits_until_it_opens(postgres: str) -> None:
    fill(postgres, "messages", 100)
    with context(postgres) as ctx, pytest.raises(Snooze) as waits:
        vacuuming(
            postgres, Vacuum("app", tables=("messages",), window="01:00-05:00"), ctx, now=lambda: at(23)
        ).run()

    assert waits.value.after == timedelta(hours=1, minutes=30)


def test_a_window_that_closes_midway_lets_the_rest_wait(postgres: str) -> None:
    for name in ("a", "b"):
        fill(postgres, name, 100)
    payload = Vacuum("app", tables=("a", "b"), window="01:00-05:00")
    times = iter([at(4), at(4), at(5)])
    with context(postgres) as ctx, pytest.raises(Snooze):
        vacuuming(postgres, payload, ctx, now=lambda: next(times)).run()

    with context(postgres, checkpoint=ctx.checkpoints[-1]) as going_on:
        result = vacuuming(postgres, payload, going_on, now=lambda: at(1)).run()

    assert [table.name for table in result.tables] == ["public.a", "public.b"]
    with connected(postgres) as db:
        counts = db.execute("SELECT vacuum_count FROM pg_stat_user_tables").fetchall()
    assert counts == [(1,), (1,)]


def test_after_max_duration_the_next_run_goes_on(postgres: str) -> None:
    for name in ("a", "b"):
        fill(postgres, name, 100)
    ticks = iter(range(100))
    payload = Vacuum("app", tables=("a", "b"), max_duration=timedelta(seconds=4))
    with context(postgres) as ctx, pytest.raises(Snooze, match="1 of 2 done"):
        vacuuming(postgres, payload, ctx, now=lambda: at(1), clock=lambda: float(next(ticks))).run()

    assert [each["name"] for each in ctx.checkpoints[-1]["done"]] == ["public.a"]


def test_chatgenius_is_the_database_of_the_data_plugin(postgres: str) -> None:
    fill(postgres, "messages", 100)
    with RecordingContext(settings=[Settings(), DataSettings(url=postgres)]) as ctx:
        result = vacuum(Vacuum("chatgenius", tables=("messages",)), ctx)

    assert isinstance(result, TablesVacuumed)
    assert result.tables[0].outcome == "ok"


def test_a_mode_of_sqlite_is_refused(postgres: str) -> None:
    with pytest.raises(Discard, match="mode='full' is for SQLite"):
        run(postgres, mode="full")


def test_the_password_of_a_url_is_not_shown() -> None:
    settings = Settings(databases={"app": "postgresql://app:s3cret@127.0.0.1:1/app"})

    with context("postgresql://app:s3cret@127.0.0.1:1/app") as ctx, pytest.raises(Retry) as caught:
        vacuum(Vacuum("app"), ctx)

    assert "s3cret" not in repr(settings) + str(caught.value)
    assert attrs.fields_dict(Settings)["databases"].repr is False


def test_a_warning_about_something_else_leaves_what_was_done_done() -> None:
    odd = Notice("WARNING", "01000", "cutoff for removing and freezing tuples is far in the past")
    denied = Notice("WARNING", "01000", "keine Berechtigung, überspringe »messages«")
    locked = Notice("WARNING", "55P03", "skipping vacuum", "lock not available")

    assert told([Notice("INFO", "00000", "finished"), odd], worked=True) == ("ok", odd.message)
    assert told([denied], worked=False) == ("skipped_permission", denied.message)
    assert told([locked], worked=False) == ("skipped_locked", "skipping vacuum lock not available")
    assert told([], worked=False) == ("ok", "")

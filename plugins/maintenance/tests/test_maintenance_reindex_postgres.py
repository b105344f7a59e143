"""`maintenance.reindex` on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from cgjobs import Discard, JobCancelled, Retry
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import Reindex, ReindexResult, Settings, postgres_reindex
from cgjobs_maintenance.handlers import reindex


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def app(postgres: str) -> str:
    """A table of messages with three indexes."""
    with connected(postgres) as db:
        db.execute("CREATE TABLE messages (id int PRIMARY KEY, author int, body text)")
        db.execute("INSERT INTO messages SELECT n, n % 7, 'word' || n % 100 FROM generate_series(1, 2000) n")
        db.execute("CREATE INDEX by_author ON messages (author)")
        db.execute("CREATE INDEX by_body ON messages USING gin (to_tsvector('simple', body))")
    return postgres


def context(url: str, **options: Any) -> RecordingContext:
    return RecordingContext(settings=[Settings(databases={"app": url}), DataSettings()], **options)


def run(url: str, ctx: RecordingContext | None = None, **fields: Any) -> ReindexResult:
    with ctx or context(url) as ctx:
        return reindex(Reindex("app", **fields), ctx)  # type: ignore[no-any-return]


def indexes(url: str) -> dict[str, bool]:
    with connected(url) as db:
        rows = db.execute(
            "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE i.indrelid = 'messages'::regclass ORDER BY 1"
        ).fetchall()
    return dict(rows)


SOUND = {"by_author": True, "by_body": True, "messages_pkey": True}


def leave_behind(url: str) -> str:
    """What an aborted run leaves: an invalid index."""
    with psycopg.connect(url) as writer, connected(url) as db:
        writer.execute("INSERT INTO messages VALUES (0, 0, '')")
        db.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            db.execute("REINDEX INDEX CONCURRENTLY by_author")
        writer.rollback()
    (name,) = [name for name, valid in indexes(url).items() if not valid]
    return name


def test_an_index_is_rebuilt_while_it_stays_in_use(app: str) -> None:
    ctx = context(app)
    result = run(app, ctx, indexes=("by_author", "public.by_body"))

    assert [(index.name, index.outcome) for index in result.indexes] == [
        ("public.by_author", "ok"),
        ("public.by_body", "ok"),
    ]
    assert all(index.bytes_before > 0 < index.bytes_after for index in result.indexes)
    assert result.swept_invalid == ()
    assert indexes(app) == SOUND
    assert ctx.reports[-1].done == 2


def test_what_aborted_runs_left_is_swept(app: str) -> None:
    left = leave_behind(app)

    result = run(app)

    assert result.swept_invalid == (f"public.{left}",)
    assert result.indexes == ()
    assert indexes(app) == SOUND


def test_a_lock_timeout_leaves_no_invalid_index_and_is_tried_later(app: str) -> None:
    with psycopg.connect(app) as writer:
        writer.execute("INSERT INTO messages VALUES (0, 0, '')")
        ctx = context(app)
        with pytest.raises(Retry, match="55P03"):
            run(app, ctx, indexes=("by_author",), lock_timeout=timedelta(milliseconds=50))
        kept = [line for line in ctx.lines if line.event == "invalid_index_kept"]
        writer.rollback()

    # While the writer is there even the sweep waits for it in vain: the next run gets it.
    assert kept
    assert run(app).swept_invalid
    assert indexes(app) == SOUND


def test_a_cancelled_job_stops_the_statement_and_sweeps(app: str) -> None:
    with psycopg.connect(app) as writer:
        writer.execute("INSERT INTO messages VALUES (0, 0, '')")
        with pytest.raises(JobCancelled):
            run(app, context(app, cancel_after=1), indexes=("by_author",), lock_timeout=timedelta(seconds=2))
        writer.rollback()
    run(app)

    assert indexes(app) == SOUND


def test_who_it_waits_for_is_told(app: str) -> None:
    ctx = context(app, cancel_after=3)
    with psycopg.connect(app) as writer:
        writer.execute("INSERT INTO messages VALUES (0, 0, '')")
        with pytest.raises(JobCancelled):
            run(app, ctx, indexes=("by_author",), lock_timeout=timedelta(seconds=5))

    assert any("waiting for writers" in report.message for report in ctx.reports)


def test_auto_takes_invalid_and_bloated_indexes(app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_reindex, "_AUTO_PAGES", 128)  # a tenth, to be quick
    with connected(app) as db:
        db.execute("CREATE TABLE big (id int, pad int) WITH (autovacuum_enabled = false)")
        db.execute("CREATE INDEX big_id ON big (id)")
        db.execute("CREATE INDEX big_pad ON big (pad)")
        db.execute("INSERT INTO big SELECT n, 1 FROM generate_series(1, 65000) n")
        db.execute("DELETE FROM big WHERE id % 10 > 0")
        db.execute("VACUUM ANALYZE big")
        db.execute("INSERT INTO messages VALUES (5000, 7, '')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            db.execute("CREATE UNIQUE INDEX CONCURRENTLY unique_author ON messages (author)")
        db.execute("DELETE FROM messages WHERE id > 7")

    result = run(app)

    assert {index.name for index in result.indexes} == {"public.unique_author", "public.big_id"}
    bloated = next(index for index in result.indexes if index.name == "public.big_id")
    assert bloated.bytes_after < bloated.bytes_before / 5
    assert run(app).indexes == ()


def test_an_index_that_there_is_not_is_named(app: str) -> None:
    with pytest.raises(Discard, match=r"there is no index 'by_x', 'other\.by_author' in the database"):
        run(app, indexes=("by_x", "by_author", "other.by_author"))


def test_an_exclusion_constraint_cannot_be_rebuilt_this_way_and_is_told_so(app: str) -> None:
    with connected(app) as db:
        db.execute("CREATE TABLE slots (during int4range, EXCLUDE USING gist (during WITH &&))")

    (index,) = run(app, indexes=("slots_during_excl",)).indexes

    assert index.outcome == "unsupported"
    assert index.message


def test_another_attempt_goes_on_after_the_last_index_that_was_done(app: str) -> None:
    ctx = context(app)
    run(app, ctx, indexes=("by_author", "by_body"))
    half = next(saved for saved in ctx.checkpoints if len(saved["done"]) == 1)
    with connected(app) as db:
        before = db.execute("SELECT 'by_author'::regclass::oid, 'by_body'::regclass::oid").fetchone()
        files = db.execute(
            "SELECT pg_relation_filenode('by_author'), pg_relation_filenode('by_body')"
        ).fetchone()

    result = run(app, context(app, checkpoint=half), indexes=("by_author", "by_body"))

    with connected(app) as db:
        after = db.execute(
            "SELECT pg_relation_filenode('by_author'), pg_relation_filenode('by_body')"
        ).fetchone()
    assert before is not None
    assert files is not None
    assert after is not None
    assert (files[0] == after[0], files[1] == after[1]) == (True, False)
    assert [index.name for index in result.indexes] == ["public.by_author", "public.by_body"]


def test_drop_index_is_for_search_servers(app: str) -> None:
    with pytest.raises(Discard, match="drop_index is for search servers"):
        run(app, drop_index="by_author")

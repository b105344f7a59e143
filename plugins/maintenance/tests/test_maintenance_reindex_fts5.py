"""`maintenance.reindex` on real SQLite files with FTS5."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cgjobs import Discard, JobCancelled, Retry
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import Reindex, ReindexResult, Settings
from cgjobs_maintenance.handlers import reindex


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Two external-content indexes: one that agrees with its table and one that has drifted from it."""
    path = tmp_path / "app.sqlite3"
    with opened(path) as db:
        db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT)")
        db.execute("INSERT INTO messages (body) VALUES ('hello world'), ('good morning')")
        for name in ("sound", "drifted"):
            db.execute(
                f"CREATE VIRTUAL TABLE {name} USING fts5(body, content='messages', content_rowid='id')"
            )
            db.execute(f"INSERT INTO {name}({name}) VALUES('rebuild')")
        db.execute("INSERT INTO messages (body) VALUES ('a third')")
        db.execute("INSERT INTO sound(rowid, body) VALUES (3, 'a third')")
    return path


def context(path: Path, **options: Any) -> RecordingContext:
    return RecordingContext(settings=[Settings(databases={"app": str(path)}), DataSettings()], **options)


def run(path: Path, ctx: RecordingContext | None = None, **fields: Any) -> ReindexResult:
    return reindex(Reindex("app", **fields), ctx or context(path))  # type: ignore[no-any-return]


def found(path: Path, index: str, word: str) -> list[int]:
    with opened(path) as db:
        return [row[0] for row in db.execute(f"SELECT rowid FROM {index}(?)", (word,))]


def test_what_has_drifted_is_rebuilt_and_what_is_sound_is_left_alone(app: Path) -> None:
    assert found(app, "drifted", "third") == []

    result = run(app)

    outcomes = {index.name: (index.outcome, index.drifted) for index in result.indexes}
    assert outcomes == {"sound": ("sound", None), "drifted": ("ok", True)}
    assert found(app, "drifted", "third") == [3]
    assert [index.outcome for index in run(app).indexes] == ["sound", "sound"]


def test_an_index_that_is_named_is_rebuilt_whether_or_not_it_has_drifted(app: Path) -> None:
    (index,) = run(app, indexes=("sound",)).indexes

    assert (index.outcome, index.drifted) == ("ok", False)
    assert index.bytes_after > 0


def test_an_index_that_there_is_not_is_named(app: Path) -> None:
    with pytest.raises(Discard, match="there is no FTS5 index 'messages'; there are: sound, drifted"):
        run(app, indexes=("messages",))


def test_an_index_without_content_cannot_be_rebuilt_and_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "app.sqlite3"
    with opened(path) as db:
        db.execute("CREATE VIRTUAL TABLE bare USING fts5(body, content='')")

    (index,) = run(path, indexes=("bare",)).indexes

    assert index.outcome == "unsupported"


def test_a_writer_means_trying_again_later(app: Path) -> None:
    with opened(app) as writer:
        writer.execute("BEGIN IMMEDIATE")

        with pytest.raises(Retry, match="'app' was locked"):
            run(app, lock_timeout=timedelta(0))


def test_a_cancelled_rebuild_leaves_the_old_index(tmp_path: Path) -> None:
    path = tmp_path / "app.sqlite3"
    with opened(path) as db:
        db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT)")
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO messages SELECT i, 'word' || i || ' and more' FROM n"
        )
        db.execute("CREATE VIRTUAL TABLE found USING fts5(body, content='messages', content_rowid='id')")
        db.execute("INSERT INTO found(found) VALUES('rebuild')")

    ctx = context(path, cancel_after=1)
    with pytest.raises(JobCancelled):
        run(path, ctx, indexes=("found",))

    assert found(path, "found", "word77") == [77]
    assert ctx.reports[0].message.startswith("found: ")


def test_the_demos_search_index_is_sound(demo_database: DataSettings) -> None:
    with RecordingContext(settings=[Settings(), demo_database]) as ctx:
        result: ReindexResult = reindex(Reindex("chatgenius"), ctx)

    assert result.indexes
    assert {index.outcome for index in result.indexes} == {"sound"}


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "app.sqlite3"
    path.write_text("no database at all, but long enough to look at " * 50)

    with pytest.raises(Discard, match="is not a database"):
        run(path)

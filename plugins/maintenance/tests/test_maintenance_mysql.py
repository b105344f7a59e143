"""`maintenance.vacuum` and `maintenance.reindex` on a real MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pymysql
import pytest

from cgjobs import Discard, Retry
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import Reindex, ReindexResult, Settings, TablesVacuumed, Vacuum
from cgjobs_maintenance.handlers import reindex, vacuum
from cgjobs_maintenance.mysql_optimize import _told


@contextmanager
def connected(url: str) -> Iterator[Any]:
    place, _, name = url.rpartition("/")
    port = int(place.rpartition(":")[2])
    with (
        pymysql.connect(
            host="127.0.0.1", port=port, user="root", database=name, autocommit=True
        ) as connection,
        connection.cursor() as cursor,
    ):
        yield cursor


def fill(url: str, name: str, rows: int) -> None:
    with connected(url) as db:
        db.execute(f"CREATE TABLE `{name}` (id INT PRIMARY KEY, t TEXT, FULLTEXT KEY `by_{name}` (t))")
        db.execute(f"INSERT INTO `{name}` SELECT seq, repeat('word ', 200) FROM seq_1_to_{rows}")
        db.execute(f"ANALYZE TABLE `{name}`")
        db.execute(f"DELETE FROM `{name}` WHERE id % 10 > 0")


def context(url: str) -> RecordingContext:
    return RecordingContext(settings=[Settings(databases={"app": url}), DataSettings()])


def run(url: str, **fields: Any) -> TablesVacuumed:
    with context(url) as ctx:
        result = vacuum(Vacuum("app", **fields), ctx)
    assert isinstance(result, TablesVacuumed)
    return result


def test_a_table_is_optimized_and_gets_smaller(mariadb: str) -> None:
    fill(mariadb, "messages", 5_000)

    (table,) = run(mariadb, tables=("messages",)).tables

    assert (table.name, table.outcome) == ("messages", "ok")
    assert table.bytes_after < table.bytes_before


def test_a_lock_that_is_reported_in_a_row_is_told_or_tried_later(mariadb: str) -> None:
    fill(mariadb, "messages", 10)
    with connected(mariadb) as other:
        other.execute("LOCK TABLES messages WRITE")

        (table,) = run(mariadb, tables=("messages",), lock_timeout=timedelta(seconds=1)).tables
        with pytest.raises(Retry):
            run(mariadb, tables=("messages",), lock_timeout=timedelta(seconds=1), skip_locked=False)

    assert table.outcome == "skipped_locked"
    assert "Lock wait timeout" in table.message


def test_a_table_that_there_is_not_is_named(mariadb: str) -> None:
    fill(mariadb, "messages", 10)

    with pytest.raises(Discard, match="there is no table 'x`; DROP TABLE messages'; there are: messages"):
        run(mariadb, tables=("x`; DROP TABLE messages",))


def test_nothing_is_done_when_nothing_needs_it(mariadb: str) -> None:
    fill(mariadb, "messages", 10)

    assert run(mariadb).tables == ()


def test_what_is_for_postgres_is_refused(mariadb: str) -> None:
    with pytest.raises(Discard, match="full and parallel are for PostgreSQL"):
        run(mariadb, full=True, confirm_full=True)


def test_the_full_text_indexes_are_rebuilt_with_their_tables(mariadb: str) -> None:
    fill(mariadb, "messages", 100)
    with connected(mariadb) as db:
        db.execute("CREATE TABLE plain (id INT PRIMARY KEY)")

    with context(mariadb) as ctx:
        auto: ReindexResult = reindex(Reindex("app"), ctx)
    with context(mariadb) as ctx:
        named: ReindexResult = reindex(Reindex("app", indexes=("by_messages",)), ctx)
    with context(mariadb) as ctx, pytest.raises(Discard, match="no FULLTEXT index 'by_plain'"):
        reindex(Reindex("app", indexes=("by_plain",)), ctx)

    assert [(index.name, index.outcome) for index in auto.indexes] == [("messages", "ok")]
    assert named.indexes[0].outcome == "ok"


def test_the_rows_of_the_server_are_read() -> None:
    note = ("t", "optimize", "note", "Table does not support optimize, doing recreate + analyze instead")

    assert _told([note, ("t", "optimize", "status", "OK")]) == ("ok", "")
    assert _told([("t", "optimize", "Error", "Lock wait timeout exceeded")])[0] == "skipped_locked"
    assert _told([("t", "optimize", "Error", "Table 't' doesn't exist")])[0] == "failed"
    assert _told([("t", "optimize", "status", "Operation failed")]) == ("failed", "Operation failed")
    assert _told([("t", "optimize", "status", "Table is already up to date")]) == ("ok", "")

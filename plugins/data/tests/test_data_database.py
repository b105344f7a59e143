"""`Database`: connections that keep their promises, on three kinds of database."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cgjobs import Discard, JobCancelled, JobTimeout, Retry
from cgjobs_data import Database, Settings, failure, failures, sqlstate
from cgjobs_data.engine import BEGAN

NOTES = """CREATE TABLE notes (id VARCHAR(26) PRIMARY KEY, written TIMESTAMP NULL, body VARCHAR(100))"""


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with one table, ``notes``, known as ``messages``."""
    tables = {"messages": {"table": "notes", "id": "id", "created_at": "written", "body": "body"}}
    if request.param == "sqlite":
        settings: Settings = request.getfixturevalue("demo_database")
        settings = Settings(
            url=f"sqlite:///{settings.demo_file}", preset="none", tables={"messages": {**tables["messages"]}}
        )
    else:
        url = request.getfixturevalue("postgres" if request.param == "postgresql" else "mariadb")
        settings = Settings(
            url=url, preset="none", tables={"messages": {**tables["messages"], "time": "utc"}}
        )
    with Database(settings) as database:
        with database.autocommit("setup") as connection:
            connection.execute(text(NOTES))
            connection.execute(text("INSERT INTO notes VALUES ('a', NULL, 'first')"))
        yield database


def bodies(db: Database) -> list[str]:
    notes = db.entity("messages")
    with db.reading("look") as connection:
        return list(connection.scalars(select(notes["body"]).order_by(notes["id"])))


def test_what_a_block_wrote_is_committed_at_its_end(db: Database) -> None:
    notes = db.entity("messages", needs=("id", "body"))

    with db.writing("job-1") as connection:
        connection.execute(insert(notes.table).values(id="b", body="second"))

    assert bodies(db) == ["first", "second"]


def test_what_a_block_wrote_is_taken_back_when_anything_leaves_it(db: Database) -> None:
    notes = db.entity("messages")
    for error in (ValueError("no"), JobCancelled("no")):
        with pytest.raises(type(error)), db.writing("job-1") as connection:  # noqa: PT012
            connection.execute(delete(notes.table))
            raise error

    assert bodies(db) == ["first"]


def test_a_reader_cannot_write(db: Database) -> None:
    notes = db.entity("messages")

    with pytest.raises(SQLAlchemyError) as caught, db.reading("job-1") as connection:
        connection.execute(update(notes.table).values(body="changed"))

    assert sqlstate(caught.value) in ("25006", "42501")
    assert bodies(db) == ["first"]


def test_a_reader_sees_one_moment(db: Database) -> None:
    notes = db.entity("messages")
    with db.reading("job-1") as reader:
        with db.writing("job-2") as writer:
            writer.execute(insert(notes.table).values(id="b", body="second"))

        assert reader.scalar(select(func.count()).select_from(notes.table)) == 1


SLEEP = {
    "postgresql": "SELECT pg_sleep(30)",
    "mysql": "SELECT sleep(30)",
    "sqlite": "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
}


def test_a_statement_that_takes_too_long_is_stopped(db: Database) -> None:
    began = time.monotonic()
    with (
        pytest.raises(SQLAlchemyError) as caught,
        db.reading("job-1", timeout=timedelta(milliseconds=300)) as connection,
    ):
        connection.execute(text(SLEEP[db.dialect])).all()

    assert time.monotonic() - began < 20
    assert sqlstate(caught.value) == "57014"
    assert isinstance(failure(caught.value), Retry)
    assert bodies(db) == ["first"]


def test_the_timeout_is_each_statements_own(demo_database: Settings) -> None:
    numbers = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 20000)"
    with Database(demo_database) as db:
        for _ in range(2):  # the second time with the same connection
            with db.reading("job-1", timeout=timedelta(minutes=1)) as connection:
                connection.info[BEGAN] -= 3600  # as if the block had begun an hour ago

                assert connection.scalar(text(f"{numbers} SELECT max(i) FROM n")) == 20_000


def test_a_cancel_reaches_into_a_long_statement(db: Database) -> None:
    cancelled = threading.Event()

    def look() -> None:
        if cancelled.is_set():
            raise JobCancelled("somebody did")

    began = time.monotonic()
    with pytest.raises(JobCancelled), db.autocommit("job-1", watch=look) as connection:  # noqa: PT012
        cancelled.set()
        connection.execute(text(SLEEP[db.dialect])).all()

    assert time.monotonic() - began < 20
    assert bodies(db) == ["first"]


def test_a_timeout_reaches_into_a_long_statement_and_stops_it_in_the_server(postgres: str) -> None:
    ends: list[BaseException] = []
    waiting = threading.Event()
    with Database(Settings(url=postgres, preset="none")) as db:

        def work() -> None:
            try:
                with db.writing("job-1") as connection:
                    waiting.set()
                    connection.execute(text(SLEEP["postgresql"]))
            except BaseException as error:
                ends.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        asked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(30)'"
        )
        with db.autocommit("look") as connection:
            waiting.wait()
            wait_until(lambda: connection.scalar(asked) == 1)
            raise_in(thread, JobTimeout)  # as the worker does
            thread.join(10)

            assert [type(error) for error in ends] == [JobTimeout]
            wait_until(lambda: connection.scalar(asked) == 0)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline


def raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(error))


def test_a_wait_for_a_lock_is_given_up(db: Database) -> None:
    notes = db.entity("messages")
    with db.writing("job-1") as first:
        first.execute(update(notes.table).values(body="changed"))
        with (
            pytest.raises(SQLAlchemyError) as caught,
            db.writing("job-2", lock_timeout=timedelta(milliseconds=200)) as second,
        ):
            second.execute(update(notes.table).values(body="mine"))

    assert sqlstate(caught.value) == "55P03"
    assert isinstance(failure(caught.value), Retry)
    assert bodies(db) == ["changed"]
    assert_as_opened(db)


def test_settings_of_a_block_do_not_outlive_it(db: Database) -> None:
    for block in (db.autocommit, db.writing):
        with block("job-1", lock_timeout=timedelta(seconds=1), statement_timeout=timedelta(seconds=1)):
            pass

    assert_as_opened(db)


def assert_as_opened(db: Database) -> None:
    """All connections of the pool have no timeouts but the database's own."""
    with contextlib.ExitStack() as lent:
        for _ in range(db.settings.pool):
            connection = lent.enter_context(db.autocommit("job-2"))
            match db.dialect:
                case "postgresql":
                    assert connection.scalar(text("SHOW statement_timeout")) == "0"
                    assert connection.scalar(text("SHOW lock_timeout")) == "0"
                case "mysql":
                    assert connection.scalar(text("SELECT @@max_statement_time")) == 0
                    assert connection.scalar(text("SELECT @@innodb_lock_wait_timeout")) == 50
                case _:
                    assert connection.scalar(text("PRAGMA busy_timeout")) == 5000


def test_times_come_back_as_they_were_written(db: Database) -> None:
    notes, at = db.entity("messages"), datetime(2026, 11, 24, 13, 30, tzinfo=timezone(timedelta(hours=2)))

    with db.writing("job-1") as connection:
        connection.execute(update(notes.table).values(written=notes.written(at)))
        read = connection.scalar(select(notes["created_at"]))

    assert notes.read(read) == at
    assert notes.read(read).tzinfo is UTC  # type: ignore[union-attr]
    assert notes.read(None) is None


def test_failures_become_what_a_handler_raises(db: Database) -> None:
    with pytest.raises(Discard, match="42P01"), failures(), db.reading("job-1") as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    with pytest.raises(Discard, match="23505") as caught, failures(), db.writing("job-1") as connection:
        connection.execute(text("INSERT INTO notes VALUES ('a', NULL, 'again')"))

    assert "again" not in str(caught.value)


def test_postgres_knows_whose_connection_it_is(postgres: str) -> None:
    with Database(Settings(url=postgres, preset="none")) as db:
        shown = text("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        with db.reading("job-7") as connection:
            assert connection.scalar(shown) == "cgjobs/job-7"
        with db.autocommit("job-8") as connection:
            assert connection.scalar(shown) == "cgjobs/job-8"
        with db.engine.connect() as connection:
            assert connection.scalar(shown) == "cgjobs"


def test_an_autocommit_connection_lends_what_postgres_says(postgres: str) -> None:
    with Database(Settings(url=postgres, preset="none")) as db, db.autocommit("job-1") as connection:
        connection.execute(text("DO $$ BEGIN RAISE WARNING 'look out'; END $$"))

        assert [(n.severity, n.message) for n in connection.notices] == [("WARNING", "look out")]


def test_a_wrong_password_or_name_is_told_when_the_database_is_opened(postgres: str) -> None:
    head, _, query = postgres.partition("?")
    for url in (f"{head}x?{query}", postgres.replace("postgres:", "nobody:")):
        with pytest.raises(Discard, match=r"\[plugins.data\] url"):
            Database(Settings(url=url, preset="none"))


def test_a_server_that_is_away_is_tried_again() -> None:
    with pytest.raises(Retry) as caught:
        Database(Settings(url="postgresql://me:hidden@127.0.0.1:1/x"))

    assert "hidden" not in str(caught.value)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Callable[..., object]) -> None:
    with pytest.raises(Discard, match="there is no database at"):
        Database(Settings(url=f"sqlite:///{tmp_path}/no.db"))
    with pytest.raises(Discard, match="cgjobs data seed"):
        Database(Settings(directory=tmp_path))  # type: ignore[arg-type]


def test_many_threads_share_few_connections(db: Database) -> None:
    notes, errors = db.entity("messages"), []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                with db.writing(f"job-{number}", lock_timeout=timedelta(seconds=20)) as connection:
                    connection.execute(insert(notes.table).values(id=f"{number}-{turn}", body="x"))
        except (DBAPIError, Retry) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert len(bodies(db)) == 51
    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]

"""On which terms a connection is lent: what is set before a block runs, and what is put back after it."""

from __future__ import annotations

import sqlite3
import time
from datetime import timedelta
from typing import Any, Protocol

import attrs
from sqlalchemy import Connection, NullPool, create_engine, text

from cgjobs_data.engine import BEGAN, BEGIN

_BUSY = 5000  # milliseconds, as `engine` opens files
_MOST_CHARACTERS = 63  # of an application_name
_INSTRUCTIONS = 10_000  # of SQLite's machine, well below a millisecond


@attrs.frozen(kw_only=True)
class Terms:
    """What a block wants.

    Args:
        job_id: Who asks.
        statement_timeout, lock_timeout: None for the database's defaults.
        read_only: Whether it may write.
        autocommit: Whether each statement stands for itself.
    """

    job_id: str
    statement_timeout: timedelta | None = None
    lock_timeout: timedelta | None = None
    read_only: bool = False
    autocommit: bool = False


class Keeper(Protocol):
    """How one kind of database keeps them."""

    def before(self, connection: Connection, terms: Terms) -> None:
        """Set what must be set before the transaction begins."""

    def begun(self, connection: Connection, terms: Terms) -> None:
        """Set what is set at its beginning."""

    def after(self, connection: Connection, terms: Terms) -> None:
        """Put back what was set, for whoever gets the connection next."""

    def cancel(self, connection: Connection) -> None:
        """Stop the statement that runs. Called from another thread; it may have ended already."""

    def usable(self, connection: Connection, error: BaseException) -> bool:
        """Whether the connection can be rolled back after the block was left by an error."""


class Postgres:
    """PostgreSQL: everything is local to the transaction, so that nothing has to be put back."""

    def before(self, connection: Connection, terms: Terms) -> None:
        """Choose the isolation."""
        if terms.autocommit:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        elif terms.read_only:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def begun(self, connection: Connection, terms: Terms) -> None:
        """Set name and timeouts; the snapshot of a transaction is taken here."""
        wanted = {"application_name": f"cgjobs/{terms.job_id}"[:_MOST_CHARACTERS], "TimeZone": "UTC"}
        for name, limit in (
            ("statement_timeout", terms.statement_timeout),
            ("lock_timeout", terms.lock_timeout),
        ):
            if limit is not None:
                wanted[name] = str(_milliseconds(limit))
        calls = ", ".join(f"set_config(:n{i}, :v{i}, :local)" for i in range(len(wanted)))
        values: dict[str, Any] = {"local": not terms.autocommit}
        for i, (name, value) in enumerate(wanted.items()):
            values |= {f"n{i}": name, f"v{i}": value}
        connection.execute(text(f"SELECT {calls}"), values)

    def after(self, connection: Connection, terms: Terms) -> None:
        """Forget what an autocommit block set, its own SETs too."""
        if terms.autocommit:
            connection.exec_driver_sql("RESET ALL")

    def cancel(self, connection: Connection) -> None:
        """Ask the server to stop (a second connection carries the request)."""
        _raw(connection).cancel_safe(timeout=5.0)

    def usable(self, connection: Connection, error: BaseException) -> bool:
        """False when a statement still runs: the exception came in the midst of it."""
        raw = _raw(connection)
        if raw.closed:
            return False
        if raw.info.transaction_status.name == "ACTIVE":
            self.cancel(connection)
            return False
        return True


class MySql:
    """MySQL and MariaDB: the timeouts are the connection's and are put back."""

    def before(self, connection: Connection, terms: Terms) -> None:
        """Set the timeouts."""
        if terms.autocommit:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        settings = []
        if terms.statement_timeout is not None:
            settings.append(self._statement_timeout(connection, terms.statement_timeout))
        if terms.lock_timeout is not None:
            seconds = max(1, round(terms.lock_timeout.total_seconds()))
            settings += [f"innodb_lock_wait_timeout = {seconds}", f"lock_wait_timeout = {seconds}"]
        for setting in settings:
            self._set(connection, setting)

    def begun(self, connection: Connection, terms: Terms) -> None:
        """Take the snapshot."""
        if terms.read_only:
            connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def after(self, connection: Connection, terms: Terms) -> None:
        """Put the timeouts back."""
        if terms.statement_timeout is not None:
            name = "max_statement_time" if _is_mariadb(connection) else "max_execution_time"
            self._set(connection, f"{name} = DEFAULT")
        if terms.lock_timeout is not None:
            self._set(connection, "innodb_lock_wait_timeout = DEFAULT")
            self._set(connection, "lock_wait_timeout = DEFAULT")

    def cancel(self, connection: Connection) -> None:
        """Kill the statement from a second connection."""
        other = create_engine(connection.engine.url, poolclass=NullPool)
        with other.connect() as killer:
            killer.exec_driver_sql(f"KILL QUERY {int(_raw(connection).thread_id())}")

    def usable(self, connection: Connection, error: BaseException) -> bool:
        """False after what is no ``Exception``: it may have come in the midst of an answer."""
        return isinstance(error, Exception) and _raw(connection).open

    @staticmethod
    def _statement_timeout(connection: Connection, limit: timedelta) -> str:
        if _is_mariadb(connection):
            return f"max_statement_time = {limit.total_seconds():.3f}"
        return f"max_execution_time = {_milliseconds(limit)}"

    @staticmethod
    def _set(connection: Connection, setting: str) -> None:
        with _raw(connection).cursor() as cursor:  # below SQLAlchemy, which would begin a transaction
            cursor.execute(f"SET SESSION {setting}")


class Sqlite:
    """SQLite: the process itself stops a statement that runs too long."""

    def before(self, connection: Connection, terms: Terms) -> None:
        """Choose how the transaction begins, and how long it waits for somebody else's lock."""
        begin = "" if terms.autocommit else "BEGIN" if terms.read_only else "BEGIN IMMEDIATE"
        connection.execution_options(**{BEGIN: begin})
        raw = _raw(connection)
        if terms.lock_timeout is not None:
            raw.execute(f"PRAGMA busy_timeout = {_milliseconds(terms.lock_timeout)}")
        if terms.statement_timeout is not None:
            limit, info = terms.statement_timeout.total_seconds(), connection.info
            info[BEGAN] = time.monotonic()
            raw.set_progress_handler(lambda: time.monotonic() - info[BEGAN] > limit, _INSTRUCTIONS)

    def begun(self, connection: Connection, terms: Terms) -> None:
        """Take the snapshot of a reader."""
        if terms.read_only:
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1")

    def after(self, connection: Connection, terms: Terms) -> None:
        """Take the timeouts away."""
        raw: sqlite3.Connection = _raw(connection)
        raw.set_progress_handler(None, 0)
        raw.execute(f"PRAGMA busy_timeout = {_BUSY}")

    def cancel(self, connection: Connection) -> None:
        """Interrupt the statement."""
        _raw(connection).interrupt()

    def usable(self, connection: Connection, error: BaseException) -> bool:
        """Always: it has no peer."""
        return True


KEEPERS: dict[str, Keeper] = {"postgresql": Postgres(), "mysql": MySql(), "sqlite": Sqlite()}


def _raw(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _is_mariadb(connection: Connection) -> bool:
    return bool(getattr(connection.dialect, "is_mariadb", False))


def _milliseconds(limit: timedelta) -> int:
    return max(1, round(limit.total_seconds() * 1000))

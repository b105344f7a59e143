"""From a URL to an engine of SQLAlchemy, set up for each of the three kinds of database."""

from __future__ import annotations

import importlib.util
import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url

from cgjobs import Discard

BEGIN = "cgjobs_begin"
"""The execution option that says how a transaction of SQLite begins; empty for none."""
BEGAN = "cgjobs_began"
"""In a connection to SQLite's ``info``: when its statement began, by the monotonic clock."""
_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg", "postgres"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgres"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mysql+pymysql", "pymysql", "mysql"),
}
_POOL_TIMEOUT = 30.0
_RECYCLE = 1800  # seconds after which a connection is opened anew: firewalls forget those that stand idle


def parse_url(text: str) -> URL:
    """The URL with the driver that we use.

    Raises:
        Discard: The driver is not installed, or it is no URL; its password is not repeated.
    """
    try:
        url = make_url(text)
    except Exception:
        raise Discard(
            "[plugins.data] url cannot be read; percent-encode what is special in the password"
        ) from None
    found = _DRIVERS.get(url.get_backend_name())
    if found is None:
        return url.set(drivername="sqlite")
    name, module, extra = found
    if importlib.util.find_spec(module) is None:
        raise Discard(f"{module} is not installed; pip install 'chatgenius-jobs-data[{extra}]'")
    return url.set(drivername=name)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite database; None for any other."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def make_engine(url: URL, *, pool: int, patience: timedelta, read_only: bool = False) -> Engine:
    """An engine with a small pool, whose connections are tried before they are lent.

    Args:
        url: From `parse_url`.
        pool: Connections at most; who wants one more waits for up to 30 s.
        patience: Wait so long for a connection to be made.
        read_only: Whether a file of SQLite is opened without the right to write.
    """
    seconds = max(1, round(patience.total_seconds()))
    options: dict[str, Any] = {
        "pool_size": pool,
        "max_overflow": 0,
        "pool_timeout": _POOL_TIMEOUT,
        "pool_recycle": _RECYCLE,
        "pool_pre_ping": True,
        "hide_parameters": True,  # rows are people's; an error's text ends in logs
    }
    match url.get_backend_name():
        case "sqlite":
            return _sqlite_engine(url, options, "ro" if read_only else "rw")
        case "postgresql":
            defaults = {"connect_timeout": seconds, "application_name": "cgjobs"}
            arguments = {key: value for key, value in defaults.items() if key not in url.query}
            engine = create_engine(url, connect_args=arguments, **options)
            event.listen(engine, "do_connect", _connect_to_postgres)
            return engine
        case _:
            return create_engine(
                url,
                connect_args={
                    "connect_timeout": seconds,
                    "program_name": "cgjobs",
                    "init_command": "SET time_zone = '+00:00'",  # TIMESTAMP columns are read in it
                    "charset": "utf8mb4",
                },
                isolation_level="REPEATABLE READ",
                **options,
            )


def _connect_to_postgres(dialect: Any, record: Any, words: list[Any], options: dict[str, Any]) -> Any:
    from cgjobs_data.interruptible import InterruptibleConnection

    return InterruptibleConnection.connect(*words, **options)


def _sqlite_engine(url: URL, options: dict[str, Any], mode: str) -> Engine:
    file = Path(url.database or "").absolute()

    def connect() -> sqlite3.Connection:
        # ro and rw, never rwc: a wrong path makes no empty database
        connection = sqlite3.connect(
            f"{file.as_uri()}?mode={mode}",
            uri=True,
            timeout=5.0,
            isolation_level=None,  # transactions begin when and how we say
            check_same_thread=False,
        )
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = create_engine(url, creator=connect, **options)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        chosen = connection.get_execution_options()
        if chosen.get("isolation_level") != "AUTOCOMMIT" and (words := chosen.get(BEGIN, "BEGIN")):
            connection.exec_driver_sql(words)

    @event.listens_for(engine, "before_cursor_execute")
    def note_beginning(connection: Connection, *_: object) -> None:
        connection.info[BEGAN] = time.monotonic()

    return engine

"""Errors of a database, judged: whether trying again can help, and what to do when it cannot."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cgjobs import Discard, Retry

_RETRY = ("08", "40001", "40P01", "53", "55P03", "57P0", "57014", "25006")
_MYSQL = {
    1205: "55P03",  # lock wait timeout
    1213: "40001",  # deadlock
    2003: "08001",
    2002: "08001",
    2006: "08003",  # server has gone away
    2013: "08006",  # lost connection
    1040: "53300",  # too many connections
    1053: "57P01",  # shutdown in progress
    1317: "57014",  # query interrupted
    1969: "57014",  # max_statement_time exceeded (MariaDB)
    3024: "57014",  # max_execution_time exceeded (MySQL)
    3572: "55P03",  # NOWAIT
    1290: "25006",  # read-only server, as after a failover
    1792: "25006",
    1044: "42501",
    1045: "28000",
    1142: "42501",
    1143: "42501",
    1227: "42501",
    1049: "3D000",
    1146: "42P01",
    1054: "42703",
    1064: "42601",
    1093: "42000",
    1217: "23503",
    1451: "23503",
    1452: "23503",
    1062: "23505",
}
_SQLITE = {
    sqlite3.SQLITE_BUSY: "55P03",
    sqlite3.SQLITE_LOCKED: "55P03",
    sqlite3.SQLITE_INTERRUPT: "57014",
    sqlite3.SQLITE_IOERR: "58030",
    sqlite3.SQLITE_FULL: "53100",
    sqlite3.SQLITE_READONLY: "42501",
    sqlite3.SQLITE_AUTH: "42501",
    sqlite3.SQLITE_PERM: "42501",
    sqlite3.SQLITE_CANTOPEN: "3D000",
    sqlite3.SQLITE_NOTADB: "3D000",
    sqlite3.SQLITE_CORRUPT: "XX001",
}
_ADVICE = (
    ("28", "correct user and password in [plugins.data] url"),
    ("3D000", "correct the database's name in [plugins.data] url"),
    ("42501", "give the account the privilege: `cgjobs data check` says which one is missing"),
    ("42P01", "correct [plugins.data] preset, schema or tables: `cgjobs data check`"),
    ("42703", "correct [plugins.data.tables]: `cgjobs data check`"),
    ("42", "see `cgjobs data check`"),
    ("23503", "another table refers to these rows and does not let them go: `cgjobs data check`"),
    ("23", "a rule of the database refuses it"),
    ("XX001", "the database is damaged; restore a backup"),
)
_SEEN_BY_NAME = {
    "SQLITE_CONSTRAINT_FOREIGNKEY": "23503",
    "SQLITE_CONSTRAINT_UNIQUE": "23505",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "23505",
}


def sqlstate(error: BaseException) -> str:
    """The five characters of SQL's standard for an error of any of the three drivers; ``""`` when unknown.

    MySQL's and SQLite's own numbers are translated: 1205 and BUSY are ``55P03``, a lost connection is
    ``08...``. A `Retry` or `Discard` that `failure` made is asked for the error behind it.
    """
    if isinstance(error, PoolTimeout):
        return "53300"
    if isinstance(error, (Retry, Discard)) and error.__cause__ is not None:
        return sqlstate(error.__cause__)
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(origin, sqlite3.Error):
        return _of_sqlite(origin)
    first = origin.args[0] if origin.args else None
    if type(origin).__module__.startswith("pymysql") and isinstance(first, int) and first in _MYSQL:
        return _MYSQL[first]
    if state := getattr(origin, "sqlstate", None):
        return str(state)
    if type(origin).__module__.startswith("psycopg") and type(origin).__name__ == "OperationalError":
        return _of_connecting(str(origin))
    return ""


def failure(error: BaseException) -> Retry | Discard:
    """What a handler raises for an error of the database: ``raise failure(error) from error``.

    `Retry` for what passes: connections, deadlocks, locks, a full disk, a server that starts or stops, a
    statement that was stopped. `Discard`, with what to do, for what stays: passwords, privileges, names,
    rows that others refer to. What is neither known as one nor the other is tried again.
    """
    if isinstance(error, (Retry, Discard)):
        return error
    state, told = sqlstate(error), _told(error)
    if not state.startswith(_RETRY):
        for beginning, advice in _ADVICE:
            if state.startswith(beginning):
                return Discard(f"the database refused ({state}): {told}; {advice}")
        if isinstance(error, (NoSuchModuleError, ModuleNotFoundError)):
            return Discard(told)
    return Retry(f"the database failed{f' ({state})' if state else ''}: {told}")


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Around statements: an error of the database leaves the block as what `failure` makes of it."""
    try:
        yield
    except SQLAlchemyError as error:
        raise failure(error) from error


def _of_sqlite(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if found := _SEEN_BY_NAME.get(name) or _SQLITE.get(primary):
        return found
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return "23000"
    text = str(error)
    if text.startswith("no such table"):
        return "42P01"
    if text.startswith("no such column") or "has no column named" in text:
        return "42703"
    return "42000" if primary == sqlite3.SQLITE_ERROR else ""


def _of_connecting(text: str) -> str:
    """psycopg has no SQLSTATE for a connection that was never made; libpq's words are all there is."""
    if "authentication failed" in text or "no pg_hba.conf entry" in text or "no password supplied" in text:
        return "28000"
    if 'role "' in text and "does not exist" in text:
        return "28000"
    if 'database "' in text and "does not exist" in text:
        return "3D000"
    if "too many clients" in text or "too many connections" in text:
        return "53300"
    if "starting up" in text or "shutting down" in text:
        return "57P03"
    return "08006"


def _told(error: BaseException) -> str:
    """The driver's words on one line, without the statement and its parameters, which may be secret."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(origin, (sqlite3.Error,)) or not origin.args:
        words = str(origin)
    elif type(origin).__module__.startswith("pymysql"):
        words = ", ".join(str(arg) for arg in origin.args)
    else:
        words = getattr(getattr(origin, "diag", None), "message_primary", None) or str(origin)
    return " ".join(words.split()) or type(origin).__name__

"""The database that a report reads: one connection, read-only, one moment of time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from cgjobs import Discard, Retry


@contextlib.contextmanager
def snapshot(database: Path | None) -> Iterator[sqlite3.Connection]:
    """Open the database in one read transaction, so that all numbers are of the same moment.

    Raises:
        Discard: It is not configured, not there, or not ChatGenius'.
        Retry: It is locked.
    """
    if database is None:
        raise Discard("no database to report on: set database in [plugins.report]")
    if not database.is_file():
        raise Discard(f"no database at {database}: correct database in [plugins.report]")
    try:
        uri = f"{database.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=2)) as db:
            db.execute("BEGIN")
            yield db
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Retry(f"{database} is locked") from error
        if code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN):
            raise Discard(f"{database}: {error}; is it ChatGenius' database?") from error
        raise

"""The FTS5 indexes of a SQLite file: what has drifted from its table is found, and rebuilt."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cgjobs import Context, Discard, Retry
from cgjobs_maintenance.payloads import Reindex
from cgjobs_maintenance.results import IndexRebuilt

_STEPS_PER_REPORT = 10_000  # instructions of SQLite's machine, a millisecond or so
_CORRUPT = 11  # also SQLITE_CORRUPT_VTAB, which is how FTS5 says "drifted"
_VIRTUAL = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\s.*\sUSING\s+fts5\b", re.IGNORECASE | re.DOTALL)


class FtsRebuild:
    """Checks and rebuilds full text indexes. Use it once.

    Args:
        path: The database file; exists.
        payload: Which indexes: ``("auto",)`` rebuilds those that have drifted.
        ctx: The job that runs.
        clock: Seconds since any start, never going back.
    """

    def __init__(
        self, path: Path, payload: Reindex, ctx: Context, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._payload, self._ctx, self._clock = path, payload, ctx, clock
        self._stop: BaseException | None = None
        self._done, self._total, self._step = 0, 0, "opening"

    def run(self) -> tuple[IndexRebuilt, ...]:
        """Check each index against its table, and rebuild it when it has drifted or was named.

        Raises:
            Discard: An index is missing, or the file is no database.
            Retry: Somebody else holds the lock, or an index has drifted again after it was rebuilt.
        """
        with self._explained(), closing(self._connect()) as db:
            names = self._choose(db)
            self._total = len(names)
            done = []
            for name in names:
                done.append(self._rebuild(db, name))
                self._done += 1
        return tuple(done)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",  # rw, not rwc: never makes a file
            uri=True,
            timeout=self._payload.lock_timeout.total_seconds(),
            isolation_level=None,
        )
        db.set_progress_handler(self._report, _STEPS_PER_REPORT)
        return db

    def _report(self) -> bool:
        """Called by SQLite while it works; True interrupts the statement."""
        try:
            self._ctx.progress(self._done, self._total or None, self._step)
        except BaseException as error:  # SQLite would swallow it; run() raises it again
            self._stop = error
        return self._stop is not None

    def _choose(self, db: sqlite3.Connection) -> list[str]:
        rows = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL")
        present = [name for name, sql in rows if _VIRTUAL.match(sql)]
        if self._payload.indexes == ("auto",):
            return present
        if missing := [name for name in self._payload.indexes if name not in present]:
            known = ", ".join(present) or "none"
            raise Discard(f"there is no FTS5 index {', '.join(map(repr, missing))}; there are: {known}")
        return list(self._payload.indexes)

    def _rebuild(self, db: sqlite3.Connection, name: str) -> IndexRebuilt:
        started, before = self._clock(), self._bytes(db, name)
        self._step = f"{name}: checking"
        drifted = self._has_drifted(db, name)
        if not drifted and self._payload.indexes == ("auto",):
            return IndexRebuilt(
                name=name,
                outcome="sound",
                seconds=self._since(started),
                bytes_before=before,
                bytes_after=before,
            )
        self._step = f"{name}: rebuilding"
        try:
            # One statement is one transaction: whoever searches finds the old index, or the new one.
            db.execute(f"INSERT INTO {_quoted(name)}({_quoted(name)}) VALUES('rebuild')")
        except sqlite3.OperationalError as error:
            if "contentless" not in str(error):
                raise
            return IndexRebuilt(name=name, outcome="unsupported", message=str(error))
        if self._payload.verify:
            self._step = f"{name}: verifying"
            if self._has_drifted(db, name):
                raise Retry(f"index {name!r} does not agree with its table after it was rebuilt")
        return IndexRebuilt(
            name=name,
            outcome="ok",
            seconds=self._since(started),
            bytes_before=before,
            bytes_after=self._bytes(db, name),
            drifted=drifted,
        )

    def _has_drifted(self, db: sqlite3.Connection, name: str) -> bool:
        """Whether the index and its table disagree; with rank 1 the rows of the table are compared."""
        try:
            db.execute(f"INSERT INTO {_quoted(name)}({_quoted(name)}, rank) VALUES('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != _CORRUPT:
                raise
            return True
        return False

    def _bytes(self, db: sqlite3.Connection, name: str) -> int:
        """What the index's blocks take; its rows of other shadow tables are small."""
        found = db.execute(f"SELECT coalesce(sum(length(block)), 0) FROM {_quoted(name + '_data')}")  # noqa: S608
        return int(found.fetchone()[0])

    def _since(self, started: float) -> float:
        return round(self._clock() - started, 3)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if self._stop is not None:
                raise self._stop from None
            primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Retry(f"database {self._payload.target!r} was locked; {self._step}") from error
            if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise Discard(f"database {self._payload.target!r} at '{self._path}': {error}") from error
            if primary == sqlite3.SQLITE_FULL:
                raise Discard(f"the disk of '{self._path}' is full while {self._step}") from error
            raise


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

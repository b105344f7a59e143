"""One vacuum of one SQLite file, from the checks before it to the checkpoint after it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

from cgjobs import Context, Discard, Retry, Snooze
from cgjobs_maintenance.payloads import Mode, Vacuum
from cgjobs_maintenance.results import VacuumResult

PAGES = 1_000
"""Pages that an incremental vacuum gives back between two reports."""

_STEPS_PER_REPORT = 10_000  # instructions of SQLite's machine, a millisecond or so
_INCREMENTAL = 2
_OPTIMIZE_LOOKS_AT_ALL_TABLES = (3, 46)


class Vacuuming:
    """Does what a payload says to a database. Use it once.

    Args:
        path: The database file; exists.
        payload: What to do.
        ctx: The job that runs.
        clock: Seconds since any start, never going back.
        free_space: Bytes that are free on the disk of a directory.
    """

    def __init__(
        self,
        path: Path,
        payload: Vacuum,
        ctx: Context,
        *,
        clock: Callable[[], float],
        free_space: Callable[[Path], int],
    ) -> None:
        self._path, self._payload, self._ctx = path, payload, ctx
        self._clock, self._free_space = clock, free_space
        self._started = clock()
        self._name = payload.database
        self._mode: Mode = payload.mode or "full"
        self._step = "opening"
        self._done = 0
        self._total: int | None = None
        self._stop: BaseException | None = None

    def run(self) -> VacuumResult:
        """Check, refresh the statistics, vacuum, empty the write-ahead log.

        Raises:
            Discard: Trying again cannot help: not a database, damaged, no room on the disk, too slow.
            Retry: Somebody else holds a lock.
            Snooze: ``max_duration`` of an incremental vacuum is over and free pages are left.
        """
        mode = self._mode
        with self._explained(), closing(self._connect()) as db:
            freelist_before, bytes_before = _pragma(db, "freelist_count"), self._path.stat().st_size
            self._refuse_what_cannot_work(db)
            integrity = None if mode == "optimize" else self._check(db)
            # Before the vacuum: when a lock stops this, the long work has not been done for nothing.
            self._optimize(db)
            if mode == "full":
                self._vacuum(db)
            elif mode == "incremental":
                self._vacuum_in_steps(db)
            checkpointed = self._empty_log(db)
            result = VacuumResult(
                mode=mode,
                bytes_before=bytes_before,
                bytes_after=self._path.stat().st_size,
                freelist_before=freelist_before,
                freelist_after=_pragma(db, "freelist_count"),
                wal_bytes=self._log_bytes(),
                checkpointed=checkpointed,
                integrity=integrity,
                seconds=round(self._clock() - self._started, 3),
            )
        self._ctx.log.info(
            "database_vacuumed",
            database=self._name,
            mode=mode,
            bytes_before=bytes_before,
            bytes_after=result.bytes_after,
            checkpointed=checkpointed,
        )
        return result

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",  # rw, not rwc: never makes a file
            uri=True,
            timeout=self._payload.lock_timeout.total_seconds(),
            isolation_level=None,  # VACUUM is refused inside a transaction
        )
        db.set_progress_handler(self._report, _STEPS_PER_REPORT)
        return db

    def _report(self) -> bool:
        """Called by SQLite while it works; True interrupts the statement."""
        try:
            self._ctx.progress(self._done, self._total, self._step)
            if self._step == "vacuuming" and self._elapsed() >= self._payload.max_duration:
                raise Discard(
                    f"VACUUM of {self._name!r} did not end within {self._payload.max_duration} and "
                    "was stopped; the database is as it was. Raise max_duration, or use mode incremental"
                )
        except BaseException as error:  # SQLite would swallow it; run() raises it again
            self._stop = error
        return self._stop is not None

    def _refuse_what_cannot_work(self, db: sqlite3.Connection) -> None:
        if self._mode == "incremental" and _pragma(db, "auto_vacuum") != _INCREMENTAL:
            raise Discard(
                f"database {self._name!r} does not have auto_vacuum=INCREMENTAL, so nothing would be given "
                "back; use mode full, or set that pragma and run VACUUM, once and on one connection"
            )
        if self._mode == "full":
            needed = 2 * (self._path.stat().st_size + self._log_bytes())
            free = self._free_space(self._path.parent)
            if free < needed:
                raise Discard(
                    f"VACUUM of {self._name!r} may need {needed:,} bytes, twice its size, and the disk of "
                    f"'{self._path.parent}' has {free:,} left; make room, or use mode incremental"
                )

    def _check(self, db: sqlite3.Connection) -> str:
        self._step = "checking"
        verdict: str = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise Discard(
                f"database {self._name!r} is damaged and was left alone: {verdict}. "
                "Restore a backup, or rescue its rows with the sqlite3 shell's .recover"
            )
        return verdict

    def _optimize(self, db: sqlite3.Connection) -> None:
        self._step = "optimizing"
        if sqlite3.sqlite_version_info >= _OPTIMIZE_LOOKS_AT_ALL_TABLES:
            db.execute("PRAGMA optimize=0x10002")
        else:  # there it looks only at tables that this connection has queried: at none
            db.execute("PRAGMA analysis_limit=1000")
            db.execute("ANALYZE")

    def _vacuum(self, db: sqlite3.Connection) -> None:
        self._step = "vacuuming"
        db.execute("VACUUM")

    def _vacuum_in_steps(self, db: sqlite3.Connection) -> None:
        self._step = "giving pages back"
        started = self._clock()
        left = self._total = _pragma(db, "freelist_count")
        while left:
            # executescript steps to the end; execute would stop after the first page
            db.executescript(f"PRAGMA incremental_vacuum({PAGES})")
            before, left = left, _pragma(db, "freelist_count")
            self._done = max(0, self._total - left)
            self._ctx.progress(self._done, self._total, self._step)
            if left >= before:  # somebody else frees pages as fast; the next run gets them
                return
            if left and timedelta(seconds=self._clock() - started) >= self._payload.max_duration:
                raise Snooze(timedelta(0), f"max_duration: {self._done} of {self._total} pages, going on")

    def _empty_log(self, db: sqlite3.Connection) -> bool:
        self._step = "emptying the log"
        busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]  # says so instead of raising
        return not busy

    def _log_bytes(self) -> int:
        log = self._path.with_name(self._path.name + "-wal")
        return log.stat().st_size if log.exists() else 0

    def _elapsed(self) -> timedelta:
        return timedelta(seconds=self._clock() - self._started)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if self._stop is not None:
                raise self._stop from None
            primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise Retry(f"database {self._name!r} was locked while {self._step}") from error
            if hint := _HOPELESS.get(primary):
                raise Discard(f"database {self._name!r} at '{self._path}': {error}; {hint}") from error
            raise


def _pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return value


_HOPELESS = {
    sqlite3.SQLITE_NOTADB: "configure the path of a SQLite database",
    sqlite3.SQLITE_CORRUPT: "restore a backup, or rescue its rows with the sqlite3 shell's .recover",
    sqlite3.SQLITE_CANTOPEN: "let the worker's user read and write the file and its directory",
    sqlite3.SQLITE_PERM: "let the worker's user read and write the file and its directory",
    sqlite3.SQLITE_READONLY: "let the worker's user write the file and its directory",
    sqlite3.SQLITE_FULL: "make room on its disk and in the directory for temporary files (SQLITE_TMPDIR)",
}

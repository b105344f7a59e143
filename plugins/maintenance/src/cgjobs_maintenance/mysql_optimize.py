"""OPTIMIZE TABLE on MySQL and MariaDB, which reports its failures in rows and raises nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cgjobs import Context, Discard, Retry
from cgjobs_data import failure
from cgjobs_maintenance.results import TableVacuumed
from cgjobs_maintenance.tables import Course
from cgjobs_maintenance.window import Window

if TYPE_CHECKING:
    from cgjobs_data import Database

_TABLES = text("""
    SELECT table_name AS name, data_length + index_length AS bytes, data_free AS free
    FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'
""")
_FULLTEXT = text("""
    SELECT DISTINCT table_name AS tbl, index_name AS name FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND index_type = 'FULLTEXT'
""")
_AUTO_FREE, _AUTO_SHARE = 1024 * 1024, 0.1
_LOCKED = "lock wait timeout"


class Optimizing:
    """Optimizes tables of one database. Use it once.

    Args:
        database: Where.
        ctx: The job that runs.
        lock_timeout: Longest wait for a table's lock.
        statement_timeout: Longest run of one table; None for no limit.
        max_duration: Of one run of the job.
        window: When tables may be begun.
        skip_locked: Whether a locked table is passed by; otherwise it ends the run.
        now: The time, aware.
        clock: Seconds since any start, never going back.
    """

    def __init__(
        self,
        database: Database,
        ctx: Context,
        *,
        lock_timeout: timedelta,
        statement_timeout: timedelta | None,
        max_duration: timedelta,
        window: str | None,
        skip_locked: bool,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._ctx, self._clock = database, ctx, clock
        self._lock_timeout, self._statement_timeout = lock_timeout, statement_timeout
        self._skip_locked = skip_locked
        self._course = Course(
            ctx,
            clock=clock,
            now=now,
            max_duration=max_duration,
            window=Window.parse(window) if window else None,
            make=TableVacuumed,
        )

    def tables(self, wanted: Sequence[str]) -> tuple[TableVacuumed, ...]:
        """Optimize these tables; ``("auto",)``: those of which a tenth, and at least 1 MiB, is free."""

        def choose() -> list[str]:
            with self._database.reading(self._ctx.job.id) as connection:
                rows = connection.execute(_TABLES).all()
            if tuple(wanted) == ("auto",):
                return [
                    row.name
                    for row in rows
                    if (row.free or 0) > max(_AUTO_FREE, _AUTO_SHARE * ((row.bytes or 0) + (row.free or 0)))
                ]
            return _known("table", wanted, [row.name for row in rows])

        return self._run(choose)

    def fulltext(self, wanted: Sequence[str]) -> tuple[TableVacuumed, ...]:
        """Rebuild these FULLTEXT indexes, with the tables on which they are; ``("auto",)``: all of them."""

        def choose() -> list[str]:
            with self._database.reading(self._ctx.job.id) as connection:
                tables = {row.name: row.tbl for row in connection.execute(_FULLTEXT)}
            names = (
                list(tables) if tuple(wanted) == ("auto",) else _known("FULLTEXT index", wanted, list(tables))
            )
            return list(dict.fromkeys(tables[name] for name in names))

        return self._run(choose)

    def _run(self, choose: Callable[[], list[str]]) -> tuple[TableVacuumed, ...]:
        for name in self._course.over(choose):
            outcome = self._optimize(name)
            if outcome.outcome == "skipped_locked" and not self._skip_locked:
                raise Retry(f"table {name!r} was locked: {outcome.message}")
            self._course.note(outcome)
        done = self._course.done
        if done and all(each.outcome == "failed" for each in done):
            raise Discard(f"no table could be optimized: {done[0].name}: {done[0].message}")
        return tuple(done)

    def _optimize(self, name: str) -> TableVacuumed:
        started = self._clock()
        before = self._bytes(name)

        def watch() -> None:  # MySQL tells nothing of how far it is
            self._course.report(0.0, f"{name}: optimizing for {self._clock() - started:.0f} s")

        quote = self._database.engine.dialect.identifier_preparer.quote_identifier
        try:
            with self._database.autocommit(
                self._ctx.job.id,
                lock_timeout=self._lock_timeout,
                statement_timeout=self._statement_timeout,
                watch=watch,
            ) as connection:
                rows = connection.exec_driver_sql(f"OPTIMIZE TABLE {quote(name)}").all()
                connection.exec_driver_sql(f"ANALYZE TABLE {quote(name)}").all()
        except SQLAlchemyError as error:
            raise failure(error) from error
        outcome, message = _told(rows)
        return TableVacuumed(
            name=name,
            outcome=outcome,
            seconds=round(self._clock() - started, 3),
            bytes_before=before,
            bytes_after=self._bytes(name),
            message=message,
        )

    def _bytes(self, name: str) -> int:
        with self._database.reading(self._ctx.job.id) as connection:
            return next((int(row.bytes or 0) for row in connection.execute(_TABLES) if row.name == name), 0)


def _told(rows: Sequence[Any]) -> tuple[str, str]:
    """What became of a table, by the rows (table, operation, kind, words) that the server answered."""
    wrong = [str(row[3]) for row in rows if str(row[2]).lower() == "error"]
    if wrong:
        words = "; ".join(wrong)
        return ("skipped_locked" if _LOCKED in words.lower() else "failed"), words
    failed = [str(row[3]) for row in rows if str(row[2]).lower() == "status" and str(row[3]) != "OK"]
    known = [words for words in failed if "up to date" not in words.lower()]
    return ("failed", "; ".join(known)) if known else ("ok", "")


def _known(noun: str, wanted: Sequence[str], present: Sequence[str]) -> list[str]:
    """The names as they are; raises `Discard` with all that there are not."""
    if missing := [name for name in wanted if name not in present]:
        known = ", ".join(sorted(present)) or "none"
        raise Discard(f"there is no {noun} {', '.join(map(repr, missing))}; there are: {known}")
    return list(wanted)

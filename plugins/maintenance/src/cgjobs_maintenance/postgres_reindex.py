"""REINDEX INDEX CONCURRENTLY on PostgreSQL, one index at a time; what aborted runs left is swept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cgjobs import Context, Discard, Retry
from cgjobs_data import failure, failures, sqlstate
from cgjobs_maintenance.payloads import Reindex
from cgjobs_maintenance.postgres_vacuum import look
from cgjobs_maintenance.results import IndexRebuilt
from cgjobs_maintenance.tables import Course

if TYPE_CHECKING:
    from cgjobs_data import Database

# Not one that is being built now: another session's REINDEX has an invalid index too.
_LEFTOVERS = text(r"""
    SELECT n.nspname AS schema, c.relname AS name FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relname ~ '_cc(new|old)[0-9]*$'
      AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid
                                                                    OR p.relid = i.indrelid)
    ORDER BY 1, 2
""")
_INDEXES = text("""
    SELECT n.nspname AS schema, c.relname AS name, i.indisvalid AS valid FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'i' AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
""")
# The pages that a btree of so many entries of this mean width takes at its fill factor of 90 %, against those
# that it has. Keys that are expressions, and other kinds of index, are not estimated; duplicates make a btree
# smaller than that, so that what is found here is bloat, but not all bloat is found.
_BLOATED = text(r"""
    SELECT schema, name FROM (
        SELECT n.nspname AS schema, c.relname AS name, c.relpages AS pages,
               ceil(greatest(c.reltuples, 0) * (12 + sum(8 * ceil(coalesce(s.avg_width, 8) / 8.0)))
                    / (0.9 * (current_setting('block_size')::int - 40))) + 1 AS wanted
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_am m ON m.oid = c.relam JOIN pg_class t ON t.oid = i.indrelid
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) AS k(attnum)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = a.attname
        WHERE m.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND i.indexprs IS NULL
          AND c.reltuples >= 0 AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
        GROUP BY 1, 2, 3, c.reltuples
    ) estimated WHERE pages >= :pages AND pages > :factor * wanted ORDER BY pages DESC
""")
_STATE = text("""
    SELECT c.oid::bigint AS oid, i.indrelid::bigint AS table_oid, i.indisvalid AND i.indisready AS valid,
           pg_relation_size(c.oid)::bigint AS bytes
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :name
""")
_PROGRESS = text("""
    SELECT phase, blocks_done, blocks_total, tuples_done, tuples_total, lockers_done, lockers_total
    FROM pg_stat_progress_create_index WHERE pid = :pid
""")
_AUTO_PAGES, _AUTO_FACTOR = 1_280, 1.5  # 10 MiB, a third of it air
_NOT_CONCURRENTLY, _GONE, _NO_DISK = "0A000", ("42P01", "42704"), "53100"


class PostgresReindex:
    """Rebuilds indexes of one database while others use them. Use it once.

    Args:
        database: Where.
        payload: What to do.
        ctx: The job that runs.
        now: The time, aware.
        clock: Seconds since any start, never going back.

    Attributes:
        swept: The leftovers of aborted runs that were dropped.
    """

    def __init__(
        self,
        database: Database,
        payload: Reindex,
        ctx: Context,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._payload, self._ctx, self._clock = database, payload, ctx, clock
        self.swept: list[str] = []
        self._course = Course(
            ctx, clock=clock, now=now, max_duration=payload.max_duration, window=None, make=IndexRebuilt
        )

    def run(self) -> tuple[IndexRebuilt, ...]:
        """Sweep, rebuild each index, sweep.

        Raises:
            Discard: An index is missing, the account does not own it, or the disk is full.
            Retry: A lock was not to be had, or the connection broke.
            Snooze: ``max_duration`` is over.
        """
        self._sweep()
        for name in self._course.over(self._choose):
            try:
                self._course.note(self._rebuild(name))
            except BaseException:
                # An aborted run leaves an invalid index that every write keeps up to date and no query uses.
                with suppress(SQLAlchemyError, Retry, Discard):
                    self._sweep()
                raise
        self._sweep()
        return tuple(self._course.done)

    def _choose(self) -> Sequence[str]:
        with self._database.reading(self._ctx.job.id) as connection:
            present = connection.execute(_INDEXES).all()
            if self._payload.indexes == ("auto",):
                bloated = connection.execute(_BLOATED, {"pages": _AUTO_PAGES, "factor": _AUTO_FACTOR}).all()
                invalid = [f"{row.schema}.{row.name}" for row in present if not row.valid]
                return list(dict.fromkeys([*invalid, *(f"{row.schema}.{row.name}" for row in bloated)]))
            path: list[str] = list(connection.execute(text("SELECT current_schemas(true)")).scalar_one())
        known = [(row.schema, row.name) for row in present]
        found, missing = [], []
        for name in self._payload.indexes:
            schema, _, index = name.rpartition(".")
            places = [each for each in ([schema] if schema else path) if (each, index) in known]
            found += [f"{places[0]}.{index}"] if places else []
            missing += [] if places else [name]
        if missing:
            raise Discard(f"there is no index {', '.join(map(repr, missing))} in the database")
        return found

    def _rebuild(self, name: str) -> IndexRebuilt:
        schema, _, index = name.partition(".")
        started = self._clock()
        with failures():
            before = self._state(schema, index)
        if before is None:
            return IndexRebuilt(name=name, outcome="gone")
        try:
            self._execute(f"REINDEX INDEX CONCURRENTLY {self._quoted(schema, index)}", name)
        except SQLAlchemyError as error:
            state = sqlstate(error)
            if state == _NOT_CONCURRENTLY:  # the index of an exclusion constraint
                return IndexRebuilt(name=name, outcome="unsupported", message=failure(error).reason)
            if state in _GONE:
                return IndexRebuilt(name=name, outcome="gone")
            if state == _NO_DISK:
                raise Discard(f"the disk is too small for a second {name}: {failure(error)}") from error
            raise failure(error) from error
        with failures():
            after = self._state(schema, index)
        valid = after is not None and bool(after.valid)
        if self._payload.verify and not valid:
            raise Retry(f"index {name} is not valid after it was rebuilt")
        return IndexRebuilt(
            name=name,
            outcome="ok" if valid else "invalid",
            seconds=round(self._clock() - started, 3),
            bytes_before=before.bytes,
            bytes_after=0 if after is None else after.bytes,
        )

    def _execute(self, statement: str, name: str) -> None:
        pid = [0]
        with self._database.autocommit(
            self._ctx.job.id,
            lock_timeout=self._payload.lock_timeout,
            watch=lambda: self._course.report(*self._share(name, pid[0])),
        ) as connection:
            pid[0] = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            connection.exec_driver_sql(statement)

    def _share(self, name: str, pid: int) -> tuple[float, str]:
        """How far the index is, and in which phase. Only its building has a measure."""
        with suppress(SQLAlchemyError), look(self._database) as connection:
            row = connection.execute(_PROGRESS, {"pid": pid}).first()
            if row is not None:
                total, done = max(
                    (row.blocks_total or 0, row.blocks_done or 0),
                    (row.tuples_total or 0, row.tuples_done or 0),
                )
                waits = f", {row.lockers_total - row.lockers_done} to wait for" if row.lockers_total else ""
                return (done / total if total else 0.0), f"{name}: {row.phase}{waits}"
        return 0.0, f"{name}: waiting"

    def _state(self, schema: str, index: str) -> Any:
        """What the server knows of an index. Asking for its size takes a lock, the weakest there is."""
        with self._database.autocommit(
            self._ctx.job.id, lock_timeout=self._payload.lock_timeout
        ) as connection:
            return connection.execute(_STATE, {"schema": schema, "name": index}).first()

    def _sweep(self) -> None:
        """Drop what aborted runs left; what cannot be locked, or is not ours, stays and is logged."""
        try:
            with self._database.autocommit(
                self._ctx.job.id, lock_timeout=self._payload.lock_timeout
            ) as connection:
                for row in connection.execute(_LEFTOVERS).all():
                    name = f"{row.schema}.{row.name}"
                    try:
                        connection.exec_driver_sql(
                            f"DROP INDEX CONCURRENTLY IF EXISTS {self._quoted(row.schema, row.name)}"
                        )
                    except SQLAlchemyError as error:
                        self._ctx.log.warning("invalid_index_kept", index=name, reason=str(failure(error)))
                    else:
                        self.swept.append(name)
                        self._ctx.log.info("invalid_index_dropped", index=name)
        except SQLAlchemyError as error:
            raise failure(error) from error

    def _quoted(self, schema: str, index: str) -> str:
        quote = self._database.engine.dialect.identifier_preparer.quote_identifier
        return f"{quote(schema)}.{quote(index)}"

"""VACUUM on PostgreSQL, table by table: what it did, and what it silently did not do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cgjobs import Context, Discard
from cgjobs_data import failure, failures, sqlstate
from cgjobs_maintenance.payloads import Vacuum
from cgjobs_maintenance.results import TablesVacuumed, TableVacuumed
from cgjobs_maintenance.tables import Course
from cgjobs_maintenance.window import Window

if TYPE_CHECKING:
    from cgjobs_data import Database, Notice

_TABLES = text("""
    SELECT n.nspname AS schema, c.relname AS name, c.oid::bigint AS oid, t.n_dead_tup AS dead
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stat_all_tables t ON t.relid = c.oid
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT LIKE 'pg\\_temp\\_%'
""")
_AUTO = text("""
    SELECT schemaname AS schema, relname AS name FROM pg_stat_user_tables
    WHERE n_dead_tup > :rows AND n_dead_tup > :share * (n_live_tup + n_dead_tup)
    ORDER BY n_dead_tup DESC
""")
_STATE = text("""
    SELECT c.oid::bigint AS oid, pg_total_relation_size(c.oid)::bigint AS bytes,
           coalesce(pg_stat_get_dead_tuples(c.oid), 0)::bigint AS dead,
           pg_stat_get_vacuum_count(c.oid)::bigint AS vacuums, pg_relation_filenode(c.oid)::bigint AS file
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :name
""")
_AUTOVACUUM = text("""
    SELECT count(*) FROM pg_stat_progress_vacuum p JOIN pg_stat_activity a USING (pid)
    WHERE p.relid = :oid AND a.backend_type = 'autovacuum worker'
""")
_PROGRESS = text("""
    SELECT phase, heap_blks_total AS total, heap_blks_scanned AS done FROM pg_stat_progress_vacuum p
    WHERE p.relid = :oid AND p.pid = :pid
    UNION ALL
    SELECT phase, heap_blks_total, heap_blks_scanned FROM pg_stat_progress_cluster c
    WHERE c.relid = :oid AND c.pid = :pid
    UNION ALL
    SELECT phase, sample_blks_total, sample_blks_scanned FROM pg_stat_progress_analyze a
    WHERE a.relid = :oid AND a.pid = :pid
""")
_OLDEST = text("""
    SELECT who FROM (
        SELECT 'pid ' || pid || ' (' || coalesce(nullif(application_name, ''), usename, backend_type) || ', '
               || coalesce(state, '') || ' since ' || date_trunc('second', xact_start) || ')' AS who,
               age(backend_xmin) AS age
        FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
        UNION ALL
        SELECT 'replication slot ' || slot_name, greatest(age(xmin), age(catalog_xmin))
        FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
        UNION ALL
        SELECT 'prepared transaction ' || gid, age(transaction) FROM pg_prepared_xacts
    ) holders ORDER BY age DESC LIMIT 1
""")
# What VACUUM VERBOSE says of its table first; its TOAST table comes after. Only an English server says it so.
_REMAINS = re.compile(r"(\d+) are dead but not yet removable")
_GLANCE = timedelta(milliseconds=200)
_AUTO_ROWS, _AUTO_SHARE = 10_000, 0.1
_NO_LOCK, _NO_TABLE, _NO_DISK = "55P03", "42P01", "53100"


class PostgresVacuum:
    """Vacuums tables of one database. Use it once.

    Args:
        database: Where.
        payload: What to do.
        ctx: The job that runs.
        now: The time, aware.
        clock: Seconds since any start, never going back.
    """

    def __init__(
        self,
        database: Database,
        payload: Vacuum,
        ctx: Context,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._payload, self._ctx, self._clock = database, payload, ctx, clock
        self._started = clock()
        self._course = Course(
            ctx,
            clock=clock,
            now=now,
            max_duration=payload.max_duration,
            window=Window.parse(payload.window) if payload.window else None,
            make=TableVacuumed,
        )

    def run(self) -> TablesVacuumed:
        """Vacuum each table.

        Raises:
            Discard: A table is missing, the account may vacuum none, or the disk is full.
            Retry: A lock was not to be had (without ``skip_locked``), or the connection broke.
            Snooze: The window is closed or ``max_duration`` is over.
        """
        for name in self._course.over(self._choose):
            self._course.note(self._vacuum(name))
        done = self._course.done
        self._ctx.log.info(
            "tables_vacuumed",
            database=self._payload.database,
            full=self._payload.full,
            outcomes={outcome: sum(each.outcome == outcome for each in done) for outcome in _outcomes(done)},
        )
        if done and all(each.outcome == "skipped_permission" for each in done):
            raise Discard(
                f"the account may vacuum none of {', '.join(each.name for each in done)}; make it "
                "their owner, or grant it MAINTAIN (PostgreSQL 17 and newer)"
            )
        return TablesVacuumed(tables=tuple(done), seconds=round(self._clock() - self._started, 3))

    def _choose(self) -> Sequence[str]:
        with self._database.reading(self._ctx.job.id) as connection:
            if self._payload.tables == ("auto",):
                rows = connection.execute(_AUTO, {"rows": _AUTO_ROWS, "share": _AUTO_SHARE})
                return [f"{row.schema}.{row.name}" for row in rows]
            present = connection.execute(_TABLES).all()
            path: list[str] = list(connection.execute(text("SELECT current_schemas(true)")).scalar_one())
        return _resolved(self._payload.tables, [(row.schema, row.name) for row in present], path)

    def _vacuum(self, name: str) -> TableVacuumed:
        schema, _, table = name.partition(".")
        started = self._clock()
        try:
            before = self._state(schema, table)
        except SQLAlchemyError as error:
            if self._payload.skip_locked and sqlstate(error) == _NO_LOCK:
                return TableVacuumed(name=name, outcome="skipped_locked", message=failure(error).reason)
            raise failure(error) from error
        if before is None:
            return TableVacuumed(name=name, outcome="gone")
        with self._look() as connection:
            if connection.execute(_AUTOVACUUM, {"oid": before.oid}).scalar_one():
                return TableVacuumed(name=name, outcome="skipped_autovacuum", bytes_before=before.bytes)
        notices = self._execute(name, self._statement(schema, table), before.oid)
        with failures():
            after = self._state(schema, table)
        if after is None:
            return TableVacuumed(name=name, outcome="gone")
        # VACUUM is counted, and FULL gives the table a new file.
        outcome, message = told(notices, worked=(before.vacuums, before.file) != (after.vacuums, after.file))
        remaining = next(
            (int(found[1]) for each in notices if (found := _REMAINS.search(each.message))), after.dead
        )
        holder = self._oldest() if remaining and outcome == "ok" else None
        if outcome == "ok" and remaining and before.dead and remaining >= before.dead:
            outcome = "nothing_removable"
        return TableVacuumed(
            name=name,
            outcome=outcome,
            seconds=round(self._clock() - started, 3),
            bytes_before=before.bytes,
            bytes_after=after.bytes,
            dead_before=before.dead,
            dead_after=after.dead,
            not_removable=remaining if outcome in ("ok", "nothing_removable") else 0,
            xmin_holder=holder,
            message=message,
        )

    def _statement(self, schema: str, table: str) -> str:
        payload = self._payload
        options = ["VERBOSE"]
        options += (
            ["ANALYZE"] * payload.analyze + ["FULL"] * payload.full + ["SKIP_LOCKED"] * payload.skip_locked
        )
        if payload.parallel is not None and not payload.full:
            options.append(f"PARALLEL {payload.parallel}")
        quote = self._database.engine.dialect.identifier_preparer.quote_identifier
        return f"VACUUM ({', '.join(options)}) {quote(schema)}.{quote(table)}"

    def _execute(self, name: str, statement: str, oid: int) -> Sequence[Any]:
        payload = self._payload
        watched: dict[str, int] = {}

        def watch() -> None:
            share, phase = self._share(oid, watched.get("pid", 0))
            self._course.report(share, f"{name}: {phase}")

        try:
            with self._database.autocommit(
                self._ctx.job.id,
                lock_timeout=payload.lock_timeout,
                statement_timeout=payload.statement_timeout,
                watch=watch,
            ) as connection:
                watched["pid"] = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
                connection.exec_driver_sql(statement)
                return list(connection.notices)
        except SQLAlchemyError as error:
            if sqlstate(error) == _NO_DISK:
                raise Discard(
                    f"the disk of the database is too small for {statement}: {failure(error)}"
                ) from error
            raise failure(error) from error

    def _share(self, oid: int, pid: int) -> tuple[float, str]:
        """How far the statement is; the phase ``waiting`` while nothing is known."""
        with suppress(SQLAlchemyError), self._look() as connection:
            row = connection.execute(_PROGRESS, {"oid": oid, "pid": pid}).first()
            if row is not None:
                return (row.done / row.total if row.total else 0.0), str(row.phase)
        return 0.0, "waiting"

    def _state(self, schema: str, table: str) -> Any:
        """What the server knows of a table. Asking for its size takes a lock, the weakest there is."""
        patience = min(self._payload.lock_timeout, _GLANCE) if self._payload.skip_locked else None
        with self._database.autocommit(
            self._ctx.job.id, lock_timeout=patience or self._payload.lock_timeout
        ) as connection:
            return connection.execute(_STATE, {"schema": schema, "name": table}).first()

    def _oldest(self) -> str | None:
        with self._look() as connection:
            found = connection.execute(_OLDEST).scalar()
            return None if found is None else str(found)

    def _look(self) -> Any:
        return look(self._database)


def look(database: Database) -> Any:
    """A connection of its own for one look, in no transaction: a snapshot would be in the vacuum's way."""
    return database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def told(notices: Sequence[Notice], *, worked: bool) -> tuple[str, str]:
    """What VACUUM did not do although it says that all is well, and its words.

    Args:
        notices: What it said. A missing right has no code of its own, and words in any language.
        worked: Whether the server noted that it vacuumed the table: a warning is about something else then.
    """
    for notice in notices:
        if notice.severity == "WARNING":
            words = " ".join(filter(None, (notice.message, notice.detail)))
            if notice.sqlstate == _NO_TABLE:
                return "gone", words
            if worked:
                return "ok", words
            return ("skipped_locked" if notice.sqlstate == _NO_LOCK else "skipped_permission"), words
    return "ok", ""


def _outcomes(done: Sequence[TableVacuumed]) -> list[str]:
    return sorted({each.outcome for each in done})


def _resolved(wanted: Sequence[str], present: Sequence[tuple[str, str]], path: Sequence[str]) -> list[str]:
    """Names with their schema; raises `Discard` with all that there are not."""
    found, missing = [], []
    for name in wanted:
        schema, _, table = name.rpartition(".")
        schemas = [schema] if schema else [each for each in path if (each, table) in present]
        if schemas and (schemas[0], table) in present:
            found.append(f"{schemas[0]}.{table}")
        else:
            missing.append(name)
    if missing:
        raise Discard(
            f"there is no table {', '.join(map(repr, missing))} in the database; see `cgjobs data check`"
        )
    return found

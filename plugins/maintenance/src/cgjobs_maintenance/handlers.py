"""The handler of each subtype."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cgjobs import Context, Discard, Snooze, subtype
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import cache_directory
from cgjobs_maintenance.cache_directory import DirectorySweep
from cgjobs_maintenance.cache_keys import allowed, check_pattern
from cgjobs_maintenance.databases import locate
from cgjobs_maintenance.payloads import AUTO, Cache, Reindex, Vacuum
from cgjobs_maintenance.results import (
    CacheResult,
    IndexRebuilt,
    ReindexResult,
    TablesVacuumed,
    VacuumResult,
)
from cgjobs_maintenance.settings import CacheTarget, SearchTarget, Settings
from cgjobs_maintenance.vacuuming import Vacuuming
from cgjobs_maintenance.window import Window

if TYPE_CHECKING:
    from cgjobs_data import Database

SEARCH_ADVICE = "pip install 'chatgenius-jobs-maintenance[search]'"


@subtype("maintenance.vacuum", idempotent=True)
def vacuum(payload: Vacuum, ctx: Context) -> VacuumResult | TablesVacuumed:
    """Give a database's unused space back, and refresh its statistics."""
    database = locate(payload.database, ctx)
    if isinstance(database, Path):
        _refuse_fields_of_servers(payload)
        _wait_for_window(payload)
        return Vacuuming(database, payload, ctx, clock=time.monotonic, free_space=_free_space).run()
    if payload.mode is not None:
        raise Discard(
            f"mode={payload.mode!r} is for SQLite; {payload.database!r} is {database.dialect}: see full"
        )
    if database.dialect == "postgresql":
        from cgjobs_maintenance.postgres_vacuum import PostgresVacuum

        return PostgresVacuum(database, payload, ctx, now=_now).run()
    from cgjobs_maintenance.mysql_optimize import Optimizing

    if payload.full or payload.parallel is not None:
        raise Discard("full and parallel are for PostgreSQL; MySQL's OPTIMIZE TABLE has neither")
    started = time.monotonic()
    optimizing = Optimizing(
        database,
        ctx,
        lock_timeout=payload.lock_timeout,
        statement_timeout=payload.statement_timeout,
        max_duration=payload.max_duration,
        window=payload.window,
        skip_locked=payload.skip_locked,
        now=_now,
    )
    return TablesVacuumed(optimizing.tables(payload.tables), round(time.monotonic() - started, 3))


def _refuse_fields_of_servers(payload: Vacuum) -> None:
    """Raise `Discard` for what was asked of a SQLite file and cannot be done with one."""
    given = {
        "tables": payload.tables != AUTO,
        "full": payload.full,
        "statement_timeout": payload.statement_timeout is not None,
        "parallel": payload.parallel is not None,
    }
    if asked := [name for name, is_given in given.items() if is_given]:
        raise Discard(
            f"database {payload.database!r} is a SQLite file, which is vacuumed whole, by mode; "
            f"leave out {', '.join(asked)}"
        )


def _wait_for_window(payload: Vacuum) -> None:
    if payload.window and (wait := Window.parse(payload.window).wait(_now())):
        raise Snooze(wait, f"the window {payload.window} is closed")


@subtype("maintenance.reindex", idempotent=True)
def reindex(payload: Reindex, ctx: Context) -> ReindexResult:
    """Rebuild indexes while others use them."""
    settings = ctx.settings(Settings)
    if payload.target in settings.search:
        return _rebuild_search(payload, settings.search[payload.target], ctx)
    if payload.drop_index is not None:
        raise Discard(f"drop_index is for search servers; {payload.target!r} is none")
    database = locate(payload.target, ctx)
    if isinstance(database, Path):
        from cgjobs_maintenance.fts5 import FtsRebuild

        result = ReindexResult(FtsRebuild(database, payload, ctx).run())
    elif database.dialect == "postgresql":
        from cgjobs_maintenance.postgres_reindex import PostgresReindex

        work = PostgresReindex(database, payload, ctx, now=_now)
        result = ReindexResult(work.run(), swept_invalid=tuple(work.swept))
    else:
        result = ReindexResult(_rebuild_fulltext(payload, database, ctx))
    ctx.log.info(
        "indexes_rebuilt",
        target=payload.target,
        outcomes={each.name: each.outcome for each in result.indexes},
        swept=list(result.swept_invalid),
    )
    return result


def _rebuild_fulltext(payload: Reindex, database: Database, ctx: Context) -> tuple[IndexRebuilt, ...]:
    from cgjobs_maintenance.mysql_optimize import Optimizing

    tables = Optimizing(
        database,
        ctx,
        lock_timeout=payload.lock_timeout,
        statement_timeout=None,
        max_duration=payload.max_duration,
        window=None,
        skip_locked=False,
        now=_now,
    ).fulltext(payload.indexes)
    return tuple(
        IndexRebuilt(
            name=table.name,
            outcome=table.outcome,
            seconds=table.seconds,
            bytes_before=table.bytes_before,
            bytes_after=table.bytes_after,
            message=table.message,
        )
        for table in tables
    )


def _rebuild_search(payload: Reindex, target: SearchTarget, ctx: Context) -> ReindexResult:
    if payload.indexes != AUTO:
        raise Discard(f"indexes names nothing on a search server; {payload.target!r} has one index")
    try:
        from cgjobs_maintenance.search_server import SearchServer
    except ModuleNotFoundError as error:
        raise Discard(f"{error.name} is missing: {SEARCH_ADVICE}") from error
    from cgjobs_data import Database
    from cgjobs_maintenance.search_rebuild import SearchRebuild, drop

    with SearchServer(payload.target, target) as server:
        if payload.drop_index is not None:
            return drop(server, target, payload.drop_index, ctx)
        database = ctx.use(Database, ctx.settings(DataSettings))
        return SearchRebuild(server, target, database, payload, ctx).run()


@subtype("maintenance.cache", idempotent=True, destructive=True)
def cache(payload: Cache, ctx: Context) -> CacheResult:
    """Delete from a cache what nobody needs, or give it a time to live."""
    target = ctx.settings(Settings).caches.get(payload.target)
    if target is None:
        known = ", ".join(ctx.settings(Settings).caches) or "none"
        raise Discard(
            f"no cache is named {payload.target!r} in [plugins.maintenance.caches]; there are: {known}"
        )
    created = ctx.job.created_at
    assert created is not None, "a job that runs was created"
    # The cutoff hangs on when the job was made, so that a retry finds the same things idle.
    cutoff = created - (payload.idle or timedelta(0))
    if target.directory is not None:
        return _sweep_directory(payload, target.directory, ctx, cutoff)
    assert target.url is not None, "a cache has a url or a directory"
    _refuse_keys(payload, target)
    # Here, since every process that enqueues a payload imports this module.
    from cgjobs_maintenance import cache_server
    from cgjobs_maintenance.cache_sweep import CacheSweep

    with cache_server.opened(payload.target, target.url, f"cgjobs/{ctx.job.id}") as nodes:
        return CacheSweep(
            nodes, payload, target.protected, ctx, cutoff=cutoff, clock=time.monotonic, now=_now
        ).run()


def _refuse_keys(payload: Cache, target: CacheTarget) -> None:
    """Raise `Discard` for what a cache in Redis does not allow or does not have."""
    faults = []
    if payload.pattern is None:
        faults.append("pattern is missing")
    else:
        try:
            check_pattern(payload.pattern)
        except ValueError as error:
            faults.append(str(error))
        else:
            if not allowed(payload.pattern, target.prefixes):
                faults.append(f"pattern {payload.pattern!r} begins with none of its prefixes")
    if payload.idle is not None and payload.only is None:
        faults.append("idle is given without only='idle'")
    if payload.max_bytes is not None:
        faults.append("max_bytes is for directories")
    if faults:
        raise Discard(
            f"cache {payload.target!r}, in Redis, with the prefixes {', '.join(map(repr, target.prefixes))}, "
            f"cannot be swept so: {'; '.join(faults)}"
        )


def _sweep_directory(payload: Cache, directory: Path, ctx: Context, cutoff: datetime) -> CacheResult:
    faults = []
    if payload.only == "no_ttl" or payload.set_ttl is not None:
        faults.append("files have no time to live: leave only='no_ttl' and set_ttl out")
    if payload.only is None and payload.idle is None and payload.max_bytes is None:
        faults.append("say what shall go: idle, max_bytes or only='all'")
    if payload.pattern is not None and "/" in payload.pattern:
        faults.append(
            f"pattern {payload.pattern!r} has a slash; it is compared with the name of a file alone"
        )
    if faults:
        raise Discard(f"cache {payload.target!r} is a directory: " + "; ".join(faults))
    with cache_directory.opened(payload.target, directory) as root:
        return DirectorySweep(root, payload, ctx, cutoff=cutoff, clock=time.monotonic).run()


def _now() -> datetime:
    return datetime.now(UTC)


def _free_space(directory: Path) -> int:
    return shutil.disk_usage(directory).free

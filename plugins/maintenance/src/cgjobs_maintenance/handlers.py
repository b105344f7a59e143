"""The handler of each subtype."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cgjobs import Context, Discard, subtype
from cgjobs_maintenance import cache_directory
from cgjobs_maintenance.cache_directory import DirectorySweep
from cgjobs_maintenance.cache_keys import allowed, check_pattern
from cgjobs_maintenance.payloads import Cache, Vacuum
from cgjobs_maintenance.results import CacheResult, VacuumResult
from cgjobs_maintenance.settings import CacheTarget, Settings
from cgjobs_maintenance.vacuuming import Vacuuming


@subtype("maintenance.vacuum")
def vacuum(payload: Vacuum, ctx: Context) -> VacuumResult:
    """Give a database's unused space back to the disk."""
    path = _locate(payload.database, ctx.settings(Settings))
    return Vacuuming(path, payload, ctx, clock=time.monotonic, free_space=_free_space).run()


def _locate(name: str, settings: Settings) -> Path:
    configured = settings.databases.get(name)
    if configured is None:
        known = ", ".join(settings.databases) or "none"
        raise Discard(f"no database is named {name!r} in [plugins.maintenance] databases; there are: {known}")
    path = configured.resolve()  # once, so that everything after it is about one and the same file
    if not path.is_file():
        raise Discard(
            f"database {name!r} is configured as '{configured}', where no file is; "
            f"correct [plugins.maintenance.databases] {name}, or create it with its application"
        )
    return path


def _free_space(directory: Path) -> int:
    return shutil.disk_usage(directory).free


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
            f"cache {payload.target!r} in Redis has the prefixes {', '.join(map(repr, target.prefixes))}: "
            + "; ".join(faults)
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

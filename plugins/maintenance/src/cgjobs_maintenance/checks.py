"""What `cgjobs doctor` says of databases, caches and search servers: all are asked at once, and briefly."""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from cgjobs import Discard, Finding, Retry
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance.settings import CHATGENIUS, CacheTarget, SearchTarget, Settings

VACUUM, REINDEX, CACHE = "maintenance.vacuum", "maintenance.reindex", "maintenance.cache"
PATIENCE = 1.5
"""Seconds for all of them together."""

Check = Callable[[], list[Finding]]


def check(settings: Settings, data: DataSettings, *, patience: float = PATIENCE) -> Iterator[Finding]:
    """Look at everything that is configured. Changes nothing.

    Args:
        settings: What is maintained.
        data: Where ChatGenius' own database is; the plugin ``data`` looks at that itself.
        patience: Seconds; what has not answered by then is said to be slow.
    """
    checks: dict[tuple[str, str], Check] = {}
    for name, path in settings.files.items():
        checks[VACUUM, f"database {name!r}"] = lambda name=name, path=path: _file(name, path)  # type: ignore[misc]
    for name, where in settings.servers.items():
        checks[VACUUM, f"database {name!r}"] = lambda name=name, where=where: _server(name, where)  # type: ignore[misc]
    for name, cache in settings.caches.items():
        checks[CACHE, f"cache {name!r}"] = lambda name=name, cache=cache: _cache(name, cache)  # type: ignore[misc]
    for name, search in settings.search.items():
        checks[REINDEX, f"search server {name!r}"] = lambda name=name, search=search: _search(name, search)  # type: ignore[misc]
    yield from _nothing(settings, data)
    yield from _ask(checks, patience)


def _nothing(settings: Settings, data: DataSettings) -> Iterator[Finding]:
    if not settings.databases:
        is_there = bool(data.url) or data.demo_file.is_file()
        words = (
            f"{CHATGENIUS!r} is the database of [plugins.data]" if is_there else "no database is configured"
        )
        yield Finding(VACUUM, "ok" if is_there else "warn", words, "" if is_there else _WRITE_DATABASE)
    if not settings.search:
        yield Finding(REINDEX, "ok", "no search server is configured; indexes of databases are rebuilt")
    if not settings.caches:
        yield Finding(CACHE, "warn", "no cache is configured", "write [plugins.maintenance.caches.NAME]")


def _ask(checks: Mapping[tuple[str, str], Check], patience: float) -> Iterator[Finding]:
    """Every check on a thread of its own: one that hangs holds up no other, and not the command's end."""
    found: dict[tuple[str, str], list[Finding]] = {}

    def run(key: tuple[str, str], each: Check) -> None:
        try:
            found[key] = each()
        except (Discard, Retry) as error:
            words = error.reason if key[1] in error.reason else f"{key[1]}: {error.reason}"
            found[key] = [Finding(key[0], "bad", words)]
        except Exception as error:  # a check that breaks is a finding too
            found[key] = [Finding(key[0], "bad", f"{key[1]}: {type(error).__name__}: {error}")]

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    late = threading.Timer(patience, lambda: None)
    late.daemon = True
    late.start()
    for thread in threads:
        while thread.is_alive() and late.is_alive():
            thread.join(0.01)
    late.cancel()
    for key in checks:
        yield from found.get(key) or [
            Finding(key[0], "warn", f"{key[1]} did not answer within {patience:g} s", "look whether it is up")
        ]


def _file(name: str, path: Path) -> list[Finding]:
    if not path.is_file():
        return [
            Finding(VACUUM, "bad", f"database {name!r}: there is no file at '{path}'", "correct the path")
        ]
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        advice = "let the worker's user write the file and its directory"
        return [Finding(VACUUM, "bad", f"database {name!r}: '{path}' cannot be written", advice)]
    size, free = path.stat().st_size, shutil.disk_usage(path.parent).free
    if free < 2 * size:
        words = f"database {name!r}: {free:,} bytes are free, and a full vacuum may need {2 * size:,}"
        return [Finding(VACUUM, "warn", words, "make room, or use mode incremental")]
    return [Finding(VACUUM, "ok", f"database {name!r}: SQLite, {size:,} bytes")]


def _server(name: str, where: DataSettings) -> list[Finding]:
    from sqlalchemy import text

    from cgjobs_data import Database, failures

    with Database(where, patience=timedelta(seconds=2)) as database, failures():
        if database.dialect != "postgresql":
            return [Finding(VACUUM, "ok", f"database {name!r}: {database.dialect} at {database.place}")]
        with database.engine.connect() as connection:
            foreign = connection.execute(text(_FOREIGN)).scalar_one()
    if foreign:
        words = f"database {name!r}: {foreign} of its tables are not the account's, and will be skipped"
        return [Finding(VACUUM, "warn", words, "make it their owner, or grant it MAINTAIN (PostgreSQL 17)")]
    return [Finding(VACUUM, "ok", f"database {name!r}: PostgreSQL at {database.place}")]


def _cache(name: str, cache: CacheTarget) -> list[Finding]:
    if cache.directory is not None:
        from cgjobs_maintenance import cache_directory

        with cache_directory.opened(name, cache.directory):
            if os.access(cache.directory, os.W_OK):
                return [Finding(CACHE, "ok", f"cache {name!r}: directory '{cache.directory}'")]
        return [
            Finding(
                CACHE,
                "bad",
                f"cache {name!r}: '{cache.directory}' cannot be written",
                "let the worker write it",
            )
        ]
    from cgjobs_maintenance import cache_server

    assert cache.url is not None, "a cache has a url or a directory"
    with cache_server.opened(name, cache.url, "cgjobs/doctor") as nodes:
        keys, policy = sum(node.keys for node in nodes), ", ".join(sorted({node.policy for node in nodes}))
        words = f"cache {name!r}: {len(nodes)} server{'s' * (len(nodes) > 1)}, {keys:,} keys, {policy}"
        if any(node.counts_uses for node in nodes):
            return [Finding(CACHE, "ok", f"{words}: only='idle' goes by frequency here")]
        return [Finding(CACHE, "ok", words)]


def _search(name: str, search: SearchTarget) -> list[Finding]:
    if importlib.util.find_spec("httpx2") is None:
        from cgjobs_maintenance.handlers import SEARCH_ADVICE

        return [Finding(REINDEX, "bad", f"search server {name!r}: httpx2 is missing", SEARCH_ADVICE)]
    if search.mapping is not None:
        search.shape()
    from cgjobs_maintenance.search_server import SearchServer

    with SearchServer(name, search) as server:
        behind = server.behind(search.alias or search.entity)
    there = f"alias {search.alias or search.entity!r} leads to {', '.join(behind) or 'nothing yet'}"
    return [Finding(REINDEX, "ok", f"search server {name!r}: {there} (experimental)")]


_WRITE_DATABASE = "set [plugins.data] url, or [plugins.maintenance.databases] NAME"
_FOREIGN = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND n.nspname NOT LIKE 'pg\\_t%'
      AND NOT pg_has_role(c.relowner, 'USAGE')
"""

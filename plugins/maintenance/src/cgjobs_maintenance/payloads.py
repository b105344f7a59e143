"""What is enqueued. Every web process that enqueues imports this, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, get_args

import attrs
from attrs.validators import ge, gt, in_, le, min_len, optional

from cgjobs_maintenance.cache_keys import DENIED, check_pattern
from cgjobs_maintenance.window import Window

Mode = Literal["full", "incremental", "optimize"]
Only = Literal["no_ttl", "idle", "all"]
AUTO = ("auto",)
"""In the place of names: what needs it."""


def between(low: timedelta, high: timedelta) -> Callable[[Any, attrs.Attribute[Any], timedelta], None]:
    """A validator: a duration from ``low`` to ``high``, both included."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: timedelta) -> None:
        if not low <= value <= high:
            raise ValueError(f"{attribute.name} is {value}; it must be from {low} to {high}")

    return check


def _windowed(_instance: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if value is not None:
        Window.parse(value)


_BRIEF = between(timedelta(0), timedelta(minutes=1))
_LONG = between(timedelta(seconds=1), timedelta(hours=24))


@attrs.frozen
class Vacuum:
    """Give a database's unused space back, and refresh what its query planner knows.

    SQLite: the whole file, as ``mode`` says. PostgreSQL: VACUUM, table by table, which blocks nobody, or
    with ``full`` VACUUM FULL, which locks each table out. MySQL and MariaDB: OPTIMIZE TABLE.

    Args:
        database: Name of the database, from ``[plugins.maintenance] databases``; never a path or a URL.
            ``chatgenius`` is that of ``[plugins.data]`` unless it is named there.
        mode: SQLite only. ``full``, the default there, rewrites the file: nobody can write meanwhile, and the
            disk needs room for twice its size. ``incremental`` gives back only free pages, a thousand at a
            time, and needs a database with ``auto_vacuum=INCREMENTAL``. ``optimize`` only refreshes the
            planner's statistics. All of them empty the write-ahead log.
        tables: ``table`` or ``schema.table``; ``("auto",)``: in PostgreSQL those with more than 10,000 dead
            rows that are more than a tenth of all, in MySQL those of which more than a tenth is free. In
            SQLite it is always the whole file.
        analyze: PostgreSQL: refresh the statistics too.
        full: PostgreSQL: VACUUM FULL, which rewrites each table under a lock that keeps even readers out.
        confirm_full: Do that on purpose; ``full`` is refused without it.
        lock_timeout: Wait at most this long for somebody else's lock, then try again later; up to 1 min.
        statement_timeout: Longest work on one table, above zero; None for no limit. Not in SQLite.
        skip_locked: Pass a locked table by, and say so, instead of trying again later. Not in SQLite.
        parallel: PostgreSQL: workers for the indexes of one table, 0 to 4; None leaves it to the server.
        window: Begin tables only then, each day in UTC: ``01:00-05:00``. Outside it the job waits, which uses
            up no attempt. None for always.
        max_duration: A full vacuum of SQLite that takes longer is stopped and fails, with the database as it
            was; anything else goes on in a new run, which uses up no attempt. 1 s to 24 h.
    """

    database: str
    mode: Mode | None = attrs.field(default=None, kw_only=True, validator=optional(in_(get_args(Mode))))
    tables: tuple[str, ...] = attrs.field(default=AUTO, kw_only=True, validator=min_len(1))
    analyze: bool = attrs.field(default=True, kw_only=True)
    full: bool = attrs.field(default=False, kw_only=True)
    confirm_full: bool = attrs.field(default=False, kw_only=True)
    lock_timeout: timedelta = attrs.field(default=timedelta(seconds=5), kw_only=True, validator=_BRIEF)
    statement_timeout: timedelta | None = attrs.field(
        default=None, kw_only=True, validator=optional(gt(timedelta(0)))
    )
    skip_locked: bool = attrs.field(default=True, kw_only=True)
    parallel: int | None = attrs.field(default=None, kw_only=True, validator=optional([ge(0), le(4)]))
    window: str | None = attrs.field(default=None, kw_only=True, validator=_windowed)
    max_duration: timedelta = attrs.field(default=timedelta(minutes=30), kw_only=True, validator=_LONG)

    @full.validator
    def _meant(self, attribute: attrs.Attribute[bool], value: bool) -> None:
        if value and not self.confirm_full:
            raise ValueError(
                "full locks each table out while it is rewritten; set confirm_full as well if you mean it"
            )


@attrs.frozen
class Reindex:
    """Rebuild indexes while others use them.

    PostgreSQL: REINDEX INDEX CONCURRENTLY. SQLite: the FTS5 indexes. MySQL and MariaDB: the FULLTEXT indexes,
    by OPTIMIZE TABLE. Elasticsearch and OpenSearch: a new index from the rows of ChatGenius' table, then the
    alias is swapped.

    Args:
        target: Name of a database, as with `Vacuum`, or of a search index, from
            ``[plugins.maintenance.search]``.
        indexes: Names of indexes, in PostgreSQL also ``schema.index``. ``("auto",)``: in PostgreSQL invalid
            ones and btrees of more than 10 MiB that are half as large again as they need to be; in SQLite
            those that have drifted from their table; in MySQL all. A search server has the one of ``target``.
        lock_timeout: Wait at most this long for somebody else's lock, then try again later; up to 10 min.
        verify: Check afterwards: that the index is valid, agrees with its table, has as many documents.
        keep_old: Search servers: delete the index that was swapped out after this time, in a job of its own;
            until then the alias can be set back. Up to 30 d.
        batch_size: Search servers: rows read and documents written in one step; 10 to 10,000.
        max_count_drift: Search servers: by how much of the rows the number of documents may differ, 0 to 1;
            rows come and go while the index is built. Beyond it nothing is swapped.
        max_duration: Between two indexes or batches, go on in a new run when this took so long, which uses up
            no attempt; 1 s to 24 h. Not in SQLite.
        drop_index: Set by a job that has swapped an alias, for the one that deletes the old index.
    """

    target: str
    indexes: tuple[str, ...] = attrs.field(default=AUTO, kw_only=True, validator=min_len(1))
    lock_timeout: timedelta = attrs.field(
        default=timedelta(seconds=10), kw_only=True, validator=between(timedelta(0), timedelta(minutes=10))
    )
    verify: bool = attrs.field(default=True, kw_only=True)
    keep_old: timedelta = attrs.field(
        default=timedelta(hours=24), kw_only=True, validator=between(timedelta(0), timedelta(days=30))
    )
    batch_size: int = attrs.field(default=1_000, kw_only=True, validator=[ge(10), le(10_000)])
    max_count_drift: float = attrs.field(default=0.001, kw_only=True, validator=[ge(0), le(1)])
    max_duration: timedelta = attrs.field(default=timedelta(hours=4), kw_only=True, validator=_LONG)
    drop_index: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class Cache:
    """Sweep a cache: delete what nobody needs, or give it a time to live.

    In Redis every key that matches is looked at, a batch at a time, while others go on using the server. Keys
    that are written meanwhile may be missed, and a key may be written between the look and the deletion: it
    is a sweep, not a transaction. In a directory files go, by when they were last read or written.

    Args:
        target: Name of the cache, from ``[plugins.maintenance.caches]``; never a URL or a path.
        pattern: Redis: which keys, as SCAN has it, such as ``chatgenius:user:*``; it must begin with one of
            the cache's prefixes. Directory: which file names, such as ``*.tmp``; None for all.
        only: ``no_ttl``: keys that would stay for ever. ``idle``: what was not used for ``idle``. ``all``.
            None: ``no_ttl`` in Redis, ``idle`` in a directory.
        idle: How long it was not used, before the job was enqueued.
        frequency: Under an LFU policy Redis knows no idle times: keys whose access counter has decayed to
            this or less are then idle instead, and ``idle`` says nothing; 0 to 255.
        set_ttl: Redis: give the keys this time to live, instead of deleting them; never a longer one than
            they have.
        max_bytes: Directory: also delete what was used longest ago, until no more than this is left.
        batch: Redis: keys looked at in one step; 10 to 10,000.
        dry_run: Look at everything and change nothing.
        max_duration: Go on in a new run, which uses up no attempt, when this took so long; 1 s to 24 h.
        max_items: Stop when this many keys or files were deleted or given a time to live; from 1.
    """

    target: str
    pattern: str | None = attrs.field(default=None, kw_only=True)
    only: Only | None = attrs.field(default=None, kw_only=True, validator=optional(in_(get_args(Only))))
    idle: timedelta | None = attrs.field(default=None, kw_only=True)
    frequency: int = attrs.field(default=0, kw_only=True, validator=[ge(0), le(255)])
    set_ttl: timedelta | None = attrs.field(default=None, kw_only=True)
    max_bytes: int | None = attrs.field(default=None, kw_only=True, validator=optional(ge(0)))
    batch: int = attrs.field(default=1_000, kw_only=True, validator=[ge(10), le(10_000)])
    dry_run: bool = attrs.field(default=False, kw_only=True)
    max_duration: timedelta = attrs.field(
        default=timedelta(minutes=30),
        kw_only=True,
        validator=between(timedelta(seconds=1), timedelta(hours=24)),
    )
    max_items: int | None = attrs.field(default=None, kw_only=True, validator=optional(ge(1)))

    @pattern.validator
    def _has_prefix(self, attribute: attrs.Attribute[str | None], value: str | None) -> None:
        # Only the handler knows whether it is for keys or for files, which may be called '*.tmp'.
        if value in ("", "*"):
            raise ValueError(f"pattern {value!r} is every key; begin it with one of the cache's prefixes")
        if value is not None and value.startswith(DENIED):
            check_pattern(value)

    @idle.validator
    def _in_the_past(self, attribute: attrs.Attribute[timedelta | None], value: timedelta | None) -> None:
        if value is not None and value <= timedelta(0):
            raise ValueError(f"idle is {value}; it must be above zero, such as 7d")
        if value is None and self.only == "idle":
            raise ValueError("only='idle' needs idle: since when was it not used? Such as 7d")
        if value is not None and self.only not in ("idle", None):
            raise ValueError(f"idle says nothing with only={self.only!r}; set only='idle'")

    @set_ttl.validator
    def _whole_seconds(self, attribute: attrs.Attribute[timedelta | None], value: timedelta | None) -> None:
        if value is not None and value < timedelta(seconds=1):
            raise ValueError(f"set_ttl is {value}; it must be at least 1 s")
        if value is not None and self.max_bytes is not None:
            raise ValueError("set_ttl is for caches in Redis and max_bytes for directories; set one of them")

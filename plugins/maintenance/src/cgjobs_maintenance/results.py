"""What a maintenance job reports."""

from __future__ import annotations

from typing import Literal

import attrs

from cgjobs_maintenance.payloads import Mode


@attrs.frozen
class VacuumResult:
    """What `Vacuum` did to a SQLite file.

    An incremental one that went on in several runs reports the last of them.

    Args:
        mode: How it was done.
        bytes_before, bytes_after: Size of the database file.
        freelist_before, freelist_after: Pages of it that hold nothing.
        wal_bytes: Size of the write-ahead log at the end.
        checkpointed: False when somebody who reads kept the log from being moved into the file: then
            ``bytes_after`` shrinks, and ``wal_bytes`` goes to zero, at a checkpoint after they are done.
        integrity: ``ok`` from SQLite's quick check before the work; None when ``optimize`` did not check.
        seconds: How long it took.
    """

    mode: Mode
    bytes_before: int
    bytes_after: int
    freelist_before: int
    freelist_after: int
    wal_bytes: int
    checkpointed: bool
    integrity: str | None
    seconds: float


@attrs.frozen
class TableVacuumed:
    """What became of one table.

    Args:
        name: The table, in PostgreSQL with its schema.
        outcome: ``ok``; ``nothing_removable``: somebody's old snapshot kept every dead row;
            ``skipped_locked``, ``skipped_permission``, ``skipped_autovacuum``; ``gone``; ``failed``.
        seconds: How long it took.
        bytes_before, bytes_after: Its size with indexes and TOAST.
        dead_before, dead_after: PostgreSQL: its dead rows, by the server's own count.
        not_removable: PostgreSQL: dead rows that somebody may still see.
        xmin_holder: PostgreSQL: who holds the oldest snapshot, when there are such rows.
        message: What the server said when it did nothing.
    """

    name: str
    outcome: str
    seconds: float = 0.0
    bytes_before: int = 0
    bytes_after: int = 0
    dead_before: int = 0
    dead_after: int = 0
    not_removable: int = 0
    xmin_holder: str | None = None
    message: str = ""


@attrs.frozen
class TablesVacuumed:
    """What `Vacuum` did on PostgreSQL, MySQL or MariaDB, over all its runs.

    Args:
        tables: Each table that was chosen.
        seconds: How long the last run took.
    """

    tables: tuple[TableVacuumed, ...]
    seconds: float


@attrs.frozen
class IndexRebuilt:
    """What became of one index; in MySQL, of one table with its FULLTEXT indexes.

    Args:
        name: The index, in PostgreSQL with its schema.
        outcome: ``ok``; ``sound``: it had not drifted and was left alone; ``skipped_locked``;
            ``unsupported``: it cannot be rebuilt this way; ``gone``; ``invalid``; ``failed``; of an index
            that was swapped out ``dropped`` or ``in_use``.
        seconds: How long it took.
        bytes_before, bytes_after: Its size.
        drifted: SQLite: whether it disagreed with its table before.
        message: What the server said when it did nothing.
    """

    name: str
    outcome: str
    seconds: float = 0.0
    bytes_before: int = 0
    bytes_after: int = 0
    drifted: bool | None = None
    message: str = ""


@attrs.frozen
class ReindexResult:
    """What `Reindex` did.

    Args:
        indexes: Each index that was chosen.
        swept_invalid: PostgreSQL: leftovers of aborted runs that were dropped.
        docs_indexed: Search servers: documents written, over all runs.
        count_source, count_index: Search servers: rows of the table, documents of the new index.
        swapped: Search servers: whether the alias leads to the new index.
        old_index: Search servers: what it led to before.
    """

    indexes: tuple[IndexRebuilt, ...]
    swept_invalid: tuple[str, ...] = ()
    docs_indexed: int | None = None
    count_source: int | None = None
    count_index: int | None = None
    swapped: bool = False
    old_index: str | None = None


@attrs.frozen
class CacheSkipped:
    """What a sweep left alone.

    Args:
        protected: Keys of the job queue, and with the cache's ``protected`` prefixes.
        ttl: Keys that have a time to live, for ``no_ttl``.
        young: Keys or files that were used since.
        gone: Keys that were gone, or on another server of the cluster, when their turn came.
        other: Files that did not fit the pattern, links, sockets, what is on another file system.
    """

    protected: int = 0
    ttl: int = 0
    young: int = 0
    gone: int = 0
    other: int = 0


@attrs.frozen
class CacheResult:
    """What `Cache` did, over all its runs; in a dry run, what it would have done.

    Args:
        dry_run: True when nothing was changed.
        scanned: Keys that fit the pattern, or files seen. SCAN may give a key twice.
        matched: Those of them that were to be changed.
        unlinked: Those that were deleted, as the server counts them.
        ttl_set: Those that were given a time to live.
        memory_before, memory_after: Bytes that the servers used, for all they have; what was unlinked is
            freed in the background, perhaps a moment later. Of a directory the sizes of its files.
        matched_bytes: In a dry run what the matched keys or files take, otherwise None.
        skipped: What was left alone, and why.
        evicted_policy: The servers' ``maxmemory-policy``; ``""`` for a directory.
        samples: Up to five of the keys, or of the files below the directory.
        errors: Files that could not be read or deleted.
        stopped_by: ``max_items`` when that was reached, otherwise None.
    """

    dry_run: bool
    scanned: int
    matched: int
    unlinked: int
    ttl_set: int
    memory_before: int
    memory_after: int
    matched_bytes: int | None
    skipped: CacheSkipped
    evicted_policy: str
    samples: tuple[str, ...]
    errors: int = 0
    stopped_by: Literal["max_items"] | None = None

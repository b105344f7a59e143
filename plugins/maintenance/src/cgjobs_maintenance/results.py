"""What a maintenance job reports."""

from __future__ import annotations

from typing import Literal

import attrs

from cgjobs_maintenance.payloads import Mode


@attrs.frozen
class VacuumResult:
    """What `Vacuum` did. An incremental one that went on in several runs reports the last of them.

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

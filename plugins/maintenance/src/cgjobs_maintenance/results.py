"""What a maintenance job reports."""

from __future__ import annotations

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

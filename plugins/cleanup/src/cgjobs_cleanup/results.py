"""What a cleanup reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs


@attrs.frozen
class PathError:
    """Something that could not be read or deleted.

    Args:
        path: Where, below the root; bytes that are not UTF-8 are written ``\\xNN``.
        code: The system's name for what went wrong, such as ``EACCES``.
    """

    path: str
    code: str


@attrs.frozen
class Skipped:
    """What was left alone, by the first reason that held.

    Args:
        unselected: Files that the patterns or ``min_size`` left out.
        young: Files written after the cutoff.
        symlink: Symbolic links; never followed and never deleted.
        special: Sockets, pipes and devices.
        excluded_dirs: Directories that were not entered because ``exclude`` names them.
        other_fs: Files and directories on another file system than the root.
        changed: Files that were written, replaced or gone between listing and deleting.
        held: Old rows under a legal hold.
        elsewhere: Old rows whose URL lies outside the root.
        shared: Old rows with the URL of a row that stays.
    """

    unselected: int = 0
    young: int = 0
    symlink: int = 0
    special: int = 0
    excluded_dirs: int = 0
    other_fs: int = 0
    changed: int = 0
    held: int = 0
    elsewhere: int = 0
    shared: int = 0


@attrs.frozen
class FilesResult:
    """What `Files` did; in a dry run, what it would have done.

    A job that went on in several runs reports the last of them; each run writes its own log line.

    Args:
        cutoff: Files last written before this were old.
        dry_run: True when nothing was deleted.
        scanned: Regular files (in mode ``rows``, rows) seen; the whole of which ``max_fraction`` is a share.
        matched: Those of them that were to be deleted; in mode ``orphans`` the orphans.
        deleted: Those that were.
        bytes_freed: Their sizes in sum. A file with a second name counts nothing: its data stays.
        hard_links: How many of the deleted files had a second name.
        dirs_removed: Directories removed because the job emptied them; a dry run does not foresee it.
        skipped: What was left alone, and why.
        samples: Up to five of the deleted paths, below the root.
        errors: Up to twenty of the paths that made trouble.
        errors_total: How many made trouble.
        stopped_by: ``max_items`` when that was reached and more was to be deleted, otherwise None.
        delete_markers: Objects that were only hidden, since their bucket keeps versions; they free nothing.
    """

    cutoff: datetime
    dry_run: bool
    scanned: int
    matched: int
    deleted: int
    bytes_freed: int
    hard_links: int
    dirs_removed: int
    skipped: Skipped
    samples: tuple[str, ...]
    errors: tuple[PathError, ...]
    errors_total: int
    stopped_by: Literal["max_items"] | None
    delete_markers: int = 0


@attrs.frozen
class LogsSkipped:
    """Logs that were left as they are, by the first reason that held.

    Args:
        unselected: Files that the patterns left out.
        live: Those that may be written to by their name: no sign of rotation, or the newest of the family.
        kept: Old ones among the newest ``keep_last`` of their family.
        young: Those not old enough, or compressed already.
        numbered: Those old enough to compress that have a number.
        open: Those that some process had open, or might have.
        changed: Those written, replaced or gone between listing and acting.
        symlink, special, excluded_dirs, other_fs: As in `Skipped`.
    """

    unselected: int = 0
    live: int = 0
    kept: int = 0
    young: int = 0
    numbered: int = 0
    open: int = 0
    changed: int = 0
    symlink: int = 0
    special: int = 0
    excluded_dirs: int = 0
    other_fs: int = 0


@attrs.frozen
class LogsResult:
    """What `Logs` did; in a dry run, what it would have done.

    A job that went on in several runs reports the last of them; each run writes its own log line.

    Args:
        cutoff: Logs older than this were to be deleted; None when none were.
        compress_cutoff: Logs older than this were to be compressed; None when none were.
        dry_run: True when nothing was changed. It cannot foresee what compressing saves: ``bytes_after`` is
            then what deleting leaves, and ``max_total_size`` may count more than the real run deletes.
        scanned: Regular files seen; the whole of which ``max_fraction`` is a share.
        families: How many rotated logs the files belong to.
        deleted, compressed: How many were.
        bytes_before, bytes_after: Sizes of all logs that match, in sum.
        skipped: What was left alone, and why.
        samples: Up to five of the paths deleted or compressed, below the root.
        errors: Up to twenty of the paths that made trouble.
        errors_total: How many made trouble.
        stopped_by: ``max_items`` when that was reached and more was to be done, otherwise None.
    """

    cutoff: datetime | None
    compress_cutoff: datetime | None
    dry_run: bool
    scanned: int
    families: int
    deleted: int
    compressed: int
    bytes_before: int
    bytes_after: int
    skipped: LogsSkipped
    samples: tuple[str, ...]
    errors: tuple[PathError, ...]
    errors_total: int
    stopped_by: Literal["max_items"] | None


@attrs.frozen
class MessagesSkipped:
    """Old messages that were left alone, by the first reason that held.

    Args:
        held: Under a legal hold, of the settings or of the table.
        pinned: Pinned.
        kept: Kept by a condition ``keep_where`` of the settings.
        threads: Kept by a reply that stays, or by their thread.
        locked: Somebody else had the row locked whenever the job came by, or changed what decides.
        refused: In mode ``soft``: a trigger or rule of the database refused the change.
    """

    held: int = 0
    pinned: int = 0
    kept: int = 0
    threads: int = 0
    locked: int = 0
    refused: int = 0


@attrs.frozen
class MessagesResult:
    """What `Messages` did in all its runs; in a dry run, what it would have done.

    Args:
        cutoff: Messages written before this were old.
        dry_run: True when nothing was deleted.
        mode: As in the payload.
        total: Messages in the table when the job began.
        matched: Those of them that were to be deleted.
        deleted: Those that were; in mode ``soft`` marked.
        cascaded: Rows deleted with them, by table.
        skipped: Old messages that were left alone, and why.
        remaining: Messages that are still to be deleted: stopped early, locked, or just become so.
        passes, batches: Rounds through the table, transactions.
        batch_ms_median, batch_ms_max: How long the last run's transactions took, in milliseconds.
        wal_bytes: What the last run made PostgreSQL write to its log, by whomever; None elsewhere.
        archived: Files written to the archive.
        samples: Up to five ids of deleted messages.
        stopped_by: ``max_items`` when that was reached and more was to be deleted, otherwise None.
        advice: What could be better, for people.
    """

    cutoff: datetime
    dry_run: bool
    mode: str
    total: int
    matched: int
    deleted: int
    cascaded: Mapping[str, int]
    skipped: MessagesSkipped
    remaining: int
    passes: int
    batches: int
    batch_ms_median: float | None
    batch_ms_max: float | None
    wal_bytes: int | None
    archived: int
    samples: tuple[str, ...]
    stopped_by: Literal["max_items"] | None
    advice: tuple[str, ...]

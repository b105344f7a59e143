"""What a cleanup reports."""

from __future__ import annotations

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
    """

    unselected: int = 0
    young: int = 0
    symlink: int = 0
    special: int = 0
    excluded_dirs: int = 0
    other_fs: int = 0
    changed: int = 0


@attrs.frozen
class FilesResult:
    """What `Files` did; in a dry run, what it would have done.

    A job that went on in several runs reports the last of them; each run writes its own log line.

    Args:
        cutoff: Files last written before this were old.
        dry_run: True when nothing was deleted.
        scanned: Regular files seen; the whole of which ``max_fraction`` is a share.
        matched: Those of them that were to be deleted.
        deleted: Those that were.
        bytes_freed: Their sizes in sum. A file with a second name counts nothing: its data stays.
        hard_links: How many of the deleted files had a second name.
        dirs_removed: Directories removed because the job emptied them; a dry run does not foresee it.
        skipped: What was left alone, and why.
        samples: Up to five of the deleted paths, below the root.
        errors: Up to twenty of the paths that made trouble.
        errors_total: How many made trouble.
        stopped_by: ``max_items`` when that was reached and more was to be deleted, otherwise None.
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

"""What is enqueued. Every web process that enqueues imports this, so it imports nothing heavy."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, get_args

import attrs
from attrs.validators import ge, in_, le, optional

from cgjobs_cleanup.bounds import above_zero, relative_globs, run_time, some_globs

Order = Literal["any", "oldest_first"]
Way = Literal["age", "rows", "orphans"]
Action = Literal["delete", "compress", "compress_then_delete"]
Mode = Literal["hard", "soft", "purge_soft_deleted"]
Threads = Literal["leaf_first", "whole"]
Versions = Literal["current", "all"]
Codec = Literal["gzip", "zstd"]


@attrs.frozen
class Files:
    """Delete the old files of a directory tree, or of a bucket.

    A pattern without a slash is compared with the name, at any depth; one with a slash with the whole path
    below the root. ``*`` and ``?`` stop at a slash, ``**`` does not. Upper and lower case differ.

    Args:
        root: Name of the tree or bucket, from ``[plugins.cleanup] roots``; never a path.
        age: A file, or a row, is old when it was written longer than this before the job was enqueued. Not
            below the ``min_age`` of the root's policy. None in mode ``orphans``, which has ``grace``.
        mode: ``age``: by when the file was last written. ``rows``: the old rows of ChatGenius' table
            of files, each with its file. ``orphans``: the files to which no row points;
            they are only reported.
        grace: No file younger than this is an orphan: its row may be on its way; from 1 h.
        delete_orphans: Delete them.
        pattern: Only files that match one of these.
        exclude: No file that matches one of these; a directory that matches is not entered.
        min_size: Only files of at least this many bytes.
        order: ``oldest_first`` is for jobs that stop early. Above 100,000 files to delete it walks the tree
            again for each 100,000 of them, ``any`` once; both hold no more than so many in memory.
        remove_empty_dirs: Also remove the directories that the job emptied; a bucket has none.
        versions: In a bucket that keeps versions, ``current`` hides an object behind a delete marker, which
            frees nothing; ``all`` deletes what is old for good, older versions and markers too.
        dry_run: Count and delete nothing.
        max_duration: Go on in a new run, which uses up no attempt, when deleting took this long; 1 s to 24 h.
        max_items: Stop when one run has deleted this many files; from 1.
        max_fraction: Refuse to delete more than this share of the tree's files; 0 to 1.
        confirm_fraction: Delete them all the same.
    """

    root: str
    age: timedelta | None = attrs.field(default=None, validator=above_zero)
    mode: Way = attrs.field(default="age", kw_only=True, validator=in_(get_args(Way)))
    grace: timedelta = attrs.field(
        default=timedelta(hours=24), kw_only=True, validator=ge(timedelta(hours=1))
    )
    delete_orphans: bool = attrs.field(default=False, kw_only=True)
    pattern: tuple[str, ...] = attrs.field(
        default=("**",), kw_only=True, validator=[some_globs, relative_globs]
    )
    exclude: tuple[str, ...] = attrs.field(
        default=(".*", "**/.git/**"), kw_only=True, validator=relative_globs
    )
    min_size: int = attrs.field(default=0, kw_only=True, validator=ge(0))
    order: Order = attrs.field(default="any", kw_only=True, validator=in_(get_args(Order)))
    remove_empty_dirs: bool = attrs.field(default=False, kw_only=True)
    versions: Versions = attrs.field(default="current", kw_only=True, validator=in_(get_args(Versions)))
    dry_run: bool = attrs.field(default=False, kw_only=True)
    max_duration: timedelta = attrs.field(default=timedelta(minutes=30), kw_only=True, validator=run_time)
    max_items: int | None = attrs.field(default=None, kw_only=True, validator=optional(ge(1)))
    max_fraction: float = attrs.field(default=0.5, kw_only=True, validator=[ge(0), le(1)])
    confirm_fraction: bool = attrs.field(default=False, kw_only=True)

    @mode.validator
    def _age_fits(self, attribute: attrs.Attribute[Way], value: Way) -> None:
        if value == "orphans" and self.age is not None:
            raise ValueError("mode 'orphans' has grace instead of age; leave age out")
        if value in ("age", "rows") and self.age is None:
            raise ValueError(f"mode {value!r} needs an age, such as 30d")

    @delete_orphans.validator
    def _of_orphans(self, attribute: attrs.Attribute[bool], value: bool) -> None:
        if value and self.mode != "orphans":
            raise ValueError("delete_orphans is for mode 'orphans'")

    @versions.validator
    def _by_age(self, attribute: attrs.Attribute[Versions], value: Versions) -> None:
        if value == "all" and self.mode != "age":
            raise ValueError("versions 'all' is for mode 'age'")


@attrs.frozen
class Logs:
    """Delete or compress the rotated logs of a directory tree; never one that is written to.

    How old a log is says the day in its name, counted from that day's end (UTC), otherwise when it was last
    written. What has neither a day, nor a number, nor a compressed file's ending in its name is the live one.

    Args:
        root: Name of the tree, from ``[plugins.cleanup] roots``; never a path.
        age: Logs older than this, when the job was enqueued, are deleted. Not below the ``min_age`` of the
            root's policy. None with ``compress``, which deletes none.
        action: ``delete``, ``compress``, or both: ``compress_then_delete``.
        pattern, exclude: As in `Files`.
        compress_after: Logs older than this are compressed. Those with a number (``app.log.1``) never are: it
            would break the rotator's chain of renames.
        codec: ``gzip``, or ``zstd``, which is faster and smaller and needs Python 3.14 or the extra ``zstd``.
        keep_last: The newest so many of each family (what one rotation makes of one log) are not deleted,
            however old; from 1. The newest one, which may be the live one, is not compressed either.
        max_total_size: When what is left of the logs has more bytes than this, the oldest go too, though not
            below ``min_age`` and ``keep_last``; from 0. None: no limit.
        dry_run: Count and change nothing.
        max_duration: Go on in a new run, which uses up no attempt, when it took this long; 1 s to 24 h.
        max_items: Stop when one run has deleted and compressed this many; from 1.
        max_fraction: Refuse to delete more than this share of the tree's files; 0 to 1.
        confirm_fraction: Delete them all the same.
    """

    root: str
    age: timedelta | None = attrs.field(default=None, validator=above_zero)
    action: Action = attrs.field(default="delete", kw_only=True, validator=in_(get_args(Action)))
    pattern: tuple[str, ...] = attrs.field(
        default=("*.log*",), kw_only=True, validator=[some_globs, relative_globs]
    )
    exclude: tuple[str, ...] = attrs.field(
        default=(".*", "**/.git/**"), kw_only=True, validator=relative_globs
    )
    compress_after: timedelta = attrs.field(default=timedelta(days=1), kw_only=True, validator=above_zero)
    codec: Codec = attrs.field(default="gzip", kw_only=True, validator=in_(get_args(Codec)))
    keep_last: int = attrs.field(default=1, kw_only=True, validator=ge(1))
    max_total_size: int | None = attrs.field(default=None, kw_only=True, validator=optional(ge(0)))
    dry_run: bool = attrs.field(default=False, kw_only=True)
    max_duration: timedelta = attrs.field(default=timedelta(minutes=30), kw_only=True, validator=run_time)
    max_items: int | None = attrs.field(default=None, kw_only=True, validator=optional(ge(1)))
    max_fraction: float = attrs.field(default=0.5, kw_only=True, validator=[ge(0), le(1)])
    confirm_fraction: bool = attrs.field(default=False, kw_only=True)

    @action.validator
    def _age_fits(self, attribute: attrs.Attribute[Action], value: Action) -> None:
        if value == "compress" and (self.age is not None or self.max_total_size is not None):
            raise ValueError(
                "action 'compress' deletes nothing: leave out age and max_total_size, "
                "or choose 'compress_then_delete'"
            )
        if value in ("delete", "compress_then_delete") and self.age is None:
            raise ValueError(f"action {value!r} needs an age, such as 30d")


@attrs.frozen
class Messages:
    """Delete old messages, in small batches beside which everybody else goes on writing.

    A message goes only after all replies to it are gone: no young reply is lost with an old thread. Legal
    holds and the conditions ``keep_where`` of the settings hold whatever the payload says.

    Args:
        age: Messages written longer than this before the job was enqueued. Not below ``min_age``.
        channels: Only messages of these channels, by id. Empty: of all.
        exclude_channels: No message of these.
        keep_pinned: Whether pinned messages stay.
        keep_threads: ``leaf_first``: replies go when they are old, their root when none is left. ``whole``: a
            message and the replies to it go together or not at all.
        mode: ``hard`` deletes rows, with what belongs to them. ``soft`` sets ``deleted_at``. Triggers may
            refuse that for single messages. ``purge_soft_deleted`` deletes rows that were soft-deleted longer
            ago than ``age``.
        batch_size: Most messages in one transaction; fewer when one takes longer than 0.05 s; 1 to 20,000.
        pause: Rest between two batches; 0 to 10 s.
        archive_to: Store, from ``[plugins.data.stores]``, to which messages and what belongs to them are
            written as JSON lines before they are deleted. None: nowhere.
        dry_run: Count and delete nothing.
        max_duration: Go on in a new run, which uses up no attempt, when it took this long; 1 s to 24 h.
        max_items: Stop when so many are deleted; from 1.
        max_fraction: Refuse to delete more than this share of all messages; 0 to 1.
        confirm_fraction: Delete them all the same.
    """

    age: timedelta = attrs.field(validator=above_zero)
    channels: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    exclude_channels: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    keep_pinned: bool = attrs.field(default=True, kw_only=True)
    keep_threads: Threads = attrs.field(default="leaf_first", kw_only=True, validator=in_(get_args(Threads)))
    mode: Mode = attrs.field(default="hard", kw_only=True, validator=in_(get_args(Mode)))
    batch_size: int = attrs.field(default=2_000, kw_only=True, validator=[ge(1), le(20_000)])
    pause: timedelta = attrs.field(default=timedelta(milliseconds=10), kw_only=True)
    archive_to: str | None = attrs.field(default=None, kw_only=True)
    dry_run: bool = attrs.field(default=False, kw_only=True)
    max_duration: timedelta = attrs.field(default=timedelta(minutes=30), kw_only=True, validator=run_time)
    max_items: int | None = attrs.field(default=None, kw_only=True, validator=optional(ge(1)))
    max_fraction: float = attrs.field(default=0.5, kw_only=True, validator=[ge(0), le(1)])
    confirm_fraction: bool = attrs.field(default=False, kw_only=True)

    @pause.validator
    def _short(self, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
        if not timedelta(0) <= value <= timedelta(seconds=10):
            raise ValueError(f"pause is {value}; it must be from 0 to 10 s")

    @exclude_channels.validator
    def _not_both(self, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
        if both := sorted(set(value) & set(self.channels)):
            raise ValueError(f"{both[0]!r} is in channels and in exclude_channels; keep one")

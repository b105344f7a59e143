"""What is enqueued. Every web process that enqueues imports this, so it imports nothing heavy."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, get_args

import attrs
from attrs.validators import ge, in_, le, optional

from cgjobs_cleanup.globs import check_glob

Order = Literal["any", "oldest_first"]


@attrs.frozen
class Files:
    """Delete the old files of a directory tree.

    A pattern without a slash is compared with the name, at any depth; one with a slash with the whole path
    below the root. ``*`` and ``?`` stop at a slash, ``**`` does not. Upper and lower case differ.

    Args:
        root: Name of the tree, from ``[plugins.cleanup] roots``; never a path.
        age: A file is old when it was last written longer than this before the job was enqueued. Not below
            the ``min_age`` of the root's policy.
        pattern: Only files that match one of these.
        exclude: No file that matches one of these; a directory that matches is not entered.
        min_size: Only files of at least this many bytes.
        order: ``oldest_first`` is for jobs that stop early. Above 100,000 files to delete it walks the tree
            again for each 100,000 of them, ``any`` once; both hold no more than so many in memory.
        remove_empty_dirs: Also remove the directories that the job emptied.
        dry_run: Count and delete nothing.
        max_duration: Go on in a new run, which uses up no attempt, when deleting took this long; 1 s to 24 h.
        max_items: Stop when one run has deleted this many files; from 1.
        max_fraction: Refuse to delete more than this share of the tree's files; 0 to 1.
        confirm_fraction: Delete them all the same.
    """

    root: str
    age: timedelta = attrs.field()
    pattern: tuple[str, ...] = attrs.field(default=("**",), kw_only=True)
    exclude: tuple[str, ...] = attrs.field(default=(".*", "**/.git/**"), kw_only=True)
    min_size: int = attrs.field(default=0, kw_only=True, validator=ge(0))
    order: Order = attrs.field(default="any", kw_only=True, validator=in_(get_args(Order)))
    remove_empty_dirs: bool = attrs.field(default=False, kw_only=True)
    dry_run: bool = attrs.field(default=False, kw_only=True)
    max_duration: timedelta = attrs.field(default=timedelta(minutes=30), kw_only=True)
    max_items: int | None = attrs.field(default=None, kw_only=True, validator=optional(ge(1)))
    max_fraction: float = attrs.field(default=0.5, kw_only=True, validator=[ge(0), le(1)])
    confirm_fraction: bool = attrs.field(default=False, kw_only=True)

    @age.validator
    def _in_the_past(self, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
        if value <= timedelta(0):
            raise ValueError(f"age is {value}; it must be above zero, such as 30d")

    @pattern.validator
    @exclude.validator
    def _relative(self, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
        for glob in value:
            check_glob(glob)

    @pattern.validator
    def _not_empty(self, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
        if not value:
            raise ValueError("pattern is empty and matches nothing; '**' matches every file")

    @max_duration.validator
    def _bounded(self, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
        if not timedelta(seconds=1) <= value <= timedelta(hours=24):
            raise ValueError(f"max_duration is {value}; it must be from 1 s to 24 h")

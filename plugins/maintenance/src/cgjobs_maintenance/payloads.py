"""What is enqueued. Every web process that enqueues imports this, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, get_args

import attrs
from attrs.validators import ge, in_, le, optional

from cgjobs_maintenance.cache_keys import DENIED, check_pattern

Mode = Literal["full", "incremental", "optimize"]
Only = Literal["no_ttl", "idle", "all"]


def between(low: timedelta, high: timedelta) -> Callable[[Any, attrs.Attribute[Any], timedelta], None]:
    """A validator: a duration from ``low`` to ``high``, both included."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: timedelta) -> None:
        if not low <= value <= high:
            raise ValueError(f"{attribute.name} is {value}; it must be from {low} to {high}")

    return check


@attrs.frozen
class Vacuum:
    """Give a SQLite database's unused space back to the disk, and refresh what its query planner knows.

    Args:
        database: Name of the database, from ``[plugins.maintenance] databases``; never a path.
        mode: ``full`` rewrites the file: nobody can write meanwhile, and the disk needs room for twice its
            size. ``incremental`` gives back only free pages, a thousand at a time, and needs a database with
            ``auto_vacuum=INCREMENTAL``. ``optimize`` only refreshes the planner's statistics. All of them
            empty the write-ahead log.
        lock_timeout: Wait at most this long for somebody else's lock, then try again later; up to 1 min.
        max_duration: A full vacuum that takes longer is stopped and fails, with the database as it was; an
            incremental one goes on in a new run, which uses up no attempt. 1 s to 24 h.
    """

    database: str
    mode: Mode = attrs.field(default="full", kw_only=True, validator=attrs.validators.in_(get_args(Mode)))
    lock_timeout: timedelta = attrs.field(
        default=timedelta(seconds=5), kw_only=True, validator=between(timedelta(0), timedelta(minutes=1))
    )
    max_duration: timedelta = attrs.field(
        default=timedelta(minutes=30),
        kw_only=True,
        validator=between(timedelta(seconds=1), timedelta(hours=24)),
    )


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

"""What is enqueued. Every web process that enqueues imports this, so it imports nothing heavy."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, get_args

import attrs

Mode = Literal["full", "incremental", "optimize"]


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
    lock_timeout: timedelta = attrs.field(default=timedelta(seconds=5), kw_only=True)
    max_duration: timedelta = attrs.field(default=timedelta(minutes=30), kw_only=True)

    @lock_timeout.validator
    def _short(self, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
        if not timedelta(0) <= value <= timedelta(minutes=1):
            raise ValueError(f"lock_timeout is {value}; it must be from 0 s to 1 min")

    @max_duration.validator
    def _bounded(self, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
        if not timedelta(seconds=1) <= value <= timedelta(hours=24):
            raise ValueError(f"max_duration is {value}; it must be from 1 s to 24 h")

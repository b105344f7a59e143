"""One run over the logs of one tree: read the names, refuse or go on, delete and compress."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import attrs

from cgjobs import Context, Discard, Retry, Snooze
from cgjobs_cleanup.globs import Globs
from cgjobs_cleanup.log_name import LogName
from cgjobs_cleanup.open_files import OpenFiles, alone_with
from cgjobs_cleanup.packing import Busy, Changed, Packer, load_zstd
from cgjobs_cleanup.payloads import Logs
from cgjobs_cleanup.results import LogsResult, LogsSkipped
from cgjobs_cleanup.tree import File, Tally, Tree
from cgjobs_cleanup.trouble import Troubles, printable

_SAMPLES = 5
_FULL = {errno.ENOSPC, errno.EDQUOT}
_QUIET = timedelta(days=1)
"""How long nothing may have been written to a file that the system cannot say is closed."""
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.frozen
class Log:
    """A log as it was listed.

    Args:
        file: The file.
        name: What its name says.
        at: When it was rotated or last written.
        rank: How many of its family are newer.
    """

    file: File
    name: LogName
    at: datetime
    rank: int = 0


class LogSweep:
    """Deletes and compresses the logs of a tree. Use it once.

    Args:
        tree: Where.
        payload: What.
        ctx: The job that runs.
        enqueued: From when ages are counted.
        min_age: Nothing younger is deleted.
        clock: Seconds since any start, never going back; for ``max_duration``.
    """

    def __init__(
        self,
        tree: Tree,
        payload: Logs,
        ctx: Context,
        *,
        enqueued: datetime,
        min_age: timedelta,
        clock: Callable[[], float],
    ) -> None:
        self._tree, self._payload, self._ctx, self._clock = tree, payload, ctx, clock
        deletes, compresses = payload.action != "compress", payload.action != "delete"
        self._cutoff = enqueued - payload.age if deletes and payload.age else None
        self._compress_cutoff = enqueued - payload.compress_after if compresses else None
        self._floor = enqueued - min_age
        self._quiet_since = enqueued - _QUIET
        self._deadline = clock() + payload.max_duration.total_seconds()
        self._open = OpenFiles(clock)
        self._troubles = Troubles()
        self._seen = Tally(self._troubles.note)
        self._skipped: Counter[str] = Counter()
        self._scanned = self._families = self._deleted = self._compressed = self._planned = 0
        self._before = self._after = 0
        self._samples: list[str] = []
        self._stopped = False

    def run(self) -> LogsResult:
        """List the logs, and delete and compress those that the payload means.

        Raises:
            Discard: More than ``max_fraction`` of all files were to be deleted, or the codec is missing.
            Snooze: ``max_duration`` is over and something is left.
            Retry: The disk is full, or more than a tenth of the files made trouble.
            OSError: The root itself cannot be listed.
        """
        if self._payload.action != "delete" and self._payload.codec == "zstd":
            load_zstd()
        logs = self._list()
        doomed, packable, rest = self._plan(logs)
        self._refuse_too_many(len(doomed))
        self._planned = len(doomed) + len(packable)
        try:
            left = [*rest, *self._delete_all(doomed), *self._pack_all(packable)]
            self._shrink(left)
        finally:  # whatever ends it, this is the record of what is gone
            self._ctx.log.info(
                "logs_cleaned",
                root=self._payload.root,
                action=self._payload.action,
                cutoff=self._cutoff and self._cutoff.isoformat(),
                dry_run=self._payload.dry_run,
                deleted=self._deleted,
                compressed=self._compressed,
                errors_total=self._troubles.total,
            )
        self._retry_when_too_many_failed()
        return self._result()

    def _list(self) -> list[Log]:
        excluded = Globs(self._payload.exclude)
        selected = Globs(self._payload.pattern, but_not=self._payload.exclude)
        logs: list[Log] = []
        with closing(self._tree.files(selected.match, excluded.misses, self._seen)) as files:
            for file in files:
                name = LogName.read(file.path.rpartition("/")[2])
                at = name.until or _EPOCH + timedelta(microseconds=file.mtime_ns // 1_000)
                logs.append(Log(file, name, at))
                if len(logs) % 1_000 == 0:
                    self._ctx.progress(0, None, f"listing: {len(logs)} logs")
        self._ctx.progress(0, None, f"{len(logs)} logs")
        self._scanned = len(logs) + self._seen.unselected
        self._before = self._after = sum(log.file.size for log in logs)
        return self._rank(logs)

    def _rank(self, logs: list[Log]) -> list[Log]:
        families: dict[tuple[str, str], list[Log]] = {}
        for log in logs:
            families.setdefault((log.file.path.rpartition("/")[0], log.name.family), []).append(log)
        self._families = len(families)
        ranked = []
        for family in families.values():
            family.sort(key=lambda log: (log.name.live, log.at, -(log.name.number or 0)), reverse=True)
            ranked += [attrs.evolve(log, rank=rank) for rank, log in enumerate(family)]
        return sorted(ranked, key=lambda log: (log.at, log.file))

    def _plan(self, logs: list[Log]) -> tuple[list[Log], list[Log], list[Log]]:
        """Which logs are to be deleted, which compressed, and which neither; each the oldest first."""
        doomed: list[Log] = []
        packable: list[Log] = []
        rest: list[Log] = []
        for log in logs:
            old = self._cutoff is not None and log.at < self._cutoff
            ripe = self._compress_cutoff is not None and log.at < self._compress_cutoff
            if log.name.live or not log.rank:
                self._leave(log, "live", rest)
            elif old and log.rank >= self._payload.keep_last:
                doomed.append(log)
            elif ripe and not log.name.packed and log.name.number is None:
                packable.append(log)
            elif old:
                self._leave(log, "kept", rest)
            else:
                self._leave(log, "numbered" if ripe and not log.name.packed else "young", rest)
        return doomed, packable, rest

    def _leave(self, log: Log, why: str, among: list[Log]) -> None:
        self._skipped[why] += 1
        among.append(log)

    def _refuse_too_many(self, doomed: int) -> None:
        payload = self._payload
        if payload.confirm_fraction or doomed <= payload.max_fraction * self._scanned:
            return
        raise Discard(
            f"would_delete_too_much: {doomed} of {self._scanned} files of root {payload.root!r} "
            f"({doomed / self._scanned:.0%}) are to be deleted, more than max_fraction "
            f"{payload.max_fraction:.0%}; {self._deleted} were deleted. If that is right, set "
            "confirm_fraction; with dry_run as well it shows samples"
        )

    def _delete_all(self, logs: Iterable[Log]) -> list[Log]:
        """Delete these; gives back those that stayed."""
        return [log for log in logs if not self._act(log, self._delete)]

    def _pack_all(self, logs: Iterable[Log]) -> list[Log]:
        """Compress these; gives back what is there afterwards."""
        left = []
        for log in logs:
            made: list[Log] = []
            self._act(log, lambda log, made=made: made.append(self._pack(log)))  # type: ignore[misc]
            left += made or [log]
        return left

    def _shrink(self, logs: list[Log]) -> None:
        """Delete the oldest until the rest is no more than ``max_total_size``."""
        limit = self._payload.max_total_size
        if limit is None:
            return
        doomed, total = [], self._after
        for log in sorted(logs, key=lambda log: log.at):
            if total <= limit:
                break
            newest = log.name.live or log.rank < self._payload.keep_last
            if not newest and log.at < self._floor:
                doomed.append(log)
                total -= log.file.size
        self._refuse_too_many(self._deleted + len(doomed))
        self._planned += len(doomed)
        self._delete_all(doomed)

    def _act(self, log: Log, act: Callable[[Log], object]) -> bool:
        """Do something to one log; False when it stayed as it was."""
        done = self._deleted + self._compressed
        if self._stopped or done >= (self._payload.max_items or float("inf")):
            self._stopped = True
            return False
        if done and not self._payload.dry_run and self._clock() >= self._deadline:
            self._retry_when_too_many_failed()
            raise Snooze(timedelta(0), f"max_duration: {done} of {self._planned} logs done, going on")
        self._ctx.progress(done, self._planned, "counting" if self._payload.dry_run else self._payload.action)
        try:
            act(log)
        except Busy:
            self._skipped["open"] += 1
        except Changed:
            self._skipped["changed"] += 1
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                self._skipped["changed"] += 1
                return False
            if error.errno in _FULL:
                raise Retry(
                    f"no room to compress {printable(log.file.path)!r} of root {self._payload.root!r}: "
                    f"{error.strerror}; nothing of it was left behind"
                ) from error
            self._troubles.note(log.file.path, error, failed=True)
        else:
            if len(self._samples) < _SAMPLES:
                self._samples.append(printable(log.file.path))
            return True
        return False

    def _delete(self, log: Log) -> None:
        parent, name = self._tree.parent(log.file.path)
        self._refuse_seen_open(parent, name)
        try:
            fd = os.open(name, _LOOK, dir_fd=parent)
        except PermissionError:
            self._unlink(log, alone=None)
        else:
            try:
                with alone_with(fd) as alone:
                    self._unlink(log, alone)
            finally:
                os.close(fd)
        self._deleted += 1
        self._after -= log.file.size

    def _unlink(self, log: Log, alone: bool | None) -> None:
        if not self._counts_as_closed(log, alone):
            raise Busy
        if not self._payload.dry_run and not self._tree.delete(log.file):
            raise Changed

    def _pack(self, log: Log) -> Log:
        parent, name = self._tree.parent(log.file.path)
        self._refuse_seen_open(parent, name)
        if self._payload.dry_run:
            self._try(parent, name, log)
            self._compressed += 1
            return log
        packer = Packer(self._payload.codec, self._tick, lambda alone: self._counts_as_closed(log, alone))
        made = packer.pack(parent, name, log.file)
        self._compressed += 1
        self._after += made.size - log.file.size
        return attrs.evolve(log, file=made, name=LogName.read(made.path.rpartition("/")[2]))

    def _try(self, parent: int, name: str, log: Log) -> None:
        fd = os.open(name, _LOOK, dir_fd=parent)
        try:
            with alone_with(fd) as alone:
                if not self._counts_as_closed(log, alone):
                    raise Busy
        finally:
            os.close(fd)

    def _tick(self) -> None:
        done = self._deleted + self._compressed
        self._ctx.progress(done, self._planned, "compressing")

    def _refuse_seen_open(self, parent: int, name: str) -> None:
        at = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if self._open.seen(at.st_dev, at.st_ino):
            raise Busy

    def _counts_as_closed(self, log: Log, alone: bool | None) -> bool:
        if alone is None:
            return _EPOCH + timedelta(microseconds=log.file.mtime_ns // 1_000) < self._quiet_since
        return alone

    def _retry_when_too_many_failed(self) -> None:
        self._troubles.retry_when_too_many(self._deleted + self._compressed, f"root {self._payload.root!r}")

    def _result(self) -> LogsResult:
        seen = self._seen
        return LogsResult(
            cutoff=self._cutoff,
            compress_cutoff=self._compress_cutoff,
            dry_run=self._payload.dry_run,
            scanned=self._scanned,
            families=self._families,
            deleted=self._deleted,
            compressed=self._compressed,
            bytes_before=self._before,
            bytes_after=self._after,
            skipped=LogsSkipped(
                **self._skipped,
                unselected=seen.unselected,
                symlink=seen.symlink,
                special=seen.special,
                excluded_dirs=seen.excluded_dirs,
                other_fs=seen.other_fs,
            ),
            samples=tuple(self._samples),
            errors=tuple(self._troubles.listed),
            errors_total=self._troubles.total,
            stopped_by="max_items" if self._stopped else None,
        )

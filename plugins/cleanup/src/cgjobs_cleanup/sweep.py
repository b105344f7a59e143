"""One run over one tree: count, refuse or go on, delete in batches."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice

from cgjobs import Context, Discard
from cgjobs_cleanup.file_tally import FileTally
from cgjobs_cleanup.globs import Globs
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.results import FilesResult
from cgjobs_cleanup.tree import File, Tally, Tree

BATCH = 1_000
"""Files listed between two reports; a cancelled job deletes no more than the rest of these."""
HELD = 100_000
"""Files held in memory at most, about 30 MB. More old files than these cost further walks."""

_BEFORE_ALL = File(-(2**63), "", 0, 0, 0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Sweep:
    """Deletes from a tree what a payload selects. Use it once.

    Args:
        tree: Where.
        payload: What.
        ctx: The job that runs.
        cutoff: Files last written before this are old.
        clock: Seconds since any start, never going back; for ``max_duration``.
    """

    def __init__(
        self, tree: Tree, payload: Files, ctx: Context, *, cutoff: datetime, clock: Callable[[], float]
    ) -> None:
        self._tree, self._payload, self._ctx, self._cutoff, self._clock = tree, payload, ctx, cutoff, clock
        self._cutoff_ns = (cutoff - _EPOCH) // timedelta(microseconds=1) * 1_000
        self._excluded = Globs(payload.exclude)
        self._selected = Globs(payload.pattern, but_not=payload.exclude)
        self._tally = FileTally(payload)
        self._seen = Tally(self._tally.troubles.note)
        self._scanned = self._matched = self._hard_links = self._dirs_removed = 0
        self._held: list[File] = []

    def run(self) -> FilesResult:
        """Count the old files, and delete them when they are not too many.

        Raises:
            Discard: They are more than ``max_fraction`` of all.
            Snooze: ``max_duration`` is over and files are left.
            Retry: More than a tenth could not be deleted.
            OSError: The root itself cannot be listed.
        """
        self._count()
        self._refuse_too_many()
        try:
            self._delete_all()
        finally:  # whatever ends it, this is the record of what is gone
            self._tally.log(self._ctx, "files_deleted", self._cutoff, self._matched)
        self._tally.retry_when_too_many_failed()
        return self._result()

    def _count(self) -> None:
        for files in self._walk(self._seen):
            old = [file for file in files if self._is_old(file)]
            small = sum(file.size < self._payload.min_size for file in files)
            self._matched += len(old)
            self._tally.unselected += small
            self._tally.young += len(files) - len(old) - small
            self._scanned += len(files)
            if self._matched <= HELD:
                self._held += old
            self._ctx.progress(0, None, f"counting: {self._scanned} files")
        self._scanned += self._seen.unselected
        self._tally.unselected += self._seen.unselected

    def _refuse_too_many(self) -> None:
        payload = self._payload
        if payload.confirm_fraction or self._matched <= payload.max_fraction * self._scanned:
            return
        raise Discard(
            f"would_delete_too_much: {self._matched} of {self._scanned} files of root {payload.root!r} "
            f"({self._matched / self._scanned:.0%}) are to be deleted, more than max_fraction "
            f"{payload.max_fraction:.0%}. Nothing was deleted. If that is right, set confirm_fraction; "
            "with dry_run as well it shows samples"
        )

    def _delete_all(self) -> None:
        deadline = self._clock() + self._payload.max_duration.total_seconds()
        tally = self._tally
        with closing(self._batches()) as batches:
            for batch in batches:
                if self._clock() >= deadline:
                    tally.go_on_later(self._matched, "files")
                self._delete_batch(batch)
                total = min(self._matched, tally.limit)
                self._ctx.progress(tally.deleted, total, "counting" if self._payload.dry_run else "deleting")
                if tally.is_enough:
                    return

    def _delete_batch(self, batch: list[File]) -> None:
        emptied: dict[str, None] = {}  # a set that keeps the order
        for file in batch:
            if self._tally.is_enough:
                break
            if self._delete(file):
                emptied[file.path.rpartition("/")[0]] = None
                self._hard_links += file.links > 1
                self._tally.deleted += 1
                self._tally.bytes += file.size if file.links == 1 else 0
                self._tally.sample([file.path])
        if self._payload.remove_empty_dirs and not self._payload.dry_run:
            self._dirs_removed += self._tree.remove_empty(emptied)

    def _delete(self, file: File) -> bool:
        if self._payload.dry_run:
            return True
        try:
            deleted = self._tree.delete(file)
        except OSError as error:
            self._tally.troubles.note(file.path, error, failed=True)
            return False
        self._tally.changed += not deleted
        return deleted

    def _batches(self) -> Generator[list[File], None, None]:
        """The old files in the order asked for, however many they are."""
        if self._matched <= HELD:
            yield from _batched(sorted(self._held) if self._payload.order == "oldest_first" else self._held)
        elif self._payload.order == "any":
            for files in self._walk(self._unheard()):
                yield [file for file in files if self._is_old(file)]
        else:
            oldest = heapq.nsmallest(HELD, self._old_after(_BEFORE_ALL))
            while oldest:  # each walk takes up after the newest file of the walk before
                yield from _batched(oldest)
                oldest = heapq.nsmallest(HELD, self._old_after(oldest[-1]))

    def _old_after(self, last: File) -> Iterator[File]:
        for files in self._walk(self._unheard()):
            total = min(self._matched, self._tally.limit)
            self._ctx.progress(self._tally.deleted, total, "looking for the oldest")
            yield from (file for file in files if file > last and self._is_old(file))

    def _walk(self, tally: Tally) -> Iterator[list[File]]:
        with closing(self._tree.files(self._selected.match, self._excluded.misses, tally)) as files:
            while batch := list(islice(files, BATCH)):
                yield batch

    def _is_old(self, file: File) -> bool:
        return file.mtime_ns < self._cutoff_ns and file.size >= self._payload.min_size

    def _unheard(self) -> Tally:
        """For walks after the first: what they pass by has been counted."""
        return Tally(lambda path, error: None)

    def _result(self) -> FilesResult:
        seen = self._seen
        return self._tally.result(
            self._cutoff,
            scanned=self._scanned,
            matched=self._matched,
            hard_links=self._hard_links,
            dirs_removed=self._dirs_removed,
            symlink=seen.symlink,
            special=seen.special,
            excluded_dirs=seen.excluded_dirs,
            other_fs=seen.other_fs,
        )


def _batched(files: list[File]) -> Iterator[list[File]]:
    return (files[start : start + BATCH] for start in range(0, len(files), BATCH))

"""One run over one bucket: count, refuse or go on, delete in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from cgjobs import Context, Discard
from cgjobs_cleanup.bucket import PAGE, Answer, Bucket, Entry, batched
from cgjobs_cleanup.file_tally import FileTally
from cgjobs_cleanup.globs import Globs
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.results import FilesResult

HELD = 100_000
"""Entries held in memory at most. More old ones than these cost a second listing."""


class Key(NamedTuple):
    """What is to be deleted of one key.

    Args:
        entries: The newest first.
        whole: Whether nothing of the key is to stay.
    """

    entries: tuple[Entry, ...]
    whole: bool


class BucketSweep:
    """Deletes from a bucket what a payload selects by age. Use it once.

    Args:
        bucket: Where.
        payload: What.
        ctx: The job that runs.
        cutoff: Objects last written before this are old.
        clock: Seconds since any start, never going back; for ``max_duration``.
    """

    def __init__(
        self, bucket: Bucket, payload: Files, ctx: Context, *, cutoff: datetime, clock: Callable[[], float]
    ) -> None:
        self._bucket, self._payload, self._ctx, self._cutoff, self._clock = (
            bucket,
            payload,
            ctx,
            cutoff,
            clock,
        )
        self._excluded = Globs(payload.exclude)
        self._selected = Globs(payload.pattern, but_not=payload.exclude)
        self._tally = FileTally(payload)
        self._scanned = self._matched = 0
        self._held: list[Key] = []

    def run(self) -> FilesResult:
        """Count the old objects, and delete them when they are not too many.

        Raises:
            Discard: They are more than ``max_fraction`` of all, or S3 refuses everything.
            Snooze: ``max_duration`` is over and objects are left.
            Retry: S3 does not answer, or more than a tenth could not be deleted.
        """
        self._count()
        self._refuse()
        try:
            self._delete_all()
        finally:  # whatever ends it, this is the record of what is gone
            self._tally.log(self._ctx, "files_deleted", self._cutoff, self._matched)
        self._tally.retry_when_too_many_failed()
        return self._tally.result(self._cutoff, scanned=self._scanned, matched=self._matched)

    def _count(self) -> None:
        held = 0
        for key in self._old(count=True):
            self._matched += 1
            held += len(key.entries)
            if held <= HELD:
                self._held.append(key)
        self._ctx.progress(0, None, f"counting: {self._scanned} objects")

    def _old(self, *, count: bool = False) -> Iterator[Key]:
        """The keys of which something is to be deleted, in their order."""
        if self._payload.versions == "all":
            keys = self._bucket.keys()
        else:
            keys = ([entry] for entry in self._bucket.objects())
        for entries in keys:
            if count:
                self._scanned += 1
                if self._scanned % PAGE == 0:
                    self._ctx.progress(0, None, f"counting: {self._scanned} objects")
            path = entries[0].path
            size = next((entry.size for entry in entries if not entry.marker), 0)
            if self._selected.misses(path) or self._inside_excluded(path) or size < self._payload.min_size:
                self._tally.unselected += count
                continue
            old = tuple(entry for entry in entries if entry.modified < self._cutoff)
            if old:
                yield Key(old, whole=len(old) == len(entries))
            else:
                self._tally.young += count

    def _inside_excluded(self, path: str) -> bool:
        """Whether a directory on the way to it is excluded, as on a disk, where that one is not entered."""
        parts = path.split("/")
        return any(self._excluded.match("/".join(parts[:depth])) for depth in range(1, len(parts)))

    def _refuse(self) -> None:
        payload = self._payload
        if payload.order == "oldest_first" and len(self._held) < self._matched:
            raise Discard(
                f"order oldest_first can sort {HELD:,} objects in a bucket, and {self._matched:,} are old; "
                "choose order any"
            )
        if payload.confirm_fraction or self._matched <= payload.max_fraction * self._scanned:
            return
        raise Discard(
            f"would_delete_too_much: {self._matched} of {self._scanned} objects of root {payload.root!r} "
            f"({self._matched / self._scanned:.0%}) are to be deleted, more than max_fraction "
            f"{payload.max_fraction:.0%}. Nothing was deleted. If that is right, set confirm_fraction; "
            "with dry_run as well it shows samples"
        )

    def _delete_all(self) -> None:
        deadline = self._clock() + self._payload.max_duration.total_seconds()
        total = min(self._matched, self._tally.limit)
        doing = "counting" if self._payload.dry_run else "deleting"
        for batch in self._batches():
            if self._tally.deleted and self._clock() >= deadline:
                self._tally.go_on_later(self._matched, "objects")
            self._delete_batch(batch)
            self._ctx.progress(self._tally.deleted, total, doing)

    def _batches(self) -> Iterator[list[Key]]:
        """The old keys in the order asked for, so many at a time that few requests do."""
        if len(self._held) < self._matched:
            keys = self._old()
        elif self._payload.order == "oldest_first":
            keys = iter(sorted(self._held, key=lambda key: key.entries[0].modified))
        else:
            keys = iter(self._held)
        batch: list[Key] = []
        entries = 0
        for key in islice(keys, self._payload.max_items):
            if entries + len(key.entries) > PAGE and batch:
                yield batch
                batch, entries = [], 0
            batch.append(key)
            entries += len(key.entries)
        if batch:
            yield batch

    def _delete_batch(self, keys: list[Key]) -> None:
        """Delete what lies beneath first: no older contents may come to light when a newer one goes."""
        beneath = [entry for key in keys for entry in (key.entries[1:] if key.whole else key.entries)]
        failed = {answer.entry.path for answer in self._send(beneath) if answer.code}
        heads = [key.entries[0] for key in keys if key.whole and key.entries[0].path not in failed]
        failed |= {answer.entry.path for answer in self._send(heads) if answer.code}
        for key in keys:
            if key.entries[0].path not in failed:
                self._tally.deleted += 1
                self._tally.sample([key.entries[0].path])

    def _send(self, entries: list[Entry]) -> list[Answer]:
        answers = []
        for batch in batched(entries):
            if self._payload.dry_run:
                answers += [Answer(entry) for entry in batch]
            else:
                answers += self._bucket.delete(batch)
        stayed: set[str] = set()
        for answer in answers:
            if answer.code:
                if answer.entry.path not in stayed:  # some servers do not say which version it was
                    stayed.add(answer.entry.path)
                    self._stayed(answer)
            elif answer.marked:
                self._tally.markers += 1
            else:
                self._tally.bytes += answer.entry.size
        return answers

    def _stayed(self, answer: Answer) -> None:
        if answer.changed:
            self._tally.changed += 1
        else:
            self._tally.troubles.add(answer.entry.path, answer.code, failed=True)

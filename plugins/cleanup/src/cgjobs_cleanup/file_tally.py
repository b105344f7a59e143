"""What a run over files and rows did, counted as it goes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cgjobs import Context
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.place import Item, Place
from cgjobs_cleanup.results import FilesResult, Skipped
from cgjobs_cleanup.trouble import Troubles, printable

_SAMPLES = 5


class FileTally:
    """Deletes through a place and keeps the numbers.

    Args:
        payload: Whose.
    """

    def __init__(self, payload: Files) -> None:
        self._payload = payload
        self._limit = payload.max_items or float("inf")
        self.deleted = self.held = self.young = self.unselected = self.elsewhere = self.shared = 0
        self._bytes = self._markers = self._changed = 0
        self._samples: list[str] = []
        self._troubles = Troubles()

    @property
    def is_enough(self) -> bool:
        """Whether ``max_items`` is reached."""
        return self.deleted >= self._limit

    def has_room(self, taken: int) -> bool:
        """Whether one more may be deleted when so many are about to be."""
        return self.deleted + taken < self._limit

    def remove(self, place: Place, items: list[Item]) -> list[Item]:
        """Delete; gives back what is gone, or would be in a dry run."""
        if self._payload.dry_run:
            gone = items
            self._bytes += sum(item.size for item in items)
        else:
            gone = []
            for answer in place.remove(items) if items else ():
                if answer.changed:
                    self._changed += 1
                elif answer.code:
                    self._troubles.add(printable(answer.item.path), answer.code, failed=True)
                else:
                    gone.append(answer.item)
                    self._markers += answer.marked
                    self._bytes += 0 if answer.marked else answer.item.size
        self.deleted += len(gone)
        self.sample(item.path for item in gone)
        return gone

    def sample(self, paths: Iterable[str]) -> None:
        """Keep the first few."""
        for path in paths:
            if len(self._samples) >= _SAMPLES:
                return
            self._samples.append(printable(path))

    def forget_samples(self) -> None:
        """Before what was found is deleted, and sampled then."""
        self._samples.clear()

    def retry_when_too_many_failed(self) -> None:
        """Raise `Retry` when more than a tenth could not be deleted."""
        self._troubles.retry_when_too_many(self.deleted, f"root {self._payload.root!r}")

    def log(self, ctx: Context, event: str, cutoff: datetime, matched: int) -> None:
        """The record of what is gone."""
        ctx.log.info(
            event,
            root=self._payload.root,
            cutoff=cutoff.isoformat(),
            dry_run=self._payload.dry_run,
            matched=matched,
            deleted=self.deleted,
            bytes_freed=self._bytes,
            errors_total=self._troubles.total,
        )

    def result(self, cutoff: datetime, *, scanned: int, matched: int) -> FilesResult:
        """As the job reports it."""
        return FilesResult(
            cutoff=cutoff,
            dry_run=self._payload.dry_run,
            scanned=scanned,
            matched=matched,
            deleted=self.deleted,
            bytes_freed=self._bytes,
            hard_links=0,
            dirs_removed=0,
            skipped=Skipped(
                unselected=self.unselected,
                young=self.young,
                held=self.held,
                elsewhere=self.elsewhere,
                shared=self.shared,
                changed=self._changed,
            ),
            samples=tuple(self._samples),
            errors=tuple(self._troubles.listed),
            errors_total=self._troubles.total,
            stopped_by="max_items" if self.is_enough and matched > self.deleted else None,
            delete_markers=self._markers,
        )

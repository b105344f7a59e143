"""What a run over files did, counted as it goes: those of trees, of buckets, of rows and of orphans."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from cgjobs import Context, Snooze
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.place import Item, Place
from cgjobs_cleanup.results import FilesResult, Skipped
from cgjobs_cleanup.trouble import Troubles, printable

_SAMPLES = 5


class FileTally:
    """Keeps the numbers of a run, and what is said and done because of them.

    Args:
        payload: Whose.

    Attributes:
        limit: ``max_items``, or infinity.
        deleted: Files that are gone, or would be in a dry run.
        bytes: What they took. An object that was only hidden takes it still.
        markers: Objects that were only hidden.
        changed: Files that stay because they were written since they were listed.
        held, young, unselected, elsewhere, shared: Files passed by, see `Skipped`.
        troubles: What went wrong with single ones.
    """

    def __init__(self, payload: Files) -> None:
        self._payload = payload
        self.limit = payload.max_items or float("inf")
        self.deleted = self.bytes = self.markers = self.changed = 0
        self.held = self.young = self.unselected = self.elsewhere = self.shared = 0
        self.troubles = Troubles()
        self._samples: list[str] = []

    @property
    def is_enough(self) -> bool:
        """Whether ``max_items`` is reached."""
        return self.deleted >= self.limit

    def has_room(self, taken: int) -> bool:
        """Whether one more may be deleted when so many are about to be."""
        return self.deleted + taken < self.limit

    def remove(self, place: Place, items: list[Item]) -> list[Item]:
        """Delete; gives back what is gone, or would be in a dry run."""
        if self._payload.dry_run:
            gone = items
            self.bytes += sum(item.size for item in items)
        else:
            gone = []
            for answer in place.remove(items) if items else ():
                if answer.changed:
                    self.changed += 1
                elif answer.code:
                    self.troubles.add(printable(answer.item.path), answer.code, failed=True)
                else:
                    gone.append(answer.item)
                    self.markers += answer.marked
                    self.bytes += 0 if answer.marked else answer.item.size
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
        self.troubles.retry_when_too_many(self.deleted, f"root {self._payload.root!r}")

    def go_on_later(self, matched: int, what: str) -> None:
        """``max_duration`` is over: raise `Snooze`.

        Only after a deletion: a run that gets nowhere must use up its attempt, not be put off for ever.

        Args:
            matched: How many were to be deleted.
            what: They, for people.
        """
        if self.deleted and not self._payload.dry_run:
            self.retry_when_too_many_failed()
            raise Snooze(timedelta(0), f"max_duration: {self.deleted} of {matched} {what} deleted, going on")

    def log(self, ctx: Context, event: str, cutoff: datetime, matched: int) -> None:
        """The record of what is gone."""
        ctx.log.info(
            event,
            root=self._payload.root,
            cutoff=cutoff.isoformat(),
            dry_run=self._payload.dry_run,
            matched=matched,
            deleted=self.deleted,
            bytes_freed=self.bytes,
            errors_total=self.troubles.total,
        )

    def result(
        self,
        cutoff: datetime,
        *,
        scanned: int,
        matched: int,
        hard_links: int = 0,
        dirs_removed: int = 0,
        **skipped: int,
    ) -> FilesResult:
        """As the job reports it; ``skipped`` are the fields of `Skipped` that are not counted here."""
        return FilesResult(
            cutoff=cutoff,
            dry_run=self._payload.dry_run,
            scanned=scanned,
            matched=matched,
            deleted=self.deleted,
            bytes_freed=self.bytes,
            hard_links=hard_links,
            dirs_removed=dirs_removed,
            skipped=Skipped(
                unselected=self.unselected,
                young=self.young,
                held=self.held,
                elsewhere=self.elsewhere,
                shared=self.shared,
                changed=self.changed,
                **skipped,
            ),
            samples=tuple(self._samples),
            errors=tuple(self.troubles.listed),
            errors_total=self.troubles.total,
            stopped_by="max_items" if self.is_enough and matched > self.deleted else None,
            delete_markers=self.markers,
        )

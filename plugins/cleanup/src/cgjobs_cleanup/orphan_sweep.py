"""Mode ``orphans`` of ``cleanup.files``: files that no row of the table ``files`` points at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import select

from cgjobs import Context, Discard, Snooze
from cgjobs_cleanup.file_tally import FileTally
from cgjobs_cleanup.globs import Globs
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.place import Addresses, Item, Place
from cgjobs_cleanup.results import FilesResult
from cgjobs_data import Database, Entity, failures

PAGE = 500
HELD = 100_000
"""Orphans held in memory at most; more cost a second listing."""


class OrphanSweep:
    """Reports files without a row, and deletes them when told to. The arguments are those of `RowSweep`."""

    def __init__(
        self,
        db: Database,
        table: Entity,
        place: Place,
        addresses: Addresses,
        payload: Files,
        ctx: Context,
        *,
        cutoff: datetime,
        clock: Callable[[], float],
    ) -> None:
        self._db, self._table, self._place, self._addresses = db, table, place, addresses
        self._payload, self._ctx, self._cutoff, self._clock = payload, ctx, cutoff, clock
        self._excluded = Globs(payload.exclude)
        self._selected = Globs(payload.pattern, but_not=payload.exclude)
        self._tally = FileTally(payload)
        self._scanned = self._matched = 0
        self._held: list[Item] = []

    def run(self) -> FilesResult:
        """Look for orphans; delete them when the payload says so.

        Raises:
            Discard: They are more than ``max_fraction``: the URLs of the table mean something else, mostly.
            Snooze: ``max_duration`` is over.
            Retry: Database or store do not answer, or more than a tenth could not be deleted.
        """
        for page in self._pages(count=True):
            self._matched += len(page)
            if self._matched <= HELD:
                self._held += page
            self._tally.sample(item.path for item in page)
        if not self._payload.delete_orphans:
            self._tally.log(self._ctx, "orphans_found", self._cutoff, self._matched)
            return self._tally.result(self._cutoff, scanned=self._scanned, matched=self._matched)
        if not self._payload.confirm_fraction and self._matched > self._payload.max_fraction * self._scanned:
            raise Discard(
                f"would_delete_too_much: {self._matched} of {self._scanned} files have no row, more than "
                f"max_fraction {self._payload.max_fraction:.0%}: look at the url of the root and those in "
                f"{self._table.table.name}. Nothing was deleted. If that is right, set confirm_fraction"
            )
        self._tally.forget_samples()
        try:
            self._delete_all()
        finally:
            self._tally.log(self._ctx, "orphans_deleted", self._cutoff, self._matched)
        self._tally.retry_when_too_many_failed()
        return self._tally.result(self._cutoff, scanned=self._scanned, matched=self._matched)

    def _delete_all(self) -> None:
        deadline = self._clock() + self._payload.max_duration.total_seconds()
        if len(self._held) < self._matched:
            pages = self._pages()
        else:  # looked up again: a row may have come meanwhile
            pages = (self._orphans(page) for page in _pages(iter(self._held)))
        for page in pages:
            self._tally.remove(self._place, [item for n, item in enumerate(page) if self._tally.has_room(n)])
            self._ctx.progress(self._tally.deleted, max(self._matched, self._tally.deleted), "deleting")
            if self._tally.is_enough:
                return
            if self._tally.deleted and not self._payload.dry_run and self._clock() >= deadline:
                raise Snooze(
                    timedelta(0), f"max_duration: {self._tally.deleted} of {self._matched} files deleted"
                )

    def _pages(self, *, count: bool = False) -> Iterator[list[Item]]:
        """The orphans, page by page."""
        for page in _pages(self._place.items()):
            self._scanned += len(page) * count
            self._ctx.progress(self._tally.deleted, None, f"looking at {self._scanned} files")
            yield self._orphans([item for item in page if self._is_candidate(item, count=count)])

    def _is_candidate(self, item: Item, *, count: bool) -> bool:
        if (
            self._selected.misses(item.path)
            or item.size < self._payload.min_size
            or self._is_inside(item.path)
        ):
            self._tally.unselected += count
            return False
        if item.modified is None or item.modified >= self._cutoff:
            self._tally.young += count
            return False
        return True

    def _is_inside(self, path: str) -> bool:
        parts = path.split("/")
        return any(self._excluded.match("/".join(parts[:depth])) for depth in range(1, len(parts)))

    def _orphans(self, items: Sequence[Item]) -> list[Item]:
        """Those to which no row points, under any of their URLs."""
        by_url = {url: item.path for item in items for url in self._addresses.urls(item.path)}
        if not by_url:
            return []
        url = self._table["url"]
        with failures(), self._db.reading(self._ctx.job.id) as connection:
            known = {
                by_url[found] for found in connection.execute(select(url).where(url.in_(by_url))).scalars()
            }
        return [item for item in items if item.path not in known]


def _pages(items: Iterator[Item]) -> Iterator[list[Item]]:
    while page := list(islice(items, PAGE)):
        yield page

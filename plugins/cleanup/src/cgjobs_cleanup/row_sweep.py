"""Mode ``rows`` of ``cleanup.files``: old rows of the table ``files``, each with its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, not_, or_, select

from cgjobs import Context, Discard, Snooze
from cgjobs_cleanup.file_tally import FileTally
from cgjobs_cleanup.globs import Globs
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.place import Addresses, Item, Place
from cgjobs_cleanup.results import FilesResult
from cgjobs_data import Database, Entity, failures

BATCH = 200
"""Rows locked at once while their files are deleted."""


class RowSweep:
    """Deletes the files of old rows, and then the rows: a row whose file stays is the handle for another try.

    Args:
        db: The database.
        table: The table ``files``.
        held: Which of its rows are under a legal hold.
        place: Where the files are.
        addresses: What the URLs of the rows mean.
        payload: What is asked for.
        ctx: The job that runs.
        cutoff: Rows made before this are old.
        clock: Seconds since any start, never going back; for ``max_duration``.
    """

    def __init__(
        self,
        db: Database,
        table: Entity,
        held: Any,
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
        self._selected = Globs(payload.pattern, but_not=payload.exclude)
        created = table["created_at"]
        self._old = and_(created < table.written(cutoff), created.is_not(None))
        self._held = held
        self._eligible = and_(self._old, not_(held), not_(table.kept))
        self._tally = FileTally(payload)
        self._total = self._matched = 0

    def run(self) -> FilesResult:
        """Count, and delete batch by batch.

        Raises:
            Discard: More than ``max_fraction`` of the rows are old, or the database refuses.
            Snooze: ``max_duration`` is over.
            Retry: Database or store do not answer, or more than a tenth could not be deleted.
        """
        self._count()
        if not self._payload.confirm_fraction and self._matched > self._payload.max_fraction * self._total:
            raise Discard(
                f"would_delete_too_much: {self._matched} of {self._total} rows of {self._table.table.name} "
                f"({self._matched / self._total:.0%}) are to be deleted, more than max_fraction "
                f"{self._payload.max_fraction:.0%}. Nothing was deleted. If it is right, set confirm_fraction"
            )
        try:
            self._delete_all()
        finally:
            self._tally.log(self._ctx, "file_rows_deleted", self._cutoff, self._matched)
        self._tally.retry_when_too_many_failed()
        return self._tally.result(self._cutoff, scanned=self._total, matched=self._matched)

    def _count(self) -> None:
        rows = select(func.count()).select_from(self._table.table)
        done = lambda: self._ctx.progress(0, None, "counting")  # noqa: E731
        with (
            failures(),
            self._db.reading(self._ctx.job.id, timeout=timedelta(hours=1), watch=done) as connection,
        ):
            self._total = connection.execute(rows).scalar_one()
            self._matched = connection.execute(rows.where(self._eligible)).scalar_one()
            self._tally.held = connection.execute(rows.where(self._old, self._held)).scalar_one()
            self._tally.young = connection.execute(rows.where(not_(self._old))).scalar_one()

    def _delete_all(self) -> None:
        deadline = self._clock() + self._payload.max_duration.total_seconds()
        cursor: tuple[Any, Any] | None = None
        while not self._tally.is_enough:
            with failures(), self._db.writing(self._ctx.job.id) as connection:
                rows = self._next(connection, cursor)
                if not rows:
                    return
                self._delete(connection, rows)
            cursor = (rows[-1][3], rows[-1][0])
            self._ctx.progress(self._tally.deleted, max(self._matched, self._tally.deleted), "deleting")
            if self._tally.deleted and not self._payload.dry_run and self._clock() >= deadline:
                self._tally.retry_when_too_many_failed()
                raise Snooze(
                    timedelta(0), f"max_duration: {self._tally.deleted} of {self._matched} files deleted"
                )

    def _next(self, connection: Connection, cursor: tuple[Any, Any] | None) -> Sequence[Any]:
        table, ident, created = self._table, self._table["id"], self._table["created_at"]
        size = table.get("size")
        wanted = select(ident, table["url"], size if size is not None else func.abs(0), created)
        wanted = wanted.where(self._eligible).order_by(created, ident).limit(BATCH)
        if cursor is not None:
            wanted = wanted.where(created >= cursor[0], or_(created > cursor[0], ident > cursor[1]))
        if not self._payload.dry_run:
            wanted = wanted.with_for_update(of=table.table, skip_locked=True)
        return connection.execute(wanted).all()

    def _delete(self, connection: Connection, rows: Sequence[Any]) -> None:
        """The files first: S3 takes the deletion of a missing key as done, so a second try is harmless."""
        shared = self._shared(connection, [row[1] for row in rows])
        by_path: dict[str, list[Any]] = {}
        items: dict[str, Item] = {}
        for ident, url, size, _ in rows:
            path = self._addresses.path(url or "")
            if path is None:
                self._tally.elsewhere += 1
            elif url in shared:
                self._tally.shared += 1
            elif self._selected.misses(path) or (size or 0) < self._payload.min_size:
                self._tally.unselected += 1
            elif self._tally.has_room(len(items)):
                by_path.setdefault(path, []).append(ident)
                items[path] = Item(path, None, size or 0)
        gone = self._tally.remove(self._place, list(items.values()))
        idents = [ident for item in gone for ident in by_path[item.path]]
        if idents and not self._payload.dry_run:
            among = self._table["id"].in_(bindparam("ids", expanding=True))
            connection.execute(delete(self._table.table).where(among, self._old), {"ids": idents})

    def _shared(self, connection: Connection, urls: Sequence[str | None]) -> set[str]:
        """Those of the URLs that rows point at which are to stay."""
        url = self._table["url"]
        found = select(url).where(url.in_([each for each in urls if each]), not_(self._eligible))
        return set(connection.execute(found).scalars())

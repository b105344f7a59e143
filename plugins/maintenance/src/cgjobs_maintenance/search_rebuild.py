"""A search index built anew beside the old one, and swapped in at one moment when the counts agree."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from cgjobs import Context, Discard, Snooze
from cgjobs_data import failure
from cgjobs_maintenance.payloads import Reindex
from cgjobs_maintenance.results import IndexRebuilt, ReindexResult
from cgjobs_maintenance.search_server import SearchServer
from cgjobs_maintenance.settings import SearchTarget

if TYPE_CHECKING:
    from cgjobs_data import Database, Entity


class SearchRebuild:
    """Rebuilds one index from the rows of a table. Use it once.

    The new index is named after the job's creation, so that another attempt goes on with it.

    Args:
        server: The search server.
        target: What its index holds.
        database: Where the rows are.
        payload: What to do.
        ctx: The job that runs.
        clock: Seconds since any start, never going back.
    """

    def __init__(
        self,
        server: SearchServer,
        target: SearchTarget,
        database: Database,
        payload: Reindex,
        ctx: Context,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._target, self._database = server, target, database
        self._payload, self._ctx, self._clock = payload, ctx, clock
        created = ctx.job.created_at
        assert created is not None, "a job that runs was created"
        self._alias = target.alias or target.entity
        self._new = f"{self._alias}_v{created:%Y%m%d%H%M%S}"
        self._started = clock()
        self._deadline = self._started + payload.max_duration.total_seconds()

    def run(self) -> ReindexResult:
        """Build, compare, swap; the old index stays for ``keep_old``.

        Raises:
            Discard: The server refuses the documents, or the counts differ: then nothing was swapped, and the
                new index was deleted.
            Retry: One of the two does not answer; the next attempt goes on.
            Snooze: ``max_duration`` is over; the next run goes on.
        """
        entity = self._database.entity(self._target.entity, needs=("id",))
        behind = self._server.behind(self._alias)
        old = [name for name in behind if name != self._new]
        before = sum(self._server.bytes(name) for name in old)
        try:
            written = self._fill(entity, old, live=self._new in behind)
            self._server.refresh(self._new)
            source, count = self._count(entity), self._server.count(self._new)
            self._refuse_drift(source, count)
        except Discard:
            if self._new not in behind:
                self._server.delete(self._new)
            raise
        # Before the swap: were it lost after it, no attempt would know the old index any more. What is still
        # in use when the time has come is not deleted.
        for name in old:
            self._drop_later(name)
        self._server.swap(self._alias, self._new, old)
        self._ctx.log.info(
            "search_index_swapped", alias=self._alias, index=self._new, old=old, documents=count
        )
        return ReindexResult(
            indexes=(
                IndexRebuilt(
                    name=self._new,
                    outcome="ok",
                    seconds=round(self._clock() - self._started, 3),
                    bytes_before=before,
                    bytes_after=self._server.bytes(self._new),
                ),
            ),
            docs_indexed=written,
            count_source=source,
            count_index=count,
            swapped=True,
            old_index=", ".join(old) or None,
        )

    def _fill(self, entity: Entity, old: list[str], *, live: bool) -> int:
        saved: dict[str, Any] = self._ctx.resume({})
        if saved.get("index") != self._new or not self._server.exists(self._new):
            if not live:  # else an attempt had swapped it in and lost its checkpoint: searches use it
                self._server.delete(self._new)
                self._server.create(self._new, self._shape(old))
            saved = {"index": self._new, "written": 0, "last": None}
        total = self._count(entity)
        for rows in self._pages(entity, saved["last"]):
            self._server.write(self._new, [(str(row["id"]), row) for row in rows])
            saved = {"index": self._new, "written": saved["written"] + len(rows), "last": rows[-1]["id"]}
            self._ctx.checkpoint(saved)
            self._ctx.progress(min(saved["written"], total), total, f"{self._new}: writing documents")
            if self._clock() >= self._deadline:
                raise Snooze(
                    self._payload.max_duration * 0, f"max_duration: {saved['written']} of {total} documents"
                )
        return int(saved["written"])

    def _shape(self, old: list[str]) -> dict[str, Any]:
        if self._target.mapping is not None:
            return self._target.shape()
        return self._server.shape(old[-1]) if old else {}

    def _pages(self, entity: Entity, last: Any) -> Iterator[list[dict[str, Any]]]:
        """The rows, page by page, in the order of their ids: none is read twice or held for long."""
        key = entity["id"]
        columns = [entity[name].label(name) for name in self._columns(entity)]
        while True:
            query = select(*columns).order_by(key).limit(self._payload.batch_size)
            if (deleted := entity.get("deleted_at")) is not None:
                query = query.where(deleted.is_(None))
            if last is not None:
                query = query.where(key > last)
            try:
                with self._database.reading(self._ctx.job.id) as connection:
                    rows = [dict(row) for row in connection.execute(query).mappings()]
            except SQLAlchemyError as error:
                raise failure(error) from error
            if not rows:
                return
            last = rows[-1]["id"]
            for row in rows:
                if row.get("created_at") is not None:
                    at = entity.read(row["created_at"])
                    row["created_at"] = None if at is None else at.isoformat()
            yield rows
            if len(rows) < self._payload.batch_size:
                return

    def _columns(self, entity: Entity) -> list[str]:
        if not self._target.fields:
            return [name for name in entity if name != "deleted_at"]
        if missing := [name for name in self._target.fields if name not in entity]:
            raise Discard(
                f"[plugins.maintenance.search.{self._payload.target}] fields has {', '.join(missing)}, which "
                f"{entity.name} lacks; it has {', '.join(entity)}"
            )
        return list(dict.fromkeys(["id", *self._target.fields]))

    def _count(self, entity: Entity) -> int:
        query = select(func.count()).select_from(entity.table)
        if (deleted := entity.get("deleted_at")) is not None:
            query = query.where(deleted.is_(None))
        try:
            with self._database.reading(self._ctx.job.id) as connection:
                return int(connection.execute(query).scalar_one())
        except SQLAlchemyError as error:
            raise failure(error) from error

    def _refuse_drift(self, source: int, count: int) -> None:
        drift = abs(source - count) / max(1, source)
        if self._payload.verify and drift > self._payload.max_count_drift:
            raise Discard(
                f"the new index has {count} documents and the table {source} rows, {drift:.2%} apart, more "
                f"than max_count_drift {self._payload.max_count_drift:.2%}; nothing was swapped, and the "
                "new index was deleted"
            )

    def _drop_later(self, index: str) -> None:
        if not is_ours(index, self._alias):
            self._ctx.log.warning("search_index_left", index=index, reason="it was not made by this job")
            return
        self._ctx.client.enqueue(
            Reindex(self._payload.target, drop_index=index),
            delay=self._payload.keep_old,
            unique=f"drop:{index}",  # another attempt adds no second one
        )


def is_ours(index: str, alias: str) -> bool:
    """Whether an index has a name that this job gives: no payload can have any other one deleted."""
    return re.fullmatch(rf"{re.escape(alias)}_v\d{{14}}", index) is not None


def drop(server: SearchServer, target: SearchTarget, index: str, ctx: Context) -> ReindexResult:
    """Delete an index that was swapped out, unless an alias leads to it again."""
    alias = target.alias or target.entity
    if not is_ours(index, alias):
        raise Discard(f"drop_index {index!r} is none that this job makes for {alias!r}; delete it by hand")
    back = index in server.behind(alias)
    if not back:
        server.delete(index)
    ctx.log.info("search_index_kept" if back else "search_index_deleted", alias=alias, index=index)
    outcome = "in_use" if back else "dropped"
    return ReindexResult(indexes=(IndexRebuilt(name=index, outcome=outcome),), old_index=index)

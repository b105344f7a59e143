"""The table of deliveries: what was sent to whom, over all jobs and workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from cgjobs import Snooze
from cgjobs_data import Database, Entity, failure
from cgjobs_notification.delivery import State
from cgjobs_notification.recipient import Channel

STALE = timedelta(minutes=10)
"""A claim of another job this old is taken for one of a worker that is no more."""
_BUSY = timedelta(seconds=30)
_LOCK = timedelta(seconds=10)  # on SQLite all writers wait for each other


class TableLedger:
    """A `Ledger` in a table: jobs with the same key know of each other.

    Args:
        database: Where the table is.
        table: The companion table of deliveries.
        job_id: The job that sends.
        now: When (aware).
    """

    def __init__(self, database: Database, table: Entity, job_id: str, now: datetime) -> None:
        self._database, self._table, self._job_id, self._now = database, table, job_id, now

    def claim(self, key: str, channel: Channel, destination: str) -> State:
        """Insert the row, or take over one that is not being worked on."""
        of = self._of(key, channel, destination)
        try:
            with self._writing() as connection:
                connection.execute(insert(self._table.table).values(self._row(key, channel, destination)))
            return "new"
        except IntegrityError:
            pass  # somebody has claimed it before
        with self._writing() as connection:
            row = connection.execute(select(*self._columns).where(*of).with_for_update()).first()
            if row is None:  # released in between
                raise Snooze(_BUSY, "another job has just given it up")
            known = self._known(row._asdict())
            if known == "sent":
                return known
            taken = update(self._table.table).where(*of).values(self._row(key, channel, destination))
            connection.execute(taken)
        return known

    def settle(
        self,
        key: str,
        channel: Channel,
        destination: str,
        state: Literal["sent", "failed", "unknown"],
        *,
        provider_id: str = "",
        detail: str = "",
    ) -> None:
        """Write down how it ended."""
        table = self._table
        values = {
            table["state"]: state,
            table["provider_id"]: provider_id[:200] or None,
            table["detail"]: detail[:1000] or None,
        }
        with self._writing() as connection:
            connection.execute(update(table.table).where(*self._of(key, channel, destination)).values(values))

    def release(self, key: str, channel: Channel, destination: str) -> None:
        """Delete the row."""
        with self._writing() as connection:
            connection.execute(
                delete(self._table.table).where(
                    *self._of(key, channel, destination), self._table["job_id"] == self._job_id
                )
            )

    def purge(self, before: datetime, *, most: int = 1_000) -> int:
        """Delete what is older: a key is not asked for again after so long.

        Args:
            before: Rows of earlier deliveries go.
            most: At most so many of them, the oldest first.

        Returns:
            How many were deleted.
        """
        table = self._table
        oldest = select(table["at"]).where(table["at"] < table.written(before)).order_by(table["at"])
        with self._writing() as connection:
            times = connection.execute(oldest.limit(most)).scalars().all()
            if not times:
                return 0
            gone = connection.execute(delete(table.table).where(table["at"] <= times[-1]))
            return int(gone.rowcount)

    def sent_since(self, channel: Channel, since: datetime, destination: str | None = None) -> int:
        """How many were sent, or may have been, over a channel since then, to one destination or to all."""
        table = self._table
        query = (
            select(func.count())
            .select_from(table.table)
            .where(table["channel"] == channel, table["at"] > table.written(since))
            .where(table["state"] != "failed")
        )
        if destination is not None:
            query = query.where(table["destination"] == destination)
        try:
            with self._database.reading(self._job_id) as connection:
                return int(connection.execute(query).scalar_one())
        except SQLAlchemyError as error:
            raise failure(error) from error

    @property
    def _columns(self) -> list[ColumnElement[Any]]:
        return [self._table[name].label(name) for name in ("state", "at", "job_id")]

    def _known(self, row: Mapping[str, Any]) -> State:
        """What a row says, given that it is there."""
        state: str = row["state"]
        if state in ("sent", "failed", "unknown"):
            return "sent" if state == "sent" else "failed" if state == "failed" else "unknown"
        at = self._table.read(row["at"])
        if row["job_id"] != self._job_id and at is not None and at > self._now - STALE:
            raise Snooze(_BUSY, f"job {row['job_id']} is sending it")
        return "unknown"

    def _of(self, key: str, channel: Channel, destination: str) -> list[ColumnElement[bool]]:
        table = self._table
        return [table["key"] == key, table["channel"] == channel, table["destination"] == destination]

    def _row(self, key: str, channel: Channel, destination: str) -> dict[Any, Any]:
        table = self._table
        return {
            table["key"]: key,
            table["channel"]: channel,
            table["destination"]: destination,
            table["state"]: "claimed",
            table["at"]: table.written(self._now),
            table["job_id"]: self._job_id,
        }

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._database.writing(self._job_id, lock_timeout=_LOCK) as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise failure(error) from error

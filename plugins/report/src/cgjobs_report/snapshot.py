"""The database that a report reads: read-only, and all of one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from cgjobs import Context
from cgjobs_data import Database, failures
from cgjobs_data import Settings as DataSettings
from cgjobs_report.settings import Settings

_BEHIND = text(
    """SELECT CASE WHEN pg_is_in_recovery()
       THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END"""
)


@contextmanager
def reading(ctx: Context, look: Callable[[], None]) -> Iterator[tuple[Database, Connection]]:
    """The database and a connection in one snapshot of it.

    Args:
        ctx: Of the job.
        look: Called twice a second; what it raises stops the statement that runs.

    Raises:
        Discard: The database is not configured or refuses.
        Retry: It does not answer, or a statement took too long.
    """
    db = ctx.use(Database, ctx.settings(DataSettings))
    timeout = ctx.settings(Settings).statement_timeout
    with failures(), db.reading(ctx.job.id, timeout=timeout, watch=look) as connection:
        yield db, connection


def lag(db: Database, connection: Connection) -> float | None:
    """By how many seconds a replica of PostgreSQL is behind; None for what is no replica, or cannot say."""
    if db.dialect != "postgresql":
        return None
    behind = connection.scalar(_BEHIND)
    return None if behind is None else max(float(behind), 0.0)

"""Replicas of PostgreSQL that must keep up: a purge that outruns them makes them show old data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cgjobs import Snooze
from cgjobs_data import Database

_LOOK_EVERY = 1.0
_PATIENCE = 60.0
_LATER = timedelta(minutes=1)


class Replica:
    """Waits while the slowest replica lags too far behind.

    Args:
        db: The database; only PostgreSQL is asked. Its account needs the role pg_monitor to see the lag.
        most: How far a replica may lag.
        job_id: Who asks.
        clock, sleep: Time, in seconds.
    """

    def __init__(
        self,
        db: Database,
        *,
        most: timedelta,
        job_id: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._db, self._most, self._job_id = db, most.total_seconds(), job_id
        self._clock, self._sleep = clock, sleep
        self._looked_at = float("-inf")

    def wait(self, tell: Callable[[float], object]) -> None:
        """Wait for up to a minute; looks once a second at most.

        Args:
            tell: Called with the lag in seconds while waiting.

        Raises:
            Snooze: It still lags.
        """
        if self._db.dialect != "postgresql" or self._clock() - self._looked_at < _LOOK_EVERY:
            return
        began = self._clock()
        while (lag := self.lag()) > self._most:
            tell(lag)
            if self._clock() - began > _PATIENCE:
                raise Snooze(_LATER, f"a replica lags {lag:.0f} s behind, more than {self._most:.0f} s")
            self._sleep(_LOOK_EVERY)
        self._looked_at = self._clock()

    def lag(self) -> float:
        """How far the slowest replica is behind, in seconds; 0 without one, and when it cannot be seen."""
        look = text("SELECT coalesce(max(extract(epoch FROM replay_lag)), 0) FROM pg_stat_replication")
        try:
            with self._db.reading(self._job_id, timeout=timedelta(seconds=5)) as connection:
                return float(connection.execute(look).scalar_one())
        except SQLAlchemyError:
            return 0.0

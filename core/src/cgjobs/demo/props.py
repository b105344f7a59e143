"""What stands on the stage beside the database: log files and a cache."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import attrs

from cgjobs.broker.connection import connect
from cgjobs.config import RedisConfig

CACHE_DB = 1
"""The cache is another database of the broker's server: the queue's keys are not in it."""
_LINE = "{at} INFO GET /api/channels/general/messages 200 {ms} ms user=01K59CW2GESNGXHWBAVY8VEP2A\n"


def write_logs(directory: Path, now: datetime, days: int = 30) -> None:
    """One log file a day, as logrotate leaves them, and the one that is written to now.

    Args:
        directory: Where; it is made.
        now: The youngest one is of this day (aware).
        days: How many.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for day in range(1, days + 1):
        at = now - timedelta(days=day)
        path = directory / f"api.log-{at:%Y%m%d}"
        lines = (_LINE.format(at=at.isoformat(), ms=number * 7 % 90) for number in range(1_000))
        path.write_text("".join(lines), "utf-8")
        os.utime(path, (at.timestamp(), at.timestamp()))
    (directory / "api.log").write_text(_LINE.format(at=now.isoformat(), ms=3), "utf-8")


def fill_cache(broker: RedisConfig, keys: int = 3_000) -> None:
    """Keys of which two in three were written without a time to live, by mistake.

    Args:
        broker: The server.
        keys: How many.
    """
    client = connect(attrs.evolve(broker, db=CACHE_DB))
    try:
        pipeline = client.pipeline(transaction=False)
        for number in range(keys):
            pipeline.set(f"chatgenius:profile:{number}", "x" * 200, ex=3600 if number % 3 == 0 else None)
        pipeline.execute()
    finally:
        client.close()

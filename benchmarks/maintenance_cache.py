"""How long other clients of a Redis wait while `maintenance.cache` sweeps it.

    python -m benchmarks.maintenance_cache [--keys 200000]

A Valkey of its own with so many keys, three quarters without a time to live. For each way of sweeping: how
long it took, and how long the PINGs of another process took meanwhile, one each millisecond. `nothing` is a
second without a sweep, which shows how busy the machine is; `KEYS and DEL` is what the sweep replaces.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs
import redis
from rich.console import Console
from rich.table import Table

from benchmarks.server import fresh_server
from cgjobs.testing import RecordingContext
from cgjobs_maintenance import Cache, Settings
from cgjobs_maintenance.handlers import cache
from cgjobs_maintenance.settings import CacheTarget

PATTERN = "chatgenius:*"


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--ping", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ping is not None:
        ping(args.ping)
        return
    count = args.keys
    table = Table(
        "way", "seconds", "keys/s", "changed", "PING median ms", "99 %", "worst", "longest command ms"
    )
    for name, way in WAYS.items():
        with fresh_server() as server:
            port = server.connection_pool.connection_kwargs["port"]
            server.config_set("appendonly", "no")  # a cache
            fill(server, count)
            server.config_set("slowlog-log-slower-than", 1_000)
            server.slowlog_reset()
            seconds, changed, pings = measured(port, lambda way=way, port=port: way(port))  # type: ignore[misc]
            table.add_row(
                name,
                f"{seconds:.2f}",
                f"{count / seconds:,.0f}",
                f"{changed:,}",
                f"{statistics.median(pings):.2f}",
                f"{statistics.quantiles(pings, n=100)[98]:.2f}",
                f"{max(pings):.1f}",
                f"{longest(server):.1f}",
            )
    Console(width=120).print(table)


def fill(server: redis.Redis, count: int) -> None:
    for start in range(0, count, 10_000):
        pipe = server.pipeline(transaction=False)
        for number in range(start, min(start + 10_000, count)):
            pipe.set(f"chatgenius:message:{number}", "x" * 200, ex=None if number % 4 else 10_000)
        pipe.execute()


def measured(port: int, act: Callable[[], int]) -> tuple[float, int, list[float]]:
    command = [sys.executable, "-m", "benchmarks.maintenance_cache", "--ping", str(port)]
    pinging = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert pinging.stdin is not None
    assert pinging.stdout is not None
    pinging.stdout.readline()  # it has begun
    started = time.perf_counter()
    changed = act()
    seconds = time.perf_counter() - started
    pings, _ = pinging.communicate("stop\n")
    return seconds, changed, [float(line) for line in pings.split()]


def longest(server: redis.Redis) -> float:
    """The longest that one command has kept the server from all others, 0 when none took a millisecond."""
    entries: list[dict[str, int]] = server.slowlog_get(128)  # type: ignore[assignment]
    return max((entry["duration"] / 1_000 for entry in entries), default=0.0)


def ping(port: int) -> None:
    pings: list[float] = []
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    with redis.Redis(port=port) as client:
        client.ping()
        print("begun", flush=True)
        while not stop.is_set():
            started = time.perf_counter()
            client.ping()
            pings.append((time.perf_counter() - started) * 1_000)
            time.sleep(0.001)
    print("\n".join(f"{ms:.4f}" for ms in pings))


def nothing(port: int) -> int:
    time.sleep(1)
    return 0


def sweep(port: int, payload: Cache) -> int:
    target = CacheTarget(f"redis://127.0.0.1:{port}", prefixes=("chatgenius:",))
    ctx = RecordingContext(settings=[Settings(caches={"it": target})])
    # As if enqueued later: then all that is there has been idle for long enough.
    ctx.job = attrs.evolve(ctx.job, created_at=datetime.now(UTC) + timedelta(days=1))
    result = cache(payload, ctx)
    return result.unlinked + result.ttl_set + (result.matched if result.dry_run else 0)


def keys_and_del(port: int) -> int:
    with redis.Redis(port=port) as client:
        found: list[bytes] = client.keys(PATTERN)  # type: ignore[assignment]
        return sum(int(client.delete(*found[at : at + 10_000])) for at in range(0, len(found), 10_000))  # type: ignore[arg-type]


WAYS: dict[str, Callable[[int], int]] = {
    "nothing": nothing,
    "only=no_ttl": lambda port: sweep(port, Cache("it", pattern=PATTERN)),
    "only=no_ttl, set_ttl": lambda port: sweep(
        port, Cache("it", pattern=PATTERN, set_ttl=timedelta(hours=1))
    ),
    "only=idle": lambda port: sweep(port, Cache("it", pattern=PATTERN, only="idle", idle=timedelta(hours=1))),
    "only=all": lambda port: sweep(port, Cache("it", pattern=PATTERN, only="all")),
    "only=all, batch=10000": lambda port: sweep(port, Cache("it", pattern=PATTERN, only="all", batch=10_000)),
    "dry run": lambda port: sweep(port, Cache("it", pattern=PATTERN, dry_run=True)),
    "KEYS and DEL": keys_and_del,
}


if __name__ == "__main__":
    main()

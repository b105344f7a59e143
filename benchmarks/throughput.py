"""No-op jobs a second by one worker process, and enqueue rates, beside rq's SimpleWorker on the same server.

Hooks, log lines (to a file), counters and leases are on. Rounds are interleaved, since machines are noisy:
quote the medians and the ratios.

    make bench
    make bench ARGS="--jobs 50000 --rounds 5"
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import redis
from rich.console import Console
from rich.table import Table

from benchmarks import plugin
from cgjobs import builtin, logs, plugins
from cgjobs.client import Client
from cgjobs.config import Config, RedisConfig
from cgjobs.embedded import EmbeddedBroker
from cgjobs.worker import Worker

PAYLOAD = "x" * 150  # about 200 bytes on the wire with its envelope's own fields left out


def config(broker: RedisConfig) -> Config:
    """The development profile on this broker."""
    return attrs.evolve(Config.development(), redis=broker)


def ours(broker: RedisConfig, jobs: int) -> dict[str, float]:
    """One round of ours: rates of enqueueing one by one, in bulk, and of running."""
    registry = plugins.load(found=[], extra=[("bench", plugin)])
    with Client(config(broker), registry) as client:
        start = time.perf_counter()
        for _ in range(jobs // 10):
            client.enqueue(plugin.Noop(PAYLOAD))
        single = time.perf_counter() - start
        start = time.perf_counter()
        client.enqueue_many([plugin.Noop(PAYLOAD)] * jobs)
        bulk = time.perf_counter() - start
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", "--worker", str(broker.socket)],
        check=True,
        capture_output=True,
        text=True,
    )
    elapsed, trips = map(float, done.stdout.split())
    ran = jobs + jobs // 10
    return {
        "enqueue, one by one": jobs / 10 / single,
        "enqueue, in bulk": jobs / bulk,
        "run": ran / elapsed,
        "round trips a job": trips / ran,
    }


def work(socket: str) -> None:
    """In a process of its own: run everything that waits, print seconds and calls of our functions."""
    with tempfile.TemporaryFile("w") as lines:
        logs.configure("json", stream=lines)
        registry = plugins.load(found=[], extra=[("bench", plugin), *builtin.plugins()])
        worker = Worker(config(RedisConfig(socket=Path(socket))), registry, burst=True)
        connection = redis.Redis(unix_socket_path=socket)
        connection.config_resetstat()
        start = time.perf_counter()
        asyncio.run(worker.run())
        elapsed = time.perf_counter() - start
        calls = connection.info("commandstats").get("cmdstat_fcall", {}).get("calls", 0)
        print(elapsed, calls)


def rqs(broker: RedisConfig, jobs: int) -> dict[str, float]:
    """One round of rq 3: its SimpleWorker, JSON serializer, results not kept."""
    from rq import Queue, SimpleWorker
    from rq.serializers import JSONSerializer

    logging.disable(logging.CRITICAL)
    connection = redis.Redis(unix_socket_path=str(broker.socket))
    queue = Queue("rqbench", connection=connection, serializer=JSONSerializer)
    start = time.perf_counter()
    for _ in range(jobs):
        queue.enqueue(plugin.plain, PAYLOAD, result_ttl=0)
    enqueued = time.perf_counter() - start
    worker = SimpleWorker([queue], connection=connection, serializer=JSONSerializer)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        worker.work(burst=True, logging_level="CRITICAL")
    ran = time.perf_counter() - start
    logging.disable(logging.NOTSET)
    return {"enqueue, one by one": jobs / enqueued, "run": jobs / ran}


def rounds(
    broker: RedisConfig, args: argparse.Namespace
) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """Interleaved rounds."""
    for _ in range(args.rounds):
        yield ours(broker, args.jobs), rqs(broker, max(200, args.jobs // 50))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of ours a round; rq runs a fiftieth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker)
        return
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedBroker(Path(directory), persistent=False) as broker,
    ):
        measured = list(rounds(broker, args))
    table = Table(title=f"one worker process, {args.jobs:,} no-op jobs, median of {args.rounds} rounds")
    for heading in ("a second", "cgjobs", "rq SimpleWorker", "ratio"):
        table.add_column(heading, justify="right" if heading != "a second" else "left")
    for name in measured[0][0]:
        mine = statistics.median(ours_[name] for ours_, _ in measured)
        theirs = statistics.median(peer.get(name, 0) for _, peer in measured)
        shown = f"{mine:,.0f}" if mine >= 1 else f"{mine:.3f}"
        table.add_row(name, shown, *((f"{theirs:,.0f}", f"{mine / theirs:.1f}x") if theirs else ("-", "-")))
    Console().print(table)


if __name__ == "__main__":
    main()

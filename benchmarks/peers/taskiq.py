"""taskiq with taskiq-redis's stream broker, the one that acknowledges."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator

from taskiq_redis import RedisStreamBroker

from benchmarks import job
from benchmarks.adapter import URL, About, Calls

ABOUT = About(
    title="taskiq (stream)",
    package="taskiq",
    delivery="at least once (claimed again when idle for 10 min)",
    settings="RedisStreamBroker, no results, stream not trimmed (its default); one worker process",
    bulk=None,
    concurrency=100,
    rate=2_000,
)

# "0": what was enqueued before the first worker came is for the workers too.
broker = RedisStreamBroker(URL, consumer_id="0")


@broker.task("noop")
async def noop(text: str) -> None:
    job.note()


@broker.task("sleep")
async def sleep(text: str) -> None:
    job.note()
    await asyncio.sleep(job.SLEEP)
    job.note()


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """Its client is asynchronous: awaited one by one; many are 100 at a time."""
    tasks = {"noop": noop, "sleep": sleep}
    with asyncio.Runner() as runner:
        runner.run(broker.startup())

        async def one_by_one(kind: str, number: int) -> None:
            for _ in range(number):
                await tasks[kind].kiq(job.PAYLOAD)

        async def many(kind: str, number: int) -> None:
            for start in range(0, number, 100):
                size = min(100, number - start)
                await asyncio.gather(*(tasks[kind].kiq(job.PAYLOAD) for _ in range(size)))

        yield Calls(
            lambda kind, n: runner.run(one_by_one(kind, n)), lambda kind, n: runner.run(many(kind, n))
        )
        runner.run(broker.shutdown())


def worker(kind: str, concurrency: int) -> None:
    """Its command: a parent and one worker process."""
    options = ["--workers", "1", "--max-async-tasks", str(concurrency), "--log-level", "WARNING"]
    command = [sys.executable, "-m", "taskiq", "worker", f"{__name__}:broker", *options]
    os.execv(sys.executable, command)

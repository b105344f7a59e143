"""SAQ over Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from saq import Queue, Worker

from benchmarks import job
from benchmarks.adapter import URL, About, Calls

ABOUT = About(
    title="saq",
    package="saq",
    delivery="at least once (sweep, when heartbeat or timeout is over)",
    settings="results not kept (ttl -1), as many connections as jobs at once",
    bulk=None,
    concurrency=100,
    rate=1_500,
)


async def noop(ctx: dict, *, text: str) -> None:
    job.note()


async def sleep(ctx: dict, *, text: str) -> None:
    job.note()
    await asyncio.sleep(job.SLEEP)
    job.note()


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """Its client is asynchronous: awaited one by one; many are 100 at a time."""
    with asyncio.Runner() as runner:

        async def connected() -> Queue:
            queue = Queue.from_url(URL, name="bench")
            await queue.connect()
            return queue

        queue = runner.run(connected())

        async def one_by_one(kind: str, number: int) -> None:
            for _ in range(number):
                await queue.enqueue(kind, ttl=-1, text=job.PAYLOAD)

        async def many(kind: str, number: int) -> None:
            for start in range(0, number, 100):
                size = min(100, number - start)
                await asyncio.gather(*(queue.enqueue(kind, ttl=-1, text=job.PAYLOAD) for _ in range(size)))

        yield Calls(
            lambda kind, n: runner.run(one_by_one(kind, n)), lambda kind, n: runner.run(many(kind, n))
        )
        runner.run(queue.disconnect())


def worker(kind: str, concurrency: int) -> None:
    """Works until told to stop."""

    async def work() -> None:
        queue = Queue.from_url(URL, name="bench", max_concurrent_ops=concurrency)
        await queue.connect()
        await Worker(queue, [("noop", noop), ("sleep", sleep)], concurrency=concurrency).start()

    asyncio.run(work())

"""arq."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from arq import create_pool, func
from arq.connections import RedisSettings
from arq.worker import Worker

from benchmarks import job
from benchmarks.adapter import URL, About, Calls

ABOUT = About(
    title="arq",
    package="arq",
    delivery="at least once (pessimistic)",
    settings="results not kept; poll_delay 10 ms instead of 500 ms, which would bound its rate",
    bulk=None,
    concurrency=100,
    rate=700,
)


async def noop(ctx: dict, text: str) -> None:
    job.note()


async def sleep(ctx: dict, text: str) -> None:
    job.note()
    await asyncio.sleep(job.SLEEP)
    job.note()


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """Its client is asynchronous: awaited one by one; many are 100 at a time."""
    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(RedisSettings.from_dsn(URL)))

        async def one_by_one(kind: str, number: int) -> None:
            for _ in range(number):
                await pool.enqueue_job(kind, job.PAYLOAD)

        async def many(kind: str, number: int) -> None:
            for start in range(0, number, 100):
                size = min(100, number - start)
                await asyncio.gather(*(pool.enqueue_job(kind, job.PAYLOAD) for _ in range(size)))

        yield Calls(
            lambda kind, n: runner.run(one_by_one(kind, n)), lambda kind, n: runner.run(many(kind, n))
        )
        runner.run(pool.aclose())


def worker(kind: str, concurrency: int) -> None:
    """Works until told to stop."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    Worker(
        functions=[func(noop, keep_result=0), func(sleep, keep_result=0)],
        redis_settings=RedisSettings.from_dsn(URL),
        max_jobs=concurrency,
        poll_delay=0.01,
        keep_result=0,
    ).run()

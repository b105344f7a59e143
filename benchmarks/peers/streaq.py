"""streaQ."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from streaq import Worker

from benchmarks import job
from benchmarks.adapter import URL, About, Calls

ABOUT = About(
    title="streaq",
    package="streaq",
    delivery="at least once (claimed again when idle for 60 s)",
    settings="results not kept (ttl 0), task logs silent, uvloop",
    bulk="Worker.enqueue_many",
    concurrency=100,
    rate=1_500,
)

queue = Worker(redis_url=URL, concurrency=ABOUT.concurrency, anyio_kwargs={"use_uvloop": True})


@queue.task(name="noop", ttl=0, silent=True)
async def noop(text: str) -> None:
    job.note()


@queue.task(name="sleep", ttl=0, silent=True)
async def sleep(text: str) -> None:
    job.note()
    await asyncio.sleep(job.SLEEP)
    job.note()


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """Its client is asynchronous: awaited one by one."""
    tasks = {"noop": noop, "sleep": sleep}

    async def one_by_one(kind: str, number: int) -> None:
        for _ in range(number):
            await tasks[kind].enqueue(job.PAYLOAD)

    async def many(kind: str, number: int) -> None:
        for start in range(0, number, 500):
            size = min(500, number - start)
            await queue.enqueue_many([tasks[kind].enqueue(job.PAYLOAD) for _ in range(size)])

    # It lives in a context that one task has to enter and leave: hence a loop that takes orders.
    with asyncio.Runner() as runner:
        orders: asyncio.Queue = asyncio.Queue()

        async def serve() -> None:
            async with queue:
                while (order := await orders.get()) is not None:
                    call, kind, number, done = order
                    try:
                        done.set_result(await call(kind, number))
                    except Exception as error:
                        done.set_exception(error)

        async def ask(call: object, kind: str, number: int) -> None:
            done = asyncio.get_running_loop().create_future()
            orders.put_nowait((call, kind, number, done))
            await done

        async def start() -> asyncio.Task:
            return asyncio.create_task(serve())

        async def stop() -> None:
            orders.put_nowait(None)
            await server

        server = runner.run(start())
        yield Calls(
            lambda kind, number: runner.run(ask(one_by_one, kind, number)),
            lambda kind, number: runner.run(ask(many, kind, number)),
        )
        runner.run(stop())


def worker(kind: str, concurrency: int) -> None:
    """Works until told to stop."""
    queue.concurrency, queue.prefetch = concurrency, 2 * concurrency  # as its constructor does
    queue.run_sync()

"""Huey over Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from huey import RedisHuey

from benchmarks import job
from benchmarks.adapter import URL, About, Calls

ABOUT = About(
    title="huey",
    package="huey",
    delivery="at most once",
    settings="blocking pop, no results, no periodic tasks; one thread for no-ops, 50 for I/O",
    bulk=None,
    concurrency=1,
    rate=3_000,
)

huey = RedisHuey("bench", url=URL, results=False)


noop = huey.task()(job.noop)
sleep = huey.task()(job.sleep)


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """A call; `map` enqueues one by one too."""
    tasks = {"noop": noop, "sleep": sleep}

    def one_by_one(kind: str, number: int) -> None:
        for _ in range(number):
            tasks[kind](job.PAYLOAD)

    yield Calls(one_by_one, one_by_one)


def worker(kind: str, concurrency: int) -> None:
    """Threads."""
    huey.create_consumer(workers=concurrency, periodic=False, worker_type="thread").run()

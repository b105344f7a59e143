"""rq's `Worker`, which forks for every job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from redis import Redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from benchmarks import job
from benchmarks.adapter import URL, About, Calls

ABOUT = About(
    title="rq Worker (forks)",
    package="rq",
    delivery="a killed worker's job fails, or runs again with Retry",
    settings="JSON serializer, results not kept; one job at a time, each in a forked child",
    bulk="Queue.enqueue_many",
    concurrency=1,
    rate=60,
    concurrent=False,
)


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """One queue."""
    tasks = {"noop": job.noop, "sleep": job.sleep}
    queue = Queue("bench", connection=Redis.from_url(URL), serializer=JSONSerializer)

    def one_by_one(kind: str, number: int) -> None:
        for _ in range(number):
            queue.enqueue(tasks[kind], job.PAYLOAD, result_ttl=0)

    def many(kind: str, number: int) -> None:
        for start in range(0, number, 500):
            size = min(500, number - start)
            queue.enqueue_many(
                [Queue.prepare_data(tasks[kind], (job.PAYLOAD,), result_ttl=0) for _ in range(size)]
            )

    yield Calls(one_by_one, many)


def worker(kind: str, concurrency: int, cls: type[Worker] = Worker) -> None:
    """Works until told to stop."""
    connection = Redis.from_url(URL)
    queue = Queue("bench", connection=connection, serializer=JSONSerializer)
    cls([queue], connection=connection, serializer=JSONSerializer).work(logging_level="WARNING")

"""Celery over Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from celery import Celery

from benchmarks import job
from benchmarks.adapter import URL, About, Calls

ABOUT = About(
    title="celery",
    package="celery",
    delivery="at least once (acks_late; visibility timeout of 1 h)",
    settings="acks_late, results ignored, no events, no gossip; solo pool for no-ops, threads for I/O",
    bulk=None,
    concurrency=1,
    rate=1_000,
)

app = Celery("bench", broker=URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    worker_send_task_events=False,
    worker_prefetch_multiplier=100,
    broker_connection_retry_on_startup=True,
)


noop = app.task(name="noop")(job.noop)
sleep = app.task(name="sleep")(job.sleep)


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """`delay`; there is no call for many."""
    tasks = {"noop": noop, "sleep": sleep}

    def one_by_one(kind: str, number: int) -> None:
        for _ in range(number):
            tasks[kind].delay(job.PAYLOAD)

    yield Calls(one_by_one, one_by_one)


def worker(kind: str, concurrency: int) -> None:
    """Its command."""
    pool = (
        ["--pool", "solo"] if concurrency == 1 else ["--pool", "threads", "--concurrency", str(concurrency)]
    )
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    app.worker_main(["worker", *pool, *quiet])

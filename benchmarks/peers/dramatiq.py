"""Dramatiq over Redis."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks import job
from benchmarks.adapter import URL, About, Calls

ABOUT = About(
    title="dramatiq",
    package="dramatiq",
    delivery="at least once",
    settings="its default middleware, no results; one process of 8 threads (its default), 50 for I/O",
    bulk=None,
    concurrency=8,
    rate=1_200,
)

broker = RedisBroker(url=URL)
dramatiq.set_broker(broker)


noop = dramatiq.actor(job.noop)
sleep = dramatiq.actor(job.sleep)


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """`send`; there is no call for many."""
    tasks = {"noop": noop, "sleep": sleep}

    def one_by_one(kind: str, number: int) -> None:
        for _ in range(number):
            tasks[kind].send(job.PAYLOAD)

    yield Calls(one_by_one, one_by_one)


def worker(kind: str, concurrency: int) -> None:
    """Its command: a parent and one worker process."""
    command = [sys.executable, "-m", "dramatiq", __name__, "--processes", "1", "--threads", str(concurrency)]
    os.execv(sys.executable, command)

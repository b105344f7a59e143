"""chatgenius-jobs: hooks, JSON log lines to a file, counters and leases are on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs

from benchmarks import job
from benchmarks.adapter import URL, About, Calls
from cgjobs import (
    Client,
    Config,
    Context,
    Processor,
    Subtype,
    builtin,
    hookimpl,
    logs,
    loop,
    plugins,
    subtype,
)
from cgjobs.config import RedisConfig
from cgjobs.worker import Worker

ABOUT = About(
    title="chatgenius-jobs",
    package="chatgenius-jobs",
    delivery="at least once (lease)",
    settings="uvloop, hooks, a JSON log line a job to a file, counters, leases; `async def` handlers",
    bulk="enqueue_many",
    concurrency=100,
    rate=6_000,
    busy=True,
)


@attrs.frozen
class Noop:
    """Does nothing.

    Args:
        text: Makes the payload as large as a usual one.
    """

    text: str


@attrs.frozen
class Sleep:
    """Waits as for a reply from somewhere.

    Args:
        text: As above.
    """

    text: str


@subtype("bench.noop")
async def noop(payload: Noop, ctx: Context) -> None:
    """Do nothing."""
    job.note()


@subtype("bench.sleep")
async def sleep(payload: Sleep, ctx: Context) -> None:
    """Wait."""
    job.note()
    await asyncio.sleep(job.SLEEP)
    job.note()


@attrs.frozen
class Work:
    """Uses a processor.

    Args:
        text: As above.
    """

    text: str


@subtype("bench.work")
async def work(payload: Work, ctx: Context) -> None:
    """Work."""
    job.work()


class Plugin:
    """The plugin that provides them."""

    @hookimpl
    def cgjobs_processors(self) -> list[Processor]:
        return [Processor("bench", concurrency=100)]

    @hookimpl
    def cgjobs_subtypes(self) -> list[Subtype]:
        return [noop, sleep, work]


def config() -> Config:
    """The development profile on the harness's server."""
    address = urlsplit(URL)
    broker = RedisConfig(host=address.hostname or "", port=address.port or 0)
    return attrs.evolve(Config.development(), redis=broker)


@contextlib.contextmanager
def client() -> Iterator[Calls]:
    """Our blocking client."""
    payloads = {"noop": Noop(job.PAYLOAD), "sleep": Sleep(job.PAYLOAD), "work": Work(job.PAYLOAD)}
    with Client(config(), plugins.load(found=[], extra=[("bench", Plugin())])) as client:

        def one_by_one(kind: str, number: int) -> None:
            for _ in range(number):
                client.enqueue(payloads[kind])

        yield Calls(one_by_one, lambda kind, number: client.enqueue_many([payloads[kind]] * number))


def worker(kind: str, concurrency: int) -> None:
    """Our worker, with the plugins that every worker has."""
    with tempfile.TemporaryFile("w") as lines:
        logs.configure("json", stream=lines)
        registry = plugins.load(found=[], extra=[("bench", Plugin()), *builtin.plugins()])
        loop.run(_work(Worker(config(), registry, concurrency={"bench": concurrency})))


async def _work(worker: Worker) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()

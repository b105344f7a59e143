"""An adapter is a module of `benchmarks.peers` with `ABOUT`, `client` and `worker`. It is run so:

    python -m benchmarks.adapter PEER describe                    who it is, as JSON
    python -m benchmarks.adapter PEER enqueue KIND N              N jobs one by one; prints seconds
    python -m benchmarks.adapter PEER bulk KIND N                 N jobs as fast as it goes; prints seconds
    python -m benchmarks.adapter PEER latency N                   N jobs, each alone; prints a list of seconds
    python -m benchmarks.adapter PEER worker KIND CONCURRENCY     works until SIGTERM

`benchmarks/bullmq/adapter.mjs` answers to the same words. Server and file of notes come in BENCH_REDIS and
BENCH_NOTES.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple, Protocol

from benchmarks import job

URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
WARM_UP = 20  # jobs enqueued before the clock runs: connections, scripts and caches are there
_PATIENCE = 30.0  # seconds for one lonely job


@dataclasses.dataclass(frozen=True)
class About:
    """A peer.

    Args:
        title: Its name in tables.
        package: Its name in the registry; its version is shown.
        delivery: What happens to a job whose worker is killed, in a few words.
        settings: What is switched on and off, and why.
        bulk: Its call for many jobs at once, or None when it has none.
        concurrency: Jobs at once in one worker process that suit no-ops best.
        rate: No-ops a second to expect, roughly: how many jobs a round has.
        concurrent: Whether one process can run many jobs at once.
        busy: Whether it has the job that uses a processor for a millisecond.
    """

    title: str
    package: str
    delivery: str
    settings: str
    bulk: str | None
    concurrency: int
    rate: int
    concurrent: bool = True
    busy: bool = False


class Calls(NamedTuple):
    """How to enqueue; each takes the kind, ``noop``, ``sleep`` or ``work``, and how many."""

    one_by_one: Callable[[str, int], object]
    many: Callable[[str, int], object]


class Adapter(Protocol):
    """What the modules are."""

    ABOUT: About

    def client(self) -> contextlib.AbstractContextManager[Calls]: ...

    def worker(self, kind: str, concurrency: int) -> None: ...


def _timed(call: Callable[[str, int], object], kind: str, number: int) -> float:
    start = time.perf_counter()
    call(kind, number)
    return time.perf_counter() - start


def _latencies(call: Callable[[str, int], object], number: int) -> list[float]:
    """From just before the call that enqueues to the job's first instruction, with nothing else to do."""
    notes, waits = os.environ["BENCH_NOTES"], []
    for _ in range(number):
        time.sleep(
            random.uniform(0.03, 0.06)
        )  # the worker is idle again, and no poll falls into step with us
        before, start = job.count(notes), time.monotonic_ns()
        call("noop", 1)
        while job.count(notes) == before:
            if time.monotonic_ns() - start > _PATIENCE * 1e9:
                raise TimeoutError(f"a job alone did not start within {_PATIENCE:.0f} s")
            time.sleep(0.001)
        waits.append((job.read(notes)[-1] - start) / 1e9)
    return waits


def main() -> None:
    """Do what the arguments say."""
    name, word, *rest = sys.argv[1:]
    adapter: Adapter = importlib.import_module(f"benchmarks.peers.{name}")  # type: ignore[assignment]
    if word == "describe":
        about = dataclasses.asdict(adapter.ABOUT) | {"version": version(adapter.ABOUT.package)}
        print(json.dumps(about))
        return
    if word == "worker":
        adapter.worker(rest[0], int(rest[1]))
        return
    logging.disable(logging.WARNING)
    with adapter.client() as calls:
        if word == "latency":
            print(json.dumps(_latencies(calls.one_by_one, int(rest[0]))))
            return
        kind, number = rest[0], int(rest[1])
        if word == "enqueue":
            calls.one_by_one(kind, WARM_UP)
            print(_timed(calls.one_by_one, kind, number))
        else:
            calls.many(kind, WARM_UP)
            print(_timed(calls.many, kind, number))


if __name__ == "__main__":
    main()

"""``def`` handlers on threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cgjobs import JobTimeout
from cgjobs.threads import JobThreads
from tests.jobs import awaited


@asynccontextmanager
async def job_threads(concurrency: int = 2) -> AsyncIterator[JobThreads]:
    opened = JobThreads(concurrency)
    try:
        yield opened
    finally:
        opened.close()


def busy() -> None:
    while True:
        time.sleep(0.001)


@awaited
async def test_a_result_comes_back() -> None:
    async with job_threads() as pool:
        assert await pool.run(lambda: 3, None) == 3
        assert await pool.run(lambda: 4, 5.0) == 4


@pytest.mark.parametrize("timeout", [None, 5.0])
@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
@awaited
async def test_whatever_is_raised_comes_back(error: BaseException, timeout: float | None) -> None:
    def fail() -> None:
        raise error

    async with job_threads() as pool:
        with pytest.raises(type(error)):
            await pool.run(fail, timeout)


@pytest.mark.parametrize("timeout", [None, 5.0])
@awaited
async def test_even_what_no_future_can_hold_ends_the_job(timeout: float | None) -> None:
    async with job_threads() as pool:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.run(lambda: next(iter(())), timeout)


@awaited
async def test_a_handler_that_runs_too_long_is_interrupted() -> None:
    async with job_threads() as pool:
        with pytest.raises(JobTimeout, match=r"longer than 0\.05 s$"):
            await pool.run(busy, 0.05)

        assert pool.stuck == 0


@awaited
async def test_a_handler_may_tidy_up_when_its_time_is_over() -> None:
    tidied = threading.Event()

    def careful() -> None:
        try:
            busy()
        finally:
            tidied.set()

    async with job_threads() as pool:
        with pytest.raises(JobTimeout):
            await pool.run(careful, 0.05)

    assert tidied.is_set()


STUBBORN = """
import asyncio, threading
from cgjobs import JobTimeout, threads

async def main():
    release, pool = threading.Event(), threads.JobThreads(1)
    try:
        await pool.run(release.wait, 0.05)  # waits in C code, where no exception arrives
    except JobTimeout as error:
        print(error)
    print("stuck", pool.stuck)
    print(await pool.run(lambda: "the next one ran", None))
    release.set()
    while pool.stuck:
        await asyncio.sleep(0.005)
    print("stuck", pool.stuck)

threads._STUCK_AFTER = 0.05
asyncio.run(main())
"""


def test_a_handler_that_does_not_stop_gives_its_place_away() -> None:
    # A process of its own: an undelivered exception and a tracer (coverage) make Python 3.11 spin for ever.
    result = subprocess.run(
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=30, check=False
    )

    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "ran longer than 0.05 s, and still does: it does not stop when told",
        "stuck 1",
        "the next one ran",
        "stuck 0",
    ]


@awaited
async def test_a_timeout_never_reaches_a_later_job_on_the_same_thread() -> None:
    async with job_threads(1) as pool:
        for _ in range(100):
            try:
                await pool.run(lambda: time.sleep(0.002), 0.002)
            except JobTimeout:
                pass

            assert await pool.run(lambda: sum(range(2000)), None) == 1999000


@awaited
async def test_a_job_timeout_that_a_handler_raises_before_its_time_is_not_ours() -> None:
    def fail() -> None:
        raise JobTimeout("its own")

    async with job_threads() as pool:
        with pytest.raises(JobTimeout, match="its own"):
            await pool.run(fail, 5.0)


@awaited
async def test_a_timeout_that_a_handler_raises_by_itself_keeps_its_words() -> None:
    def fail() -> None:
        raise TimeoutError("the database did not answer")

    async with job_threads() as pool:
        with pytest.raises(TimeoutError, match="the database"):
            await pool.run(fail, 5.0)


@awaited
async def test_a_job_that_timed_out_before_a_thread_was_free_never_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cgjobs.threads._SPARE", 0)
    monkeypatch.setattr("cgjobs.threads._STUCK_AFTER", 0.05)
    released, began = threading.Event(), threading.Event()
    async with job_threads(1) as pool:
        # Straight to the pool: a handler that was given up holds a thread and no place. It has no timeout of
        # its own: under coverage CPython 3.11 spins on an exception that a blocked thread has not met yet.
        pool._pool.submit(released.wait)
        with pytest.raises(JobTimeout):
            await pool.run(began.set, 0.05)

        released.set()

        assert await pool.run(lambda: "next", None) == "next"
    assert not began.is_set()

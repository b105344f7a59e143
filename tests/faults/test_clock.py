"""Row 25: the broker's clock jumps by an hour."""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cgjobs import AsyncClient, Context, JobState, Processor, subtype
from cgjobs.broker import moves
from cgjobs.embedded import find_server
from cgjobs.worker import Worker
from tests.conftest import ServerFactory
from tests.jobs import Note, at_work, awaited, config, raw, registry, running, server_time, until

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
    int fd = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    if (fd >= 0) offset = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec s;
    (void)zone;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &s);
    t->tv_sec = s.tv_sec + (offset ? *offset : 0);
    t->tv_usec = s.tv_nsec / 1000;
    return 0;
}

int clock_gettime(clockid_t which, struct timespec *s) {
    int done = syscall(SYS_clock_gettime, which, s);
    if (done == 0 && which == CLOCK_REALTIME && offset) s->tv_sec += *offset;
    return done;
}

time_t time(time_t *t) {
    struct timespec s;
    clock_gettime(CLOCK_REALTIME, &s);
    if (t) *t = s.tv_sec;
    return s.tv_sec;
}
"""


class Clock:
    """The clock of servers that are started now; `jump` moves it."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "offset"
        self._file.write_bytes(struct.pack("q", 0))
        source, self.shim = directory / "clock.c", directory / "clock.so"
        source.write_text(SHIM)
        command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(self.shim), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)

    def jump(self, seconds: int) -> None:
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", seconds))

    @property
    def environ(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.shim), "CLOCK_OFFSET": str(self._file)}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: it builds the clock that jumps")
    clock = Clock(tmp_path)
    wrapper = tmp_path / "server"
    # The wheel's Valkey may be linked statically, and then hears of no other clock.
    real = shutil.which("redis-server") or str(find_server())
    lines = [f"{name}={value}" for name, value in clock.environ.items()]
    wrapper.write_text(f'#!/bin/sh\nexec env {" ".join(lines)} {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CGJOBS_TEST_SERVER", str(wrapper))
    return clock


@pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])
@awaited
async def test_when_the_brokers_clock_jumps_a_running_job_is_run_once_more_at_most(
    own_server: ServerFactory, clock: Clock, hours: int
) -> None:
    """Row 25."""
    server, runs, go_on = own_server(), [], asyncio.Event()

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        runs.append(ctx.job.recoveries)
        await go_on.wait()

    fast: dict[str, Any] = {"lease": timedelta(seconds=1), "reap_interval": timedelta(milliseconds=100)}
    async with at_work(server.url, handler, settings=config(server.url, **fast)) as work:
        await work.client.enqueue(Note())
        await until(lambda: runs)
        with raw(server.url) as behind:
            clock.jump(3600 * hours)
            followed = abs(server_time(behind) - time.time() - 3600 * hours) < 60
        await asyncio.sleep(1.5)
        go_on.set()

        async def done() -> bool:
            return (await work.client.queue("work").stats()).completed == 1

        await until(done)

    if not followed:
        pytest.skip("this server is linked statically: its clock cannot be moved; install redis-server")
    assert runs in ([0], [0, 1])


@awaited
async def test_a_dead_workers_job_is_not_kept_for_an_hour_by_a_clock_that_jumped_back(
    own_server: ServerFactory, clock: Clock
) -> None:
    """Row 25: what a lease had left before the jump is what it has after it."""
    server = own_server()
    settings = config(server.url, lease=timedelta(seconds=1), reap_interval=timedelta(milliseconds=100))
    provided = registry(processors=[Processor("work"), Processor("mail")])
    other = Worker(settings, provided, queues=["mail"])  # takes back the jobs of every queue
    async with AsyncClient(settings, provided) as client, running(other):
        job = await client.enqueue(Note())
        await client._sender.send(
            moves.turn("dead", (), {"work": 1}, lease=timedelta(seconds=1), largest=1 << 20)
        )
        with raw(server.url) as behind:
            await until(lambda: behind.exists("cgjobs:clock"))
        clock.jump(-3600)

        async def back() -> bool:
            return (await client.get(job.id)).state is JobState.WAITING

        await until(back, 10)
        assert (await client.get(job.id)).recoveries == 1
        with raw(server.url) as behind:
            followed = server_time(behind) < time.time() - 3000
    if not followed:
        pytest.skip("this server is linked statically: its clock cannot be moved; install redis-server")

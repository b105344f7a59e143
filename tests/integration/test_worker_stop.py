"""Stopping a worker: what is short ends, what is long is handed back, nothing is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import AsyncClient, Context, JobState, Processor, subtype
from cgjobs.errors import BrokerDenied
from cgjobs.worker import Worker
from tests.conftest import ServerFactory
from tests.jobs import PATIENCE, Count, Note, awaited, config, listened_to, registry, running, until
from tests.proxy import Proxy

SHORT = timedelta(milliseconds=100)


class Gate:
    """Handlers of both kinds that run until the gate is opened, and what they saw."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.open = threading.Event()

        @subtype("work.note")
        async def on_loop(payload: Note, ctx: Context) -> None:
            self.started.append(payload.text)
            while not self.open.is_set():
                await asyncio.sleep(0.005)
            self.ended.append(payload.text)

        @subtype("work.count")
        def on_thread(payload: Count, ctx: Context) -> None:
            self.started.append(str(payload.number))
            while not self.open.is_set():
                time.sleep(0.005)
                ctx.progress(1)
            self.ended.append(str(payload.number))

        self.registry = registry(on_loop, on_thread, processors=[Processor("work", concurrency=2)])


async def stopped(task: asyncio.Task[None]) -> None:
    await asyncio.wait_for(task, PATIENCE)


@pytest.mark.parametrize("payload", [Note("a"), Count(1)], ids=["async def", "def"])
@awaited
async def test_jobs_shorter_than_the_grace_period_end_and_count(redis_url: str, payload: Any) -> None:
    gate, settings = Gate(), config(redis_url)
    async with AsyncClient(settings, gate.registry) as client:
        await client.enqueue_many([payload] * 3)
        worker = Worker(settings, gate.registry)
        task = asyncio.create_task(worker.run())
        await until(lambda: len(gate.started) == 2)

        worker.stop()
        await asyncio.sleep(0.05)
        gate.open.set()
        await stopped(task)

        stats = await client.queue("work").stats()
    assert (stats.completed, stats.waiting, stats.active) == (2, 1, 0)
    assert len(gate.started) == len(gate.ended) == 2


@pytest.mark.parametrize("payload", [Note("a"), Count(1)], ids=["async def", "def"])
@pytest.mark.parametrize("at_once", [False, True], ids=["after the grace period", "at once"])
@awaited
async def test_longer_jobs_are_handed_back_to_the_front_and_no_attempt_is_counted(
    redis_url: str, payload: Any, at_once: bool
) -> None:
    gate = Gate()
    settings = config(redis_url, grace=timedelta(hours=1) if at_once else SHORT)
    async with AsyncClient(settings, gate.registry) as client:
        first, second, third = await client.enqueue_many([payload] * 3, attempts=1)
        worker = Worker(settings, gate.registry)
        task = asyncio.create_task(worker.run())
        await until(lambda: len(gate.started) == 2)

        began = time.monotonic()
        worker.stop(at_once=at_once)
        await stopped(task)
        took = time.monotonic() - began
        gate.open.set()

        waiting = await client.queue("work").jobs(JobState.WAITING)
    assert took < 1.1
    assert {job.id for job in waiting[:2]} == {first.id, second.id}
    assert waiting[2].id == third.id
    assert [(job.attempt, job.recoveries) for job in waiting] == [(1, 0)] * 3


@awaited
async def test_a_second_stop_ends_the_grace_period(redis_url: str) -> None:
    gate, settings = Gate(), config(redis_url, grace=timedelta(hours=1))
    async with AsyncClient(settings, gate.registry) as client:
        await client.enqueue(Note())
        worker = Worker(settings, gate.registry)
        task = asyncio.create_task(worker.run())
        await until(lambda: gate.started)

        worker.stop()
        await asyncio.sleep(0.05)
        assert not task.done()
        worker.stop(at_once=True)
        await stopped(task)

        assert (await client.queue("work").stats()).waiting == 1


@awaited
async def test_what_a_plain_handler_does_after_it_was_handed_back_counts_for_nothing(redis_url: str) -> None:
    gate, settings = Gate(), config(redis_url, grace=timedelta(0))
    async with AsyncClient(settings, gate.registry) as client:
        job = await client.enqueue(Count(1))
        worker = Worker(settings, gate.registry)
        task = asyncio.create_task(worker.run())
        await until(lambda: gate.started)
        worker.stop()
        await stopped(task)
        async with running(Worker(settings, gate.registry)):
            await until(lambda: len(gate.started) == 2)
            gate.open.set()
            await client.wait(job)
            stats = await client.queue("work").stats()

    assert stats.completed == 1
    assert gate.ended == ["1"]  # the first run was told at its next report


@awaited
async def test_jobs_that_a_lost_claim_gave_while_stopping_are_handed_back(redis_url: str) -> None:
    with Proxy(redis_url) as proxy:
        proxy.hold_reply(b"BLPOP")
        gate, settings = Gate(), config(proxy.url)
        async with AsyncClient(config(redis_url), gate.registry) as client:
            worker = Worker(settings, gate.registry)
            task = asyncio.create_task(worker.run())
            await until(lambda: listened_to(redis_url))  # with a claim behind the wait
            job = await client.enqueue(Note())

            async def claimed() -> bool:
                return (await client.get(job.id)).state is JobState.ACTIVE

            await until(claimed)
            worker.stop()
            proxy.release()
            await stopped(task)

            found = await client.get(job.id)
    assert (found.state, found.attempt, found.recoveries, gate.started) == (JobState.WAITING, 1, 0, [])


@awaited
async def test_a_worker_told_to_stop_before_it_began_does_nothing(redis_url: str) -> None:
    settings = config(redis_url)
    async with AsyncClient(settings, registry()) as client:
        await client.enqueue(Note())
        worker = Worker(settings, registry())

        worker.stop()
        await asyncio.wait_for(worker.run(), PATIENCE)

        assert (await client.queue("work").stats()).waiting == 1


@awaited
async def test_a_worker_that_has_not_reached_the_broker_yet_stops_at_once() -> None:
    worker = Worker(config("redis://127.0.0.1:1", broker={"timeout": SHORT}), registry())
    task = asyncio.create_task(worker.run())
    await asyncio.sleep(0.3)

    began = time.monotonic()
    worker.stop()
    await stopped(task)

    assert time.monotonic() - began < 1


@awaited
async def test_a_worker_stops_in_time_while_the_broker_is_away(own_server: ServerFactory) -> None:
    server = own_server(appendonly="yes")
    gate = Gate()
    settings = config(server.url, grace=SHORT, broker={"timeout": SHORT})
    async with AsyncClient(settings, gate.registry) as client:
        job = await client.enqueue(Note())
        worker = Worker(settings, gate.registry)
        task = asyncio.create_task(worker.run())
        await until(lambda: gate.started)
        server.kill()

        began = time.monotonic()
        worker.stop()
        await asyncio.wait((task,), timeout=PATIENCE)
        took = time.monotonic() - began
        server.start()

        assert task.done()
        assert took < 8
        assert (await client.get(job.id)).state is JobState.ACTIVE  # its lease ends, another worker takes it
    assert task.exception() is None or isinstance(task.exception(), Exception)


@awaited
async def test_a_refused_password_ends_a_worker_that_starts(own_server: ServerFactory) -> None:
    server = own_server(requirepass="right")
    url = server.url.replace("right", "wrong-secret")

    with pytest.raises(BrokerDenied) as caught:
        await asyncio.wait_for(Worker(config(url), registry()).run(), PATIENCE)

    assert "wrong-secret" not in str(caught.value)


@awaited
async def test_many_restarts_under_load_lose_nothing_and_run_nothing_twice(redis_url: str) -> None:
    ran: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        await asyncio.sleep(0.001)
        ran.append(payload.text)

    settings = config(redis_url, grace=timedelta(seconds=5))
    provided = registry(handler)
    async with AsyncClient(settings, provided) as client:
        await client.enqueue_many([Note(str(number)) for number in range(400)])
        while len(ran) < 400:
            before = len(ran)
            async with running(Worker(settings, provided)):
                await until(lambda before=before: len(ran) > min(before + 25, 399))  # type: ignore[misc]

        stats = await client.queue("work").stats()
    assert sorted(ran, key=int) == [str(number) for number in range(400)]
    assert (stats.completed, stats.waiting, stats.active) == (400, 0, 0)

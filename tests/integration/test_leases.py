"""Workers that die, hang or lose the broker; brokers that die."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import AsyncClient, Context, Event, JobCancelled, JobState, Processor, subtype
from cgjobs.broker import moves, reads
from cgjobs.broker.values import Claimed
from cgjobs.leases import LeaseKeeper
from cgjobs.worker import Worker
from tests.conftest import ServerFactory
from tests.jobs import AT_ONCE, PATIENCE, Count, Note, at_work, awaited, config, raw, registry, running, until
from tests.proxy import Proxy

LEASE = timedelta(seconds=1)
REAP = timedelta(milliseconds=100)
FAST: dict[str, Any] = {"lease": LEASE, "reap_interval": REAP}


async def claim_as_if_by_a_worker_that_dies(client: AsyncClient, lease: timedelta = LEASE) -> Claimed:
    call = moves.turn("dead", (), {"work": 1}, lease=lease, largest=1 << 20)
    [claimed] = (await client._sender.send(call)).jobs
    return claimed


async def counted(client: AsyncClient, name: str) -> int:
    return sum(
        n for key, n in (await client._sender.send(reads.metrics())).items() if key.startswith(f"{name}|")
    )


@awaited
async def test_a_dead_workers_job_is_back_within_lease_and_reap_interval_and_runs_once(
    redis_url: str,
) -> None:
    ran: list[int] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        ran.append(ctx.job.attempt)
        assert ctx.job.recoveries == 1

    settings, provided = config(redis_url, **FAST), registry(handler)
    async with AsyncClient(settings, provided) as client:
        job = await client.enqueue(Note(), attempts=1)
        await claim_as_if_by_a_worker_that_dies(client)
        died = time.monotonic()
        async with running(Worker(settings, provided)):
            await client.wait(job)
        took = time.monotonic() - died

        assert await counted(client, "recovered") == 1
    assert ran == [1]
    assert 0.9 < took < 2


@awaited
async def test_the_third_time_its_worker_dies_a_job_fails_as_poison(redis_url: str) -> None:
    events: list[Event] = []
    settings = config(redis_url, **FAST)
    provided = registry(processors=[Processor("work"), Processor("mail")], events=events)
    other = Worker(
        settings, provided, queues=["mail"]
    )  # takes back the jobs of every queue, runs none of these
    async with AsyncClient(settings, provided) as client, running(other):
        job = await client.enqueue(Note())
        for _ in range(3):
            await claim_as_if_by_a_worker_that_dies(client, timedelta(milliseconds=50))

            async def back() -> bool:
                return (await client.get(job.id)).state is not JobState.ACTIVE

            await until(back)
        found = await client.get(job.id)
        await until(lambda: any(event.name == "job_failed" for event in events))
        told = [event for event in events if event.job_id == job.id]

    assert (found.state, found.attempt, found.recoveries) == (JobState.FAILED, 1, 3)
    assert [event.name for event in told] == [
        "job_enqueued",
        "job_recovered",
        "job_recovered",
        "job_failed",
    ]


@pytest.mark.parametrize("kind", ["async def", "def"])
@awaited
async def test_a_job_longer_than_its_lease_is_kept_by_renewing_it(redis_url: str, kind: str) -> None:
    @subtype("work.note")
    async def on_loop(payload: Note, ctx: Context) -> None:
        await asyncio.sleep(1.5)

    @subtype("work.note")
    def on_thread(payload: Note, ctx: Context) -> None:
        time.sleep(1.5)

    settings = config(redis_url, lease=timedelta(milliseconds=600), reap_interval=REAP)
    handler = on_loop if kind == "async def" else on_thread
    async with at_work(redis_url, handler, settings=settings) as work:
        job = await work.client.enqueue(Note(), keep_completed=timedelta(hours=1))
        await work.client.wait(job)
        found = await work.client.get(job.id)

    assert (found.recoveries, work.names(job.id).count("job_started")) == (0, 1)


@awaited
async def test_a_handler_that_blocks_the_loop_for_a_moment_keeps_its_lease(redis_url: str) -> None:
    @subtype("work.note")
    async def rude(payload: Note, ctx: Context) -> None:
        time.sleep(1.2)

    settings = config(redis_url, lease=timedelta(milliseconds=600), reap_interval=REAP)
    async with at_work(redis_url, rude, settings=settings) as work:
        job = await work.client.enqueue(Note(), keep_completed=timedelta(hours=1))
        await work.client.wait(job)

        assert (await work.client.get(job.id)).recoveries == 0


@awaited
async def test_a_worker_whose_loop_hangs_loses_its_jobs_and_its_late_outcome_is_refused(
    redis_url: str,
) -> None:
    hang = threading.Event()

    @subtype("work.note")
    async def hangs_once(payload: Note, ctx: Context) -> str:
        if ctx.job.recoveries == 0:
            hang.wait(10)
            return "late"
        return "in time"

    settings = config(redis_url, loop_stall=timedelta(milliseconds=300), **FAST)
    provided = registry(hangs_once)
    hung = Worker(settings, provided)
    loops: list[asyncio.AbstractEventLoop] = []

    async def run_hung() -> None:
        loops.append(asyncio.get_running_loop())
        await hung.run()

    thread = threading.Thread(target=lambda: asyncio.run(run_hung()))
    async with AsyncClient(settings, provided) as client:
        job = await client.enqueue(Note(), keep_completed=timedelta(hours=1))
        thread.start()

        async def claimed() -> bool:
            return (await client.get(job.id)).state is JobState.ACTIVE

        await until(claimed)
        async with running(Worker(settings, provided)):
            assert await client.wait(job) == "in time"
        hang.set()

        async def refused() -> bool:
            return await counted(client, "stale") == 1

        await until(refused)
        found = await client.get(job.id)
        loops[0].call_soon_threadsafe(hung.stop)
        await asyncio.to_thread(thread.join, 10)

    assert not thread.is_alive()
    assert (found.state, found.result, found.recoveries) == (JobState.COMPLETED, "in time", 1)


@awaited
async def test_a_job_that_was_taken_away_is_cancelled_here_and_the_worker_goes_on(redis_url: str) -> None:
    cancelled: list[str] = []

    @subtype("work.note")
    async def on_loop(payload: Note, ctx: Context) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.append("async def")

    @subtype("work.count")
    def on_thread(payload: Count, ctx: Context) -> None:
        if payload.number:
            return
        try:
            while True:
                time.sleep(0.005)
                ctx.progress(1)
        except JobCancelled:
            cancelled.append("def")
            raise

    async with at_work(redis_url, on_loop, on_thread, settings=config(redis_url, **FAST)) as work:
        await work.client.enqueue_many([Note(), Count(0)])
        await until(lambda: work.names().count("job_started") == 2)
        with raw(redis_url) as behind:
            behind.flushall()

        await until(lambda: len(cancelled) == 2)
        await until(lambda: work.names().count("job_stale") == 2)
        with raw(redis_url) as behind:
            phantoms = behind.keys("rq:job:*")
        await work.client.wait(await work.client.enqueue(Count(1)))
        again = await until(work.client.workers)

    assert phantoms == []
    assert [worker.name for worker in again] == [work.worker.name]


@awaited
async def test_a_new_attempt_is_left_alone_when_an_old_one_of_the_same_job_lingers(redis_url: str) -> None:
    linger = threading.Event()
    ends: list[str] = []

    @subtype("work.note")
    def handler(payload: Note, ctx: Context) -> str:
        if ctx.job.recoveries == 0:
            linger.wait(10)  # never reports, so it never hears that it was taken away
            return "old"
        try:
            for _ in range(250):
                time.sleep(0.005)
                ctx.progress(1)
        except JobCancelled:
            ends.append("cancelled")
            raise
        return "new"

    async with at_work(redis_url, handler, settings=config(redis_url, **FAST)) as work:
        job = await work.client.enqueue(Note(), keep_completed=timedelta(hours=1))
        await until(lambda: "job_started" in work.names())
        with raw(redis_url) as behind:
            for member in behind.zrange("cgjobs:leases", 0, -1):
                behind.zadd("cgjobs:leases", {str(member): 1})
        assert await work.client.wait(job) == "new"
        linger.set()
        await until(lambda: "job_stale" in work.names())

    assert ends == []


# The broker dies


@awaited
async def test_a_job_that_ran_while_the_broker_was_away_is_settled_once_it_is_back(
    own_server: ServerFactory,
) -> None:
    server = own_server(appendonly="yes", appendfsync="always")
    go_on, runs = asyncio.Event(), []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> str:
        runs.append(payload.text)
        await go_on.wait()
        return "done"

    settings = config(server.url, broker={"timeout": timedelta(milliseconds=300)})
    async with at_work(server.url, handler, settings=settings) as work:
        job = await work.client.enqueue(Note(), keep_completed=timedelta(hours=1))
        await until(lambda: runs)
        server.kill()
        go_on.set()
        await until(lambda: "broker_lost" in work.names())
        server.start()
        await until(lambda: "broker_back" in work.names())
        await until(lambda: "job_completed" in work.names())
        found = await work.client.get(job.id)
        stats = await work.client.queue("work").stats()
        later = await work.client.enqueue(Note("later"))
        await work.client.wait(later)

    assert runs == ["", "later"]
    assert (found.result, found.recoveries, found.attempt) == ("done", 0, 1)
    assert (stats.completed, stats.active) == (1, 0)
    assert "job_stale" not in work.names()


@awaited
async def test_a_worker_outlives_a_broker_that_forgets_everything_twice(own_server: ServerFactory) -> None:
    server = own_server()
    settings = config(server.url, broker={"timeout": timedelta(milliseconds=300)})
    async with at_work(server.url, settings=settings) as work:
        for _ in range(3):
            await work.client.wait(await work.client.enqueue(Note()))
            server.kill()
            server.start()

        assert await work.client.wait(await work.client.enqueue(Note("still here"))) == "still here"


@pytest.mark.parametrize("call", [b"cgjobs1_claim", b"cgjobs1_settle"])
@awaited
async def test_each_job_runs_once_when_replies_are_lost(redis_url: str, call: bytes) -> None:
    runs: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        runs.append(payload.text)
        await asyncio.sleep(0.005)

    with Proxy(redis_url) as proxy:
        settings, provided = (
            config(proxy.url),
            registry(handler, processors=[Processor("work", concurrency=3)]),
        )
        async with AsyncClient(config(redis_url), provided) as client:
            await client.enqueue_many([Note(str(number)) for number in range(30)])
            proxy.drop_reply(call, times=1 if b"claim" in call else 3)
            async with running(Worker(settings, provided)):
                await until(lambda: len(runs) >= 30)
            stats = await client.queue("work").stats()
            counts = [await counted(client, name) for name in ("completed", "stale", "recovered")]

    assert proxy.lost >= 1
    assert sorted(runs, key=int) == [str(number) for number in range(30)]
    assert (stats.completed, stats.active, stats.waiting) == (30, 0, 0)
    assert counts == [30, 0, 0]


@awaited
async def test_a_cut_connection_costs_neither_a_job_nor_the_workers_ear(redis_url: str) -> None:
    with Proxy(redis_url) as proxy:
        settings, provided = config(proxy.url), registry()
        async with AsyncClient(config(redis_url), provided) as client, running(Worker(settings, provided)):
            for _ in range(3):
                await client.wait(await client.enqueue(Note()))
                proxy.cut()

            assert await client.wait(await client.enqueue(Note("x")), timedelta(seconds=4)) == "x"


@awaited
async def test_nothing_that_was_claimed_runs_with_a_worn_out_lease_after_a_partition(redis_url: str) -> None:
    runs: list[int] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        runs.append(ctx.job.recoveries)
        if ctx.job.recoveries == 0:
            await asyncio.sleep(3600)

    with Proxy(redis_url) as proxy:
        away = config(proxy.url, broker={"timeout": timedelta(milliseconds=300)}, **FAST)
        here = config(redis_url, **FAST)
        provided = registry(handler, processors=[Processor("work", backoff=AT_ONCE)])
        async with AsyncClient(here, provided) as client, running(Worker(away, provided)):
            job = await client.enqueue(Note())
            await until(lambda: runs == [0])
            proxy.hold()
            async with running(Worker(here, provided)):
                await client.wait(job)
                proxy.release()

                async def stale() -> bool:
                    return await counted(client, "stale") == 1

                await until(stale)
            stats = await client.queue("work").stats()

    assert runs == [0, 1]
    assert (stats.completed, stats.active, stats.waiting) == (1, 0, 0)


def test_an_unforeseen_error_does_not_end_the_renewing_of_leases(redis_url: str) -> None:
    asked = threading.Event()
    answers = iter([RuntimeError("unforeseen")])

    def jobs() -> list[tuple[str, str, str]]:
        if error := next(answers, None):
            raise error
        asked.set()
        return []

    keeper = LeaseKeeper(
        "w",
        ["work"],
        "0",
        config(redis_url, **FAST),
        running=jobs,
        loop_seen=time.monotonic,
        lost=lambda attempts: None,
        data_lost=lambda: None,
        epoch="",
    )

    keeper.start()

    assert asked.wait(PATIENCE)
    keeper.end()
    keeper.join()

"""Jobs that are ended on purpose, in every state."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from cgjobs import Client, Context, JobCancelled, JobFailed, JobState, JobStateError, Processor, subtype
from cgjobs.broker import moves
from cgjobs.worker import Worker
from tests.jobs import AT_ONCE, Note, at_work, awaited, config, raw, registry, until

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("delay", [None, HOUR])
def test_a_job_that_waits_is_cancelled_at_once(redis_url: str, delay: timedelta | None) -> None:
    with Client(config(redis_url), registry()) as client:
        queue = client.queue("work")
        job = client.enqueue(Note(), delay=delay, unique="k")

        queue.cancel(job.id)
        asyncio.run(Worker(config(redis_url), registry(), burst=True).run())

        assert queue.get(job.id).state is JobState.CANCELLED
        assert [job.id for job in queue.jobs(JobState.CANCELLED)] == [job.id]
        assert (queue.stats().waiting, queue.stats().delayed, queue.stats().completed) == (0, 0, 0)
        assert not client.enqueue(Note(), unique="k").duplicate


def test_who_waits_for_a_cancelled_job_is_told(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue(Note())
        client.queue("work").cancel(job.id)

        with pytest.raises(JobFailed, match="somebody cancelled it") as caught:
            client.wait(job)

        assert caught.value.state == "cancelled"


def test_a_cancelled_job_can_be_retried_and_an_ended_one_not_cancelled(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        queue = client.queue("work")
        job = client.enqueue(Note(), keep_completed=HOUR)
        queue.cancel(job.id)
        queue.retry(job.id)
        asyncio.run(Worker(config(redis_url), registry(), burst=True).run())

        assert queue.get(job.id).state is JobState.COMPLETED
        with pytest.raises(JobStateError, match="ended already"):
            queue.cancel(job.id)


@awaited
async def test_a_running_async_handler_is_cancelled(redis_url: str) -> None:
    ended: list[str] = []

    @subtype("work.note")
    async def long(payload: Note, ctx: Context) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(ctx.job.id)

    async with at_work(redis_url, long) as work:
        queue = work.client.queue("work")
        job = await work.client.enqueue(Note())
        await until(lambda: "job_started" in work.names(job.id))

        assert await queue.cancel(job.id) is JobState.ACTIVE
        await until(lambda: "job_cancelled" in work.names(job.id))

        found = await queue.get(job.id)
        assert (found.state, found.attempt, ended) == (JobState.CANCELLED, 1, [job.id])
        assert (await queue.stats()).active == 0


@awaited
async def test_a_running_def_handler_hears_of_it_at_its_next_report(redis_url: str) -> None:
    heard = threading.Event()

    @subtype("work.note")
    def long(payload: Note, ctx: Context) -> None:
        try:
            while not heard.wait(0.005):
                ctx.progress(1)
        except JobCancelled:
            heard.set()
            raise

    async with at_work(redis_url, long) as work:
        job = await work.client.enqueue(Note())
        await until(lambda: "job_started" in work.names(job.id))

        await work.client.queue("work").cancel(job.id)
        await until(lambda: "job_cancelled" in work.names(job.id))

        assert heard.is_set()
        assert (await work.client.get(job.id)).state is JobState.CANCELLED


@awaited
async def test_a_handler_that_completes_all_the_same_has_completed(redis_url: str) -> None:
    go_on = threading.Event()

    @subtype("work.note")
    def deaf(payload: Note, ctx: Context) -> None:
        go_on.wait(10)

    async with at_work(redis_url, deaf) as work:
        job = await work.client.enqueue(Note(), keep_completed=HOUR)
        await until(lambda: "job_started" in work.names(job.id))
        await work.client.queue("work").cancel(job.id)
        go_on.set()
        await until(lambda: "job_completed" in work.names(job.id))

        assert (await work.client.get(job.id)).state is JobState.COMPLETED


@awaited
async def test_a_cancelled_job_that_fails_meanwhile_is_not_tried_again(redis_url: str) -> None:
    go_on = threading.Event()

    @subtype("work.note")
    def failing(payload: Note, ctx: Context) -> None:
        go_on.wait(10)
        raise ValueError("broke")

    processors = [Processor("work", attempts=3, backoff=AT_ONCE)]
    async with at_work(redis_url, failing, processors=processors) as work:
        job = await work.client.enqueue(Note())
        await until(lambda: "job_started" in work.names(job.id))
        await work.client.queue("work").cancel(job.id)
        go_on.set()

        async def over() -> bool:
            return (await work.client.get(job.id)).state.final

        await until(over)
        assert (await work.client.get(job.id)).state is JobState.CANCELLED
        assert work.names(job.id).count("job_started") == 1


def test_a_cancelled_job_of_a_dead_worker_is_not_run_again(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        job = client.enqueue(Note())
        send = client._sender.send
        send(moves.turn("dead", (), {"work": 1}, lease=timedelta(milliseconds=1), largest=1 << 20))
        client.queue("work").cancel(job.id)
        broker.zadd("cgjobs:leases", dict.fromkeys(broker.zrange("cgjobs:leases", 0, -1), 0))

        fates = send(moves.reap(max_crashes=3)).jobs

        assert fates == (("work", job.id, "cancelled"),)
        assert client.get(job.id).state is JobState.CANCELLED

"""An idle worker has sent its claim behind its wait: the broker carries it out when there is work."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from cgjobs import AsyncClient, Context, JobState, Processor, subtype
from cgjobs.config import QueueConfig
from cgjobs.plugins import Registry
from cgjobs.worker import Worker
from tests.jobs import Note, awaited, config, listened_to, registry, running, until
from tests.proxy import Proxy

HOUR = timedelta(hours=1)


def noting(concurrency: int = 5) -> tuple[Registry, list[str]]:
    """A handler, and the texts of the jobs that came to it."""
    seen: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        seen.append(payload.text)

    processors = [Processor("work", concurrency=concurrency), Processor("other")]
    return registry(handler, processors=processors), seen


async def completed(client: AsyncClient, number: int) -> None:
    """Wait until so many jobs have completed."""

    async def so_many() -> bool:
        return (await client.queue("work").stats()).completed == number

    await until(so_many)


@awaited
async def test_an_idle_worker_starts_a_job_without_asking_for_it(redis_url: str) -> None:
    provided, seen = noting()
    with Proxy(redis_url) as proxy:
        async with (
            AsyncClient(config(redis_url), provided) as client,
            running(Worker(config(proxy.url), provided)),
        ):
            await until(lambda: listened_to(redis_url))
            proxy.hold_requests()
            await client.enqueue(Note("a"))

            await until(lambda: seen == ["a"])
            proxy.release()
            await completed(client, 1)


@awaited
async def test_a_worker_starts_jobs_while_others_of_the_queue_go_on(redis_url: str) -> None:
    provided, seen = noting(concurrency=3)
    async with (
        AsyncClient(config(redis_url), provided) as client,
        running(Worker(config(redis_url), provided)),
    ):
        for number in range(30):
            await client.enqueue_many([Note(str(number))] * (number % 5))
        await completed(client, 60)

    assert len(seen) == 60


@awaited
async def test_what_was_claimed_by_a_lost_reply_is_asked_for_again_and_runs_once(redis_url: str) -> None:
    provided, seen = noting()
    with Proxy(redis_url) as proxy:
        proxy.drop_reply(b"BLPOP")
        async with (
            AsyncClient(config(redis_url), provided) as client,
            running(Worker(config(proxy.url, lease=HOUR), provided)),
        ):
            await until(lambda: listened_to(redis_url))
            await client.enqueue(Note("a"))
            await completed(client, 1)
            await client.enqueue(Note("b"))  # and the next wait is as good as the first
            await completed(client, 2)

    assert (seen, proxy.lost) == (["a", "b"], 1)


@awaited
async def test_what_a_worker_behind_a_cut_wire_has_claimed_is_another_ones_later(
    redis_url: str,
) -> None:
    far, near = noting(), noting()
    soon = {"lease": timedelta(seconds=1), "reap_interval": timedelta(milliseconds=100)}
    with Proxy(redis_url) as proxy:
        async with (
            AsyncClient(config(redis_url), near[0]) as client,
            running(Worker(config(proxy.url, **soon), far[0])) as worker,
        ):
            await until(lambda: listened_to(redis_url))
            proxy.hold()
            job = await client.enqueue(Note("a"))
            assert (await client.get(job.id)).state is JobState.ACTIVE  # by the worker that cannot know it

            async with running(Worker(config(redis_url, **soon), near[0])):
                await completed(client, 1)
                proxy.release()
                await until(lambda: worker._ready())

    assert (far[1], near[1]) == ([], ["a"])


@awaited
async def test_a_worker_that_is_told_to_stop_while_the_broker_is_away_does_not_wait_for_it(
    redis_url: str,
) -> None:
    provided, _ = noting()
    with Proxy(redis_url) as proxy:
        worker = Worker(config(proxy.url), provided)
        serving = asyncio.create_task(worker.run())
        await until(lambda: listened_to(redis_url))
        proxy.hold()
        worker.stop()

        await asyncio.wait_for(serving, 30)


@awaited
async def test_a_queue_with_a_limit_is_woken_for_and_keeps_it(redis_url: str) -> None:
    provided, seen = noting()
    settings = config(redis_url, queues=[QueueConfig("work", concurrency=5, max_running=1)])
    async with AsyncClient(settings, provided) as client, running(Worker(settings, provided)):
        await until(lambda: listened_to(redis_url))
        await client.enqueue_many([Note("a"), Note("b"), Note("c")])
        await completed(client, 3)

    assert seen == ["a", "b", "c"]

"""Delayed jobs: never early, never lost, never many at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from cgjobs import AsyncClient, Client, Context, JobState, Priority, subtype
from cgjobs.broker import Sender, moves
from cgjobs.worker import Worker
from tests.jobs import (
    Note,
    at_work,
    awaited,
    config,
    raw,
    redis_config,
    registry,
    running,
    server_time,
    until,
)

HOUR = timedelta(hours=1)


@awaited
async def test_no_job_starts_before_its_time_by_the_servers_clock(redis_url: str) -> None:
    started: dict[str, float] = {}

    with raw(redis_url) as behind:

        @subtype("work.note")
        async def handler(payload: Note, ctx: Context) -> None:
            started[ctx.job.id] = server_time(behind)

        async with at_work(redis_url, handler) as work:
            due: dict[str, float] = {}
            for ms in (1, 50, 120, 250, 400, 700):
                before = server_time(behind)
                job = await work.client.enqueue(Note(), delay=timedelta(milliseconds=ms))
                due[job.id] = before + ms / 1000
            at = datetime.fromtimestamp(server_time(behind) + 0.3, UTC)
            due[(await work.client.enqueue(Note(), at=at)).id] = at.timestamp()
            await until(lambda: len(started) == len(due))

    late = {job_id: started[job_id] - due[job_id] for job_id in due}
    assert min(late.values()) >= 0
    assert max(late.values()) < 1.5


@awaited
async def test_a_failed_job_is_never_tried_again_earlier_than_its_backoff_says(redis_url: str) -> None:
    from cgjobs import Backoff

    times: list[float] = []

    with raw(redis_url) as behind:

        @subtype("work.note")
        async def handler(payload: Note, ctx: Context) -> None:
            times.append(server_time(behind))
            if len(times) < 3:
                raise ValueError("again")

        async with at_work(redis_url, handler) as work:
            backoff = Backoff.exponential(timedelta(milliseconds=100), jitter=0)
            await work.client.wait(await work.client.enqueue(Note(), backoff=backoff))

    assert times[1] - times[0] >= 0.1
    assert times[2] - times[1] >= 0.2


def test_due_jobs_become_ready_at_most_a_thousand_in_one_call(redis_url: str) -> None:
    sender = Sender(redis_config(redis_url))
    with Client(config(redis_url), registry()) as client, raw(redis_url) as behind:
        client.enqueue_many((Note() for _ in range(2500)), delay=HOUR)
        for job_id in behind.zrange("rq:scheduled:work", 0, -1):
            behind.zadd("rq:scheduled:work", {str(job_id): 1})

        promoted = [sender.send(moves.promote(["work"])).promoted for _ in range(4)]

        stats = client.queue("work").stats()
    sender.close()
    assert promoted == [1000, 1000, 500, 0]
    assert (stats.waiting, stats.delayed) == (2500, 0)


def test_the_next_look_is_when_the_next_job_is_due(redis_url: str) -> None:
    sender = Sender(redis_config(redis_url))
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note(), delay=timedelta(seconds=100))
        client.enqueue(Note(), delay=timedelta(seconds=50))

        seen = sender.send(moves.promote(["work"]))
        nothing = sender.send(moves.promote(["mail"]))
    sender.close()

    assert seen.promoted == 0
    assert seen.next_due is not None
    assert timedelta(seconds=48) < seen.next_due <= timedelta(seconds=50)
    assert (nothing.promoted, nothing.next_due) == (0, None)


def test_a_delayed_job_keeps_its_level(redis_url: str) -> None:
    sender = Sender(redis_config(redis_url))
    with Client(config(redis_url), registry()) as client, raw(redis_url) as behind:
        job = client.enqueue(Note(), delay=HOUR, priority="critical")
        behind.zadd("rq:scheduled:work", {job.id: 1})

        sender.send(moves.promote(["work"]))

        assert behind.lrange("rq:queue:work:critical", 0, -1) == [job.id]
        assert client.get(job.id).priority is Priority.CRITICAL
    sender.close()


def test_garbage_among_the_delayed_jobs_is_put_aside(redis_url: str) -> None:
    sender = Sender(redis_config(redis_url))
    with Client(config(redis_url), registry()) as client, raw(redis_url) as behind:
        waiting = client.enqueue(Note())
        behind.zadd("rq:scheduled:work", {"nobody": 1, waiting.id: 1})

        seen = sender.send(moves.promote(["work"]))

        assert seen.promoted == 0
        assert behind.llen("rq:queue:work") == 1
        assert behind.xlen("cgjobs:quarantine") == 2
    sender.close()


def test_the_list_of_failed_jobs_forgets_those_whose_time_is_over(redis_url: str) -> None:
    sender = Sender(redis_config(redis_url))
    with Client(config(redis_url), registry()) as client, raw(redis_url) as behind:
        behind.zadd("rq:failed:work", {"old": 1, "new": 9e9})

        sender.send(moves.promote(["work"]))

        assert client.queue("work").stats().failed == 1
    sender.close()


@awaited
async def test_jobs_of_a_paused_queue_become_ready_but_do_not_start(redis_url: str) -> None:
    async with at_work(redis_url) as work:
        await work.client.queue("work").pause()
        job = await work.client.enqueue(Note(), delay=timedelta(milliseconds=10))

        async def ready() -> bool:
            return (await work.client.get(job.id)).state is JobState.WAITING

        await until(ready)
        await asyncio.sleep(0.05)

    assert "job_started" not in work.names()


@awaited
async def test_many_workers_promote_each_job_once(redis_url: str) -> None:
    ran: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        ran.append(payload.text)

    settings, provided = config(redis_url), registry(handler)
    async with (
        AsyncClient(settings, provided) as client,
        running(Worker(settings, provided)),
        running(Worker(settings, provided)),
        running(Worker(settings, provided)),
    ):
        await client.enqueue_many([Note(str(n)) for n in range(200)], delay=timedelta(milliseconds=200))
        await until(lambda: len(ran) >= 200)

    assert sorted(ran, key=int) == [str(number) for number in range(200)]

"""What an operator does to queues and jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cgjobs import (
    AsyncClient,
    Client,
    Context,
    InvalidOption,
    JobNotFound,
    JobState,
    JobStateError,
    Processor,
    QueueNotFound,
    QueueStats,
    subtype,
)
from cgjobs.broker import moves, operators, values
from cgjobs.worker import Worker
from tests.conftest import ServerFactory
from tests.jobs import Note, at_work, awaited, config, raw, registry, until
from tests.proxy import Proxy

HOUR = timedelta(hours=1)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(config(redis_url), registry()) as made:
        yield made


def claim(client: Client, n: int = 1) -> list[values.Claimed]:
    call = moves.turn("w", (), {"work": n}, lease=HOUR, largest=1 << 20)
    return list(client._sender.send(call).jobs)


def settle(client: Client, *outcomes: values.Settlement) -> None:
    client._sender.send(moves.turn("w", outcomes, {}, lease=HOUR, largest=1 << 20))


def fail(client: Client, **options: object) -> str:
    job = client.enqueue(Note(), **options)  # type: ignore[arg-type]
    settle(client, values.Settlement("failed", claim(client)[0], "work.note", error="ValueError: no"))
    return job.id


# Pause and resume


@awaited
async def test_nothing_starts_once_pause_has_answered(redis_url: str) -> None:
    starts: list[float] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        starts.append(time.monotonic())
        await asyncio.sleep(0.001)

    async with at_work(redis_url, handler) as work:
        await work.client.enqueue_many([Note()] * 500)
        await until(lambda: len(starts) > 20)

        await work.client.queue("work").pause()

        async def none_active() -> bool:
            return (await work.client.queue("work").stats()).active == 0

        await until(none_active)
        after_those_under_way = len(starts)
        await asyncio.sleep(0.1)
        stats = await work.client.queue("work").stats()

        assert len(starts) == after_those_under_way < 500
        assert stats == QueueStats(500 - len(starts), 0, len(starts), 0, 0, paused=True)


def test_no_claim_gets_a_job_of_a_paused_queue(client: Client) -> None:
    client.enqueue(Note())

    assert client.queue("work").pause()

    assert claim(client) == []
    assert client.queue("work").resume()
    assert len(claim(client)) == 1


def test_pausing_twice_changes_something_once(client: Client) -> None:
    queue = client.queue("work")

    assert [queue.pause(), queue.pause(), queue.resume(), queue.resume()] == [True, False, True, False]


@awaited
async def test_a_resumed_queue_goes_on_at_once(redis_url: str) -> None:
    async with at_work(redis_url) as work:
        await work.client.queue("work").pause()
        job = await work.client.enqueue(Note("go"))
        await asyncio.sleep(0.1)
        assert "job_started" not in work.names()

        resumed = time.monotonic()
        await work.client.queue("work").resume()
        await work.client.wait(job)

    assert time.monotonic() - resumed < 0.7


@awaited
async def test_a_queue_stays_paused_over_a_restart_of_the_broker(own_server: ServerFactory) -> None:
    server = own_server(appendonly="yes", appendfsync="always")
    with Client(config(server.url), registry()) as client:
        client.queue("work").pause()
        client.enqueue(Note())
        server.kill()
        server.start()

        await Worker(config(server.url), registry(), burst=True).run()

        stats = client.queue("work").stats()
    assert (stats.paused, stats.waiting, stats.completed) == (True, 1, 0)


def test_other_queues_go_on_when_one_is_paused(redis_url: str) -> None:
    provided = registry(processors=[Processor("work"), Processor("mail")])
    with Client(config(redis_url), provided) as client:
        client.queue("mail").pause()

        assert {name: stats.paused for name, stats in client.queues().items()} == {
            "mail": True,
            "work": False,
        }


# Remove


def test_a_waiting_job_can_be_removed(client: Client) -> None:
    first, second = client.enqueue_many([Note(), Note()], priority="high")

    client.queue("work").remove(first.id)

    assert client.queue("work").find(first.id) is None
    assert [job.id for job in claim(client, 5)] == [second.id]


def test_a_delayed_job_can_be_removed(client: Client) -> None:
    job = client.enqueue(Note(), delay=HOUR)

    client.queue("work").remove(job.id)

    assert client.queue("work").stats() == QueueStats(0, 0, 0, 0, 0, paused=False)


def test_a_failed_job_can_be_removed_with_its_errors(client: Client, redis_url: str) -> None:
    job_id = fail(client)

    client.queue("work").remove(job_id)

    with raw(redis_url) as behind:
        assert behind.exists(f"rq:job:{job_id}", f"rq:results:{job_id}", "rq:failed:work") == 0


def test_a_running_job_is_not_removed(client: Client) -> None:
    job = client.enqueue(Note())
    claim(client)

    with pytest.raises(JobStateError, match=r"is active and cannot be removed\. Wait"):
        client.queue("work").remove(job.id)

    assert client.queue("work").stats().active == 1


def test_a_job_of_another_queue_is_not_found_in_this_one(redis_url: str) -> None:
    provided = registry(processors=[Processor("work"), Processor("mail")])
    with Client(config(redis_url), provided) as client:
        job = client.enqueue(Note())

        assert client.queue("mail").find(job.id) is None
        for move in (client.queue("mail").get, client.queue("mail").remove, client.queue("mail").retry):
            with pytest.raises(JobNotFound):
                move(job.id)
        assert client.get(job.id).id == job.id


def test_removing_what_is_not_there_is_told(client: Client) -> None:
    with pytest.raises(JobNotFound):
        client.queue("work").remove("nobody")
    with pytest.raises(JobNotFound):
        client._sender.send(operators.remove("nobody"))


def test_garbage_where_a_job_should_be_can_be_removed(client: Client, redis_url: str) -> None:
    with raw(redis_url) as behind:
        behind.set("rq:job:odd", "garbage")

        assert client._sender.send(operators.remove("odd")) is None
        assert behind.exists("rq:job:odd") == 0


@awaited
async def test_a_job_that_is_removed_while_it_becomes_due_is_either_gone_or_run(redis_url: str) -> None:
    ran: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        ran.append(ctx.job.id)

    async with at_work(redis_url, handler) as work:
        jobs = await work.client.enqueue_many([Note()] * 60, delay=timedelta(milliseconds=300))
        removed: set[str] = set()

        async def remove(job_id: str) -> None:
            try:
                await work.client.queue("work").remove(job_id)
                removed.add(job_id)
            except (JobNotFound, JobStateError):
                pass

        await asyncio.sleep(0.29)
        for job in jobs:
            await remove(job.id)
        await until(lambda: len(removed) + len(set(ran)) >= 60)
        await asyncio.sleep(0.05)

    assert removed.isdisjoint(ran)
    assert removed | set(ran) == {job.id for job in jobs}


# Retry


def test_a_failed_job_can_be_tried_again_with_all_its_attempts(client: Client) -> None:
    job_id = fail(client, attempts=4)

    job = client.queue("work").retry(job_id)

    assert (job.state, job.attempt, job.attempts) == (JobState.WAITING, 1, 4)
    assert [error.error for error in job.errors] == ["ValueError: no"]
    assert [item.id for item in claim(client)] == [job_id]
    assert client.queue("work").stats().failed == 0


def test_a_completed_job_that_is_kept_can_be_run_again(client: Client) -> None:
    job = client.enqueue(Note(), keep_completed=HOUR)
    settle(client, values.Settlement("completed", claim(client)[0], "work.note"))

    client.queue("work").retry(job.id)

    assert client.queue("work").stats() == QueueStats(1, 0, 1, 0, 0, paused=False)


def test_a_job_that_is_tried_again_is_kept_until_it_ends(client: Client, redis_url: str) -> None:
    job_id = fail(client, keep_failed=HOUR)
    with raw(redis_url) as behind:
        assert behind.ttl(f"rq:job:{job_id}") > 0

        client.queue("work").retry(job_id)

        assert behind.ttl(f"rq:job:{job_id}") == -1


@pytest.mark.parametrize("state", ["waiting", "active", "delayed"])
def test_only_an_ended_job_can_be_tried_again(client: Client, state: str) -> None:
    job = client.enqueue(Note(), delay=HOUR if state == "delayed" else None)
    if state == "active":
        claim(client)

    with pytest.raises(JobStateError, match=f"is {state} and cannot be retried"):
        client.queue("work").retry(job.id)


@awaited
async def test_a_poisoned_job_gets_its_crashes_forgiven(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        job = await client.enqueue(Note())
        with raw(redis_url) as behind:
            behind.hset(f"rq:job:{job.id}", mapping={"status": "failed", "recoveries": 3})
            behind.delete("rq:queue:work")

        again = await client.queue("work").retry(job.id)

    assert (again.recoveries, again.state) == (0, JobState.WAITING)


# Drain


def test_draining_removes_all_waiting_jobs_and_nothing_else(client: Client) -> None:
    client.enqueue_many([Note()] * 3, priority="high")
    client.enqueue_many([Note()] * 3)
    claim(client)
    client.enqueue(Note(), delay=HOUR)

    removed = client.queue("work").drain()

    assert removed == 5
    assert client.queue("work").stats() == QueueStats(0, 1, 0, 0, 1, paused=False)


def test_draining_takes_delayed_jobs_along_when_asked(client: Client, redis_url: str) -> None:
    client.enqueue_many([Note()] * 1500)
    client.enqueue_many([Note()] * 700, delay=HOUR)

    assert client.queue("work").drain(delayed=True) == 2200

    with raw(redis_url) as behind:
        assert behind.keys("rq:job:*") == []


# Looking


def test_the_six_numbers_of_a_queue(client: Client) -> None:
    fail(client)
    client.enqueue_many([Note()] * 6)
    claimed = claim(client, 3)
    settle(client, values.Settlement("completed", claimed[0], "work.note"))
    client.enqueue(Note(), delay=HOUR)
    client.queue("work").pause(timeout=timedelta(0))

    stats = client.queue("work").stats()

    assert stats == QueueStats(waiting=3, active=2, completed=1, failed=1, delayed=1, paused=True)


def test_jobs_of_a_state_come_page_by_page(client: Client) -> None:
    jobs = client.enqueue_many(Note(str(number)) for number in range(7))
    queue = client.queue("work")

    pages = [queue.jobs(JobState.WAITING, offset=offset, limit=3) for offset in (0, 3, 6, 9)]

    assert [job.id for page in pages for job in page] == [job.id for job in jobs]
    assert [len(page) for page in pages] == [3, 3, 1, 0]


def test_waiting_jobs_are_listed_by_level(client: Client) -> None:
    for level in ("low", "normal", "critical", "high"):
        client.enqueue(Note(level), priority=level)

    levels = [str(job.priority) for job in client.queue("work").jobs(JobState.WAITING)]

    assert levels == ["critical", "high", "normal", "low"]


def test_delayed_jobs_are_listed_soonest_first_and_ended_ones_newest_first(client: Client) -> None:
    late, soon = client.enqueue(Note(), delay=2 * HOUR), client.enqueue(Note(), delay=HOUR)
    first, second = fail(client, keep_failed=HOUR), fail(client, keep_failed=2 * HOUR)

    delayed = [job.id for job in client.queue("work").jobs(JobState.DELAYED)]
    failed = [job.id for job in client.queue("work").jobs(JobState.FAILED)]

    assert delayed == [soon.id, late.id]
    assert failed == [second, first]


def test_running_jobs_are_listed_by_their_ids(client: Client) -> None:
    job = client.enqueue(Note())
    claim(client)

    assert [item.id for item in client.queue("work").jobs(JobState.ACTIVE)] == [job.id]


@pytest.mark.parametrize("page", [{"offset": -1}, {"limit": 0}, {"limit": -1}])
@pytest.mark.parametrize("state", [JobState.WAITING, JobState.DELAYED])
def test_a_page_that_cannot_be_is_refused(client: Client, page: dict[str, int], state: JobState) -> None:
    client.enqueue_many([Note()] * 3)

    with pytest.raises(InvalidOption, match=next(iter(page))):
        client.queue("work").jobs(state, **page)


def test_an_unknown_queue_is_told_with_a_near_miss(client: Client) -> None:
    with pytest.raises(QueueNotFound, match="Did you mean 'work'"):
        client.queue("wrok")


@awaited
async def test_the_asynchronous_queue_does_all_the_same(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        queue = client.queue("work")
        first, second, third = await client.enqueue_many([Note()] * 3)
        assert await queue.pause()
        assert (await queue.get(first.id)).id == first.id
        assert await queue.find("nobody") is None
        await queue.remove(second.id)
        with raw(redis_url) as behind:
            behind.hset(f"rq:job:{third.id}", "status", "failed")
            behind.lrem("rq:queue:work", 0, third.id)
        assert (await queue.retry(third.id)).state is JobState.WAITING
        assert [job.id for job in await queue.jobs(JobState.WAITING)] == [first.id, third.id]
        assert await queue.resume()
        assert await queue.drain() == 2
        assert (await queue.stats()).waiting == 0
        assert set(await client.queues()) == {"work"}
        with pytest.raises(QueueNotFound):
            client.queue("wrok")


@pytest.mark.parametrize("move", ["retry", "cancel", "remove"])
def test_a_move_of_an_operator_whose_reply_is_lost_is_made_once_and_answered(
    redis_url: str, move: str
) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        client.load_functions()
        queue, job = client.queue("work"), client.enqueue(Note())
        if move == "retry":
            queue.cancel(job.id)
        proxy.drop_reply(f"cgjobs1_{move}".encode())

        answer = getattr(queue, move)(job.id)

        assert proxy.lost == 1
        left = queue.find(job.id)
        assert (left and left.state) == {"retry": JobState.WAITING, "cancel": JobState.CANCELLED}.get(move)
        assert answer == {"retry": left, "cancel": JobState.WAITING}.get(move)
        assert queue.stats().waiting == (move == "retry")


@pytest.mark.parametrize("move", ["retry", "cancel", "remove"])
def test_a_refused_move_of_an_operator_is_refused_again_when_its_reply_is_lost(
    redis_url: str, move: str
) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        client.load_functions()
        proxy.drop_reply(f"cgjobs1_{move}".encode())

        with pytest.raises(JobNotFound):
            client._sender.send(getattr(operators, move)("nobody"))

        assert proxy.lost == 1

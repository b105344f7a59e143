"""Enqueueing: what is acknowledged is there, once, whatever happens on the way."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from cgjobs import (
    AsyncClient,
    Backoff,
    BrokerError,
    BrokerUnavailable,
    Client,
    InvalidOption,
    InvalidPayload,
    JobState,
    Priority,
    ProcessorNotFound,
    SubtypeNotFound,
)
from cgjobs.config import LimitConfig, QueueConfig
from cgjobs.worker import Worker
from tests.conftest import ServerFactory
from tests.jobs import Count, Note, at_work, awaited, config, raw, registry
from tests.proxy import Proxy


def test_an_enqueued_job_waits_in_the_queue_of_its_job_type(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue(Note("hello"))

        found = client.queue("work").get(job.id)

    assert (found.state, found.name, found.payload) == (
        JobState.WAITING,
        "work.note",
        {"type": "note", "text": "hello"},
    )
    assert found.created_at is not None
    assert abs(datetime.now(UTC) - found.created_at) < timedelta(seconds=60)


def test_every_option_of_a_job_is_kept_with_it(redis_url: str) -> None:
    at = datetime(2100, 1, 1, tzinfo=UTC)
    with Client(config(redis_url), registry()) as client:
        client.enqueue(
            Note(),
            at=at,
            priority="critical",
            attempts=7,
            backoff=Backoff.fixed(timedelta(seconds=3)),
            timeout=timedelta(milliseconds=2500),
            job_id="order-1",
            correlation_id="request 9",
        )

        job = client.get("order-1")

    assert (job.state, job.run_at, job.priority) == (JobState.DELAYED, at, Priority.CRITICAL)
    assert (job.attempts, job.timeout, job.correlation_id) == (7, timedelta(milliseconds=2500), "request 9")


def test_a_job_can_be_enqueued_by_name_from_json(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue_data("work.note", {"type": "note", "text": "hi"}, job_id="a")

        assert client.get("a").payload == job.payload == {"type": "note", "text": "hi"}


@pytest.mark.parametrize(
    ("name", "error"), [("work.nope", SubtypeNotFound), ("wrok.note", ProcessorNotFound)]
)
def test_a_name_that_nothing_has_is_refused(redis_url: str, name: str, error: type[Exception]) -> None:
    with Client(config(redis_url), registry()) as client, pytest.raises(error):
        client.enqueue_data(name, {})


def test_a_payload_without_a_handler_is_refused(redis_url: str) -> None:
    @attrs.frozen
    class Stranger:
        pass

    with Client(config(redis_url), registry()) as client, pytest.raises(SubtypeNotFound, match="Stranger"):
        client.enqueue(Stranger())


def test_when_one_of_many_payloads_is_wrong_nothing_is_enqueued(redis_url: str) -> None:
    wrong = Note()
    object.__setattr__(wrong, "text", 7)

    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidPayload):
            client.enqueue_many([Note("a"), wrong, Note("c")])

        assert client.queue("work").stats().waiting == 0


def test_wrong_options_enqueue_nothing(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidOption):
            client.enqueue(Note(), attempts=0)

        assert client.queue("work").stats().waiting == 0


def test_many_jobs_keep_their_order(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        jobs = client.enqueue_many(Note(str(number)) for number in range(1201))

        waiting = client.queue("work").jobs(JobState.WAITING, limit=2000)

    assert [job.id for job in waiting] == [job.id for job in jobs]


def test_enqueueing_nothing_is_no_call(redis_url: str) -> None:
    with Client(config("redis://127.0.0.1:1"), registry()) as client:
        assert client.enqueue_many([]) == []


def test_a_taken_job_id_adds_nothing_and_gives_the_job_that_has_it(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note("first"), job_id="a")

        second = client.enqueue(Note("second"), job_id="a")

        assert second.duplicate
        assert second.payload["text"] == "first"
        assert client.queue("work").stats().waiting == 1


def test_fifty_threads_with_one_job_id_make_one_job(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, ThreadPoolExecutor(50) as pool:
        jobs = list(pool.map(lambda n: client.enqueue(Note(str(n)), job_id="same"), range(50)))

        assert [job.duplicate for job in jobs].count(False) == 1
        assert client.queue("work").stats().waiting == 1


def test_fifty_threads_with_lost_replies_still_make_one_job(redis_url: str) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        client.load_functions()
        proxy.drop_reply(b"cgjobs1_enqueue", times=5)

        with ThreadPoolExecutor(50) as pool:
            jobs = list(pool.map(lambda n: client.enqueue(Note(str(n)), job_id="same"), range(50)))

        assert proxy.lost == 5
        assert [job.duplicate for job in jobs].count(False) == 1
        assert client.queue("work").stats().waiting == 1


@pytest.mark.parametrize("job_id", [None, "mine"])
def test_a_lost_reply_makes_no_second_job(redis_url: str, job_id: str | None) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        client.load_functions()
        proxy.drop_reply(b"cgjobs1_enqueue")

        job = client.enqueue(Note(), job_id=job_id)

        assert proxy.lost == 1
        assert not job.duplicate
        assert client.queue("work").stats().waiting == 1


@pytest.mark.parametrize("job_id", [None, "mine"])
@awaited
async def test_a_lost_reply_makes_no_second_job_when_the_first_has_ended_and_gone(
    redis_url: str, job_id: str | None
) -> None:
    async with at_work(redis_url) as work:
        with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
            client.load_functions()
            proxy.hold_reply(b"cgjobs1_enqueue")
            enqueueing = asyncio.create_task(asyncio.to_thread(client.enqueue, Note(), job_id=job_id))
            await _until_completed(work.client, 1)
            proxy.cut()
            proxy.release()

            job = await enqueueing

            assert not job.duplicate
            await work.client.wait(job)
        stats = await work.client.queue("work").stats()

    assert (stats.completed, stats.waiting, work.names().count("job_started")) == (1, 0, 1)


async def _until_completed(client: AsyncClient, number: int) -> None:
    from tests.jobs import until

    async def reached() -> bool:
        return (await client.queue("work").stats()).completed == number

    await until(reached)


def test_enqueueing_fails_within_two_seconds_when_nobody_answers(redis_url: str) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        client.load_functions()
        proxy.hold()
        begun = asyncio.new_event_loop()
        started = begun.time()

        with pytest.raises(BrokerUnavailable):
            client.enqueue(Note())

        assert 1.9 < begun.time() - started < 2.6
        begun.close()


@awaited
async def test_a_full_broker_refuses_new_jobs_while_workers_go_on(own_server: ServerFactory) -> None:
    server = own_server(maxmemory_policy="noeviction")
    settings = config(server.url, queues=[QueueConfig("work", concurrency=5)])
    async with AsyncClient(settings, registry()) as client:
        await client.enqueue_many([Note(str(number)) for number in range(50)])
        with raw(server.url) as redis:
            redis.config_set("maxmemory", "1mb")

        with pytest.raises(BrokerError, match="maxmemory"):
            await client.enqueue(Note())
        await Worker(settings, registry(), burst=True).run()

        stats = await client.queue("work").stats()
        assert (stats.completed, stats.waiting, stats.active) == (50, 0, 0)


def test_a_payload_over_the_limit_never_reaches_the_broker(redis_url: str) -> None:
    settings = config(redis_url, limits=LimitConfig(payload_bytes=100))
    with Client(settings, registry()) as client:
        with pytest.raises(InvalidPayload, match="100"):
            client.enqueue(Note("x" * 200))

        assert client.queue("work").stats().waiting == 0


def test_a_payload_its_class_refuses_is_named_by_field(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidPayload) as caught:
            client.enqueue_data("work.count", {"number": -1})

        assert [fault.path for fault in caught.value.faults] == ["number"]
        assert client.enqueue(Count(1)).payload["number"] == 1


def test_a_time_in_the_past_means_at_once(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue(Note(), at=datetime(2000, 1, 1, tzinfo=UTC))

        assert client.get(job.id).state is JobState.WAITING


def test_a_job_id_can_be_used_again_and_has_nothing_of_its_former_life(redis_url: str) -> None:
    settings = config(redis_url)
    with Client(settings, registry()) as client:
        client.enqueue(Note("first"), job_id="a")
        asyncio.run(Worker(settings, registry(), burst=True).run())
        assert client.wait("a") == "first"

        client.enqueue(Note("second"), job_id="a")

        assert client.get("a").result is None

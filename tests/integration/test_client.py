"""The client: what it waits for, what it finds, and how it says that something is wrong."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cgjobs import (
    AsyncClient,
    Client,
    Config,
    Context,
    Discard,
    InvalidOption,
    Job,
    JobFailed,
    JobNotFound,
    JobState,
    WaitTimeout,
    subtype,
)
from cgjobs.broker import moves, values
from cgjobs.broker.values import Settlement
from cgjobs.config import LimitConfig
from tests.jobs import Count, Note, at_work, awaited, config, raw, registry, until

HOUR = timedelta(hours=1)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(config(redis_url), registry()) as made:
        yield made


def settle(client: Client, kind: values.OutcomeKind, **facts: object) -> None:
    """Claim the next job and end it."""
    claim = moves.turn("w", (), {"work": 1}, lease=HOUR, largest=1 << 20)
    [claimed] = client._sender.send(claim).jobs
    ended = Settlement(kind, claimed, "work.note", **facts)  # type: ignore[arg-type]
    client._sender.send(moves.turn("w", [ended], {}, lease=HOUR, largest=1 << 20))


@awaited
async def test_waiting_gives_the_result_of_a_job_that_is_not_kept(redis_url: str) -> None:
    async with at_work(redis_url) as work:
        job = await work.client.enqueue(Note("hi"))

        assert await work.client.wait(job) == "hi"
        assert await work.client.wait(job.id) == "hi"
        with pytest.raises(JobNotFound, match="no longer kept"):
            await work.client.get(job.id)


def test_waiting_for_a_job_without_a_result_gives_none(client: Client) -> None:
    job = client.enqueue(Note())
    settle(client, "completed")

    assert client.wait(job) is None


def test_waiting_for_a_failed_job_says_why(client: Client) -> None:
    job = client.enqueue(Note())
    settle(client, "failed", error="ValueError: no")

    with pytest.raises(JobFailed) as caught:
        client.wait(job)

    assert (caught.value.job_id, caught.value.state, caught.value.reason) == (
        job.id,
        "failed",
        "ValueError: no",
    )


@awaited
async def test_who_waits_is_told_as_soon_as_the_job_ends(redis_url: str) -> None:
    go_on = asyncio.Event()

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> str:
        await go_on.wait()
        return "done"

    async with at_work(redis_url, handler) as work:
        job = await work.client.enqueue(Note())
        waiting = asyncio.create_task(work.client.wait(job))
        await until(lambda: "job_started" in work.names())
        await asyncio.sleep(0.05)
        ended = time.monotonic()
        go_on.set()

        assert await waiting == "done"
    assert time.monotonic() - ended < 0.7


@awaited
async def test_waiting_ends_when_the_job_fails_meanwhile(redis_url: str) -> None:
    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        await asyncio.sleep(0.05)
        raise Discard("nobody wants it")

    async with at_work(redis_url, handler) as work:
        with pytest.raises(JobFailed, match="nobody wants it"):
            await work.client.wait(await work.client.enqueue(Note()))


def test_waiting_has_an_end_and_the_job_goes_on(client: Client) -> None:
    job = client.enqueue(Note())

    with pytest.raises(WaitTimeout, match="is waiting after 200ms"):
        client.wait(job, timedelta(milliseconds=200))

    assert client.get(job.id).state is JobState.WAITING


def test_waiting_for_a_job_that_never_was_is_told_at_once(client: Client) -> None:
    client.enqueue(Note())

    with pytest.raises(JobNotFound, match="never enqueued"):
        client.wait("nobody")


def test_waiting_for_a_removed_job_is_told(client: Client) -> None:
    job = client.enqueue(Note())
    client.queue("work").remove(job.id)

    with pytest.raises(JobNotFound, match="It was removed"):
        client.wait(job)


def test_waiting_ends_when_the_job_is_removed_meanwhile(client: Client) -> None:
    job = client.enqueue(Note())
    removing = threading.Timer(0.1, client.queue("work").remove, [job.id])
    removing.start()

    with pytest.raises(JobNotFound, match="It was removed"):
        client.wait(job)

    removing.join()


def test_garbage_in_the_event_stream_hinders_nobody(client: Client, redis_url: str) -> None:
    with raw(redis_url) as behind:
        behind.xadd("cgjobs:events", {"events": "{"})
        behind.xadd("cgjobs:events", {"nothing": "1"})
    job = client.enqueue(Note())
    settle(client, "completed")

    assert client.wait(job) is None


def test_a_job_is_kept_as_long_as_it_was_asked_for(client: Client, redis_url: str) -> None:
    job = client.enqueue(Note(), keep_completed=timedelta(minutes=5))
    settle(client, "completed")

    with raw(redis_url) as behind:
        assert 298 <= behind.ttl(f"rq:job:{job.id}") <= 300
    assert client.get(job.id).state is JobState.COMPLETED


def test_one_client_serves_many_threads(client: Client) -> None:
    made: list[Job] = []
    threads = [
        threading.Thread(target=lambda: made.extend(client.enqueue(Note()) for _ in range(20)))
        for _ in range(8)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert client.queue("work").stats().waiting == len({job.id for job in made}) == 160


@awaited
async def test_one_asynchronous_client_serves_many_tasks(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        jobs = await asyncio.gather(*(client.enqueue(Note()) for _ in range(100)))

        assert (await client.queue("work").stats()).waiting == len({job.id for job in jobs}) == 100


@awaited
async def test_the_asynchronous_client_offers_the_same(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        job = await client.enqueue_data("work.count", {"number": 3}, job_id="a")
        jobs = await client.enqueue_many([Count(1), Count(2)])

        assert (await client.get("a")).payload == {"type": "count", "number": 3}
        assert not job.duplicate
        assert len(jobs) == 2
        assert await client.workers() == []
        with pytest.raises(JobNotFound):
            await client.get("nobody")
        with pytest.raises(WaitTimeout):
            await client.wait(job, timedelta(milliseconds=50))


def test_both_clients_offer_the_same_operations() -> None:
    def names(cls: type) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    assert names(Client) - names(AsyncClient) == {"load_functions"}
    assert names(AsyncClient) <= names(Client)


def test_without_arguments_a_client_reads_the_configuration_and_the_installed_plugins(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)

    with Client() as client:
        assert {"cleanup", "maintenance", "notification", "report"} <= set(client.queues())


def test_the_functions_can_be_loaded_beforehand(client: Client) -> None:
    assert client.load_functions().split()[0] in ("valkey", "redis")


def test_a_job_says_which_queue_it_is_in_by_configuration_alone(redis_url: str) -> None:
    with Client(Config.development(), registry()) as client:
        assert client.queue("report").name == "report"


def test_many_jobs_cannot_share_one_id(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidOption, match="one id"):
            client.enqueue_many([Note("a"), Note("b")], job_id="x")

        assert client.queue("work").stats().waiting == 0


def test_waiting_outlasts_a_broker_timeout_shorter_than_a_look(redis_url: str) -> None:
    hasty = config(redis_url, broker={"timeout": timedelta(milliseconds=300)})
    with Client(hasty, registry()) as client:
        job = client.enqueue(Note())

        with pytest.raises(WaitTimeout):
            client.wait(job, timedelta(seconds=1))


def test_a_payload_larger_than_the_usual_limit_is_seen_where_the_limit_is_raised(redis_url: str) -> None:
    generous = config(redis_url, limits=LimitConfig(payload_bytes=1024 * 1024))
    with Client(generous, registry()) as client:
        job = client.enqueue(Note("x" * 300_000), correlation_id="c")

        found = client.get(job.id)

    assert len(found.payload["text"]) == 300_000
    assert found.correlation_id == "c"


def test_the_result_of_a_former_run_is_not_that_of_a_retried_job(client: Client) -> None:
    job = client.enqueue(Note(), keep_completed=HOUR)
    settle(client, "completed", blob=base64.b64encode(b'"old"'))
    client.queue("work").retry(job.id)
    settle(client, "completed")

    assert client.get(job.id).result is None
    assert client.wait(job) is None

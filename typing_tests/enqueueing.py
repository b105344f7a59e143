"""What type-checks, and what must not, for programs that enqueue and manage jobs.

Only mypy reads this (``make check``). Each ``type: ignore`` is a mistake that it has to find: one that it
does not find any more is reported as an unused ignore.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

import attrs

from cgjobs import AsyncClient, Backoff, Client, Config, Job, JobState, Priority, QueueStats
from cgjobs.model import WorkerInfo


@attrs.frozen
class Invoice:
    customer_id: str
    amount: int = 0


def enqueue(client: Client) -> None:
    assert_type(client.enqueue(Invoice("c1")), Job)
    assert_type(client.enqueue_many([Invoice("c1"), Invoice("c2", amount=3)], attempts=2), list[Job])
    assert_type(client.enqueue_data("billing.invoice", {"customerId": "c1"}, delay=None), Job)
    client.enqueue(
        Invoice("c1", amount=12),
        delay=timedelta(hours=1),
        priority=Priority.HIGH,
        attempts=5,
        backoff=Backoff.fixed(timedelta(seconds=3)),
        timeout=timedelta(minutes=1),
        job_id="invoice-c1",
        correlation_id="request-7",
        keep_completed=timedelta(days=1),
        keep_failed=timedelta(days=30),
    )
    client.enqueue(Invoice("c1"), at=datetime.now(UTC), priority="low")


def enqueue_wrongly(client: Client) -> None:
    client.enqueue(Invoice())  # type: ignore[call-arg]
    client.enqueue(Invoice("c1", amount="12"))  # type: ignore[arg-type]
    client.enqueue(Invoice("c1", ammount=12))  # type: ignore[call-arg]
    client.enqueue(Invoice("c1"), delay=60)  # type: ignore[arg-type]
    client.enqueue(Invoice("c1"), delay="1h")  # type: ignore[arg-type]
    client.enqueue(Invoice("c1"), at="2026-01-31T12:00:00Z")  # type: ignore[arg-type]
    client.enqueue(Invoice("c1"), priority=1)  # type: ignore[arg-type]
    client.enqueue(Invoice("c1"), backoff=timedelta(seconds=3))  # type: ignore[arg-type]
    client.enqueue(Invoice("c1"), attemps=5)  # type: ignore[call-arg]
    client.enqueue()  # type: ignore[call-arg]
    client.enqueue_many(Invoice("c1"))  # type: ignore[arg-type]
    client.enqueue_data(Invoice("c1"), {})  # type: ignore[arg-type]
    client.enqueue_data("billing.invoice", [("customerId", "c1")])  # type: ignore[arg-type]


def manage(client: Client, job: Job) -> None:
    queue = client.queue("billing")
    assert_type(queue.name, str)
    assert_type(queue.get("1"), Job)
    assert_type(queue.find("1"), Job | None)
    assert_type(queue.jobs(JobState.FAILED, offset=10, limit=10), list[Job])
    assert_type(queue.retry("1"), Job)
    assert_type(queue.pause(), bool)
    assert_type(queue.resume(), bool)
    assert_type(queue.drain(delayed=True), int)
    assert_type(queue.stats(), QueueStats)
    assert_type(queue.stats().waiting, int)
    assert_type(client.queues(), dict[str, QueueStats])
    assert_type(client.workers(), list[WorkerInfo])
    assert_type(client.get(job.id), Job)
    client.wait(job, timedelta(seconds=3))
    client.wait(job.id)
    with Client(Config.development()) as entered:
        assert_type(entered, Client)


def manage_wrongly(client: Client, job: Job) -> None:
    queue = client.queue("billing")
    queue.get(job)  # type: ignore[arg-type]
    assert queue.find("1").state  # type: ignore[union-attr]
    queue.jobs("failed")  # type: ignore[arg-type]
    queue.jobs(JobState.FAILED, 10, 10)  # type: ignore[call-arg]
    queue.drain(True)  # type: ignore[call-arg]
    queue.stats().paused = True  # type: ignore[misc]
    client.wait(job, 3)  # type: ignore[arg-type]
    client.addJob("billing", {})  # type: ignore[attr-defined]
    job.state = JobState.WAITING  # type: ignore[misc]
    Client("redis://localhost")  # type: ignore[arg-type]


async def enqueue_async(client: AsyncClient) -> None:
    assert_type(await client.enqueue(Invoice("c1"), delay=timedelta(hours=1)), Job)
    assert_type(await client.enqueue_many([Invoice("c1")]), list[Job])
    assert_type(await client.queue("billing").find("1"), Job | None)
    assert_type(await client.queue("billing").stats(), QueueStats)
    async with AsyncClient() as entered:
        assert_type(entered, AsyncClient)


async def enqueue_async_wrongly(client: AsyncClient) -> None:
    await client.enqueue(Invoice("c1"), delay=60)  # type: ignore[arg-type]
    client.enqueue(Invoice("c1"))  # type: ignore[unused-coroutine]
    await client.queue("billing").get(1)  # type: ignore[arg-type]
    with AsyncClient():  # type: ignore[attr-defined]
        pass

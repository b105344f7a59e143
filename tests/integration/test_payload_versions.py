"""Payloads that changed while jobs were queued: upcasters, and jobs newer than their worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import orjson

from cgjobs import Client, Context, Job, JobState, subtype
from cgjobs.codec import Codec
from cgjobs.worker import Worker
from tests.jobs import PATIENCE, at_work, awaited, config, raw, registry, until

PATIENT = timedelta(seconds=PATIENCE)


@attrs.frozen
class Euros:
    """Version 1."""

    amount: float


@attrs.frozen
class Money:
    """Version 3."""

    cents: int
    currency: str


@subtype("work.pay")
async def pay_1(payload: Euros, ctx: Context) -> str:
    """Pay."""
    return f"{payload.amount:g} euros"


def to_cents(old: dict[str, Any]) -> dict[str, Any]:
    """From version 1 to 2."""
    return {"cents": round(old["amount"] * 100)}


def to_currency(old: dict[str, Any]) -> dict[str, Any]:
    """From version 2 to 3."""
    return old | {"currency": "EUR"}


@subtype("work.pay", version=3, upcasters={1: to_cents, 2: to_currency})
async def pay_3(payload: Money, ctx: Context) -> str:
    """Pay."""
    return f"{payload.cents} {payload.currency} {dict(ctx.job.payload)} {ctx.job.payload_version}"


@subtype("work.pay", version=2, upcasters={1: lambda old: {"cents": int(old["x" + old["who"]])}})
async def pay_badly(payload: Money, ctx: Context) -> None:
    """Its upcaster raises."""


def envelope(redis_url: str, job: Job) -> dict[str, Any]:
    with raw(redis_url) as server:
        stored: dict[str, Any] = orjson.loads(str(server.hget(f"rq:job:{job.id}", "data")))[2][0]
        return stored


@awaited
async def test_a_job_of_an_older_version_is_upcast_step_by_step(redis_url: str) -> None:
    with Client(config(redis_url), registry(pay_1)) as old:
        job = old.enqueue(Euros(12.5))

    async with at_work(redis_url, pay_3) as new:
        result = await new.client.wait(job)

    assert result == "1250 EUR {'cents': 1250, 'currency': 'EUR'} 3"


def test_version_1_adds_nothing_to_what_is_stored(redis_url: str) -> None:
    with Client(config(redis_url), registry(pay_1)) as old, Client(config(redis_url), registry(pay_3)) as new:
        first, third = old.enqueue(Euros(1)), new.enqueue(Money(1, "EUR"))

        assert "payloadVersion" not in envelope(redis_url, first)
        assert envelope(redis_url, third)["payloadVersion"] == 3
        assert (new.get(first.id).payload_version, third.payload_version) == (1, 3)
        assert new.get(first.id).payload == {"type": "pay", "amount": 1.0}, "as it is stored"


@awaited
async def test_a_job_newer_than_its_worker_is_held_until_a_worker_of_that_version_is_there(
    redis_url: str,
) -> None:
    with Client(config(redis_url), registry(pay_3)) as client:
        job = client.enqueue(Money(5, "CHF"), attempts=3)
        async with at_work(redis_url, pay_1) as old:
            await until(lambda: "job_held" in old.names(job.id))
            held = client.get(job.id)
            async with at_work(redis_url, pay_3) as new:
                result = await new.client.wait(job, PATIENT)

    assert (held.state, held.held, held.attempt) == (JobState.HELD, "version:work.pay:3", 1)
    assert held.held_reason == "its payload has version 3, this worker knows 1"
    assert result.startswith("5 CHF")


@awaited
async def test_after_a_downgrade_old_jobs_go_on_and_newer_ones_stay_held(redis_url: str) -> None:
    with Client(config(redis_url), registry(pay_3)) as client:
        newer = client.enqueue(Money(5, "CHF"))
    with Client(config(redis_url), registry(pay_1)) as client:
        older = client.enqueue(Euros(2), keep_completed=timedelta(hours=1))

        await Worker(config(redis_url), registry(pay_1), burst=True).run()
        await Worker(config(redis_url), registry(pay_1), burst=True).run()

        assert client.get(older.id).result == "2 euros"
        assert client.get(newer.id).state is JobState.HELD


@awaited
async def test_an_upcaster_that_raises_fails_the_job_for_good_and_tells_no_value(redis_url: str) -> None:
    with Client(config(redis_url), registry(pay_1)) as client:
        job = client.enqueue(Euros(1), attempts=5)
        with raw(redis_url) as server:
            data = Codec().pack("work.pay", {"type": "pay", "who": "hunter2"}, "c")
            server.hset(f"rq:job:{job.id}", "data", data)

        await Worker(config(redis_url), registry(pay_badly), burst=True).run()

        failed = client.get(job.id)
    assert (failed.state, failed.attempt) == (JobState.FAILED, 1)
    [error] = failed.errors
    assert "its upcaster from version 1 to 2 raised KeyError" in error.error
    assert "work.pay" in error.error
    assert "hunter2" not in error.error


@awaited
async def test_a_result_of_an_upcaster_is_validated_like_any_payload(redis_url: str) -> None:
    with Client(config(redis_url), registry(pay_1)) as client:
        job = client.enqueue(Euros(1))
        wrong = subtype("work.pay", version=2, upcasters={1: lambda old: {"cents": "many"}})(pay_3.handler)

        await Worker(config(redis_url), registry(wrong), burst=True).run()

        [error] = client.get(job.id).errors
    assert "cents" in error.error
    assert "currency" in error.error

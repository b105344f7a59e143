"""Row 22: each reply of the broker takes six seconds, three times as long as `redis.timeout` allows."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import AsyncClient, Context, Processor, subtype
from cgjobs.plugins import Registry
from cgjobs.worker import Worker
from tests.integration.test_leases import counted
from tests.jobs import AT_ONCE, Note, awaited, config, registry, running, until
from tests.proxy import Proxy

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]
DELAY = 6.0
LEASE = 20
FAST: dict[str, Any] = {"lease": timedelta(seconds=4), "reap_interval": timedelta(milliseconds=200)}


@awaited
async def test_a_worker_that_may_wait_so_long_keeps_its_lease_and_runs_each_job_once(redis_url: str) -> None:
    """`redis.timeout` is longer than a reply takes, and its lease outlasts three."""
    started: dict[str, float] = {}
    runs: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        runs.append(payload.text)
        started[payload.text] = time.monotonic()
        if payload.text == "long":  # until a lease that is not renewed would have ended
            await until(lambda: time.monotonic() > started["long"] + LEASE + 2)

    with Proxy(redis_url) as proxy:
        slow = {"timeout": timedelta(seconds=5 * DELAY)}  # a new connection asks three times
        settings = config(proxy.url, broker=slow, lease=timedelta(seconds=LEASE))
        provided = registry(handler, processors=[Processor("work", concurrency=5, backoff=AT_ONCE)])
        near = config(redis_url, lease=timedelta(seconds=LEASE))
        async with AsyncClient(near, provided) as client, running(Worker(settings, provided)):
            await client.wait(await client.enqueue(Note("first")))
            proxy.delay(DELAY)
            asked = time.monotonic()
            await client.enqueue_many([Note(name) for name in ("a", "b", "long")])

            async def done() -> bool:
                return (await client.queue("work").stats()).completed == 4

            await until(done)
            proxy.delay(0.0)
            lost = [await counted(client, name) for name in ("recovered", "stale")]

    assert sorted(runs) == ["a", "b", "first", "long"]
    assert lost == [0, 0]
    # The end of a wait, and perhaps a new connection (three replies) and the claim again: 18 s were seen.
    assert max(started[name] for name in ("a", "b", "long")) - asked < 5 * DELAY


@awaited
async def test_a_worker_that_may_not_wait_so_long_starts_nothing_and_another_does(redis_url: str) -> None:
    """With `redis.timeout` as it is a reply that takes so long is none: what was claimed goes to another."""
    runs: list[tuple[str, str]] = []

    def by(name: str) -> Registry:
        @subtype("work.note")
        async def handler(payload: Note, ctx: Context) -> None:
            runs.append((payload.text, name))

        return registry(handler, processors=[Processor("work", concurrency=5, backoff=AT_ONCE)])

    with Proxy(redis_url) as proxy:
        near, provided = config(redis_url, **FAST), by("near")
        far_away = Worker(config(proxy.url, **FAST), by("far"))
        async with AsyncClient(near, provided) as client, running(far_away) as far:
            await client.wait(await client.enqueue(Note("first")))
            proxy.delay(DELAY)
            await client.enqueue_many([Note(name) for name in "abc"])
            await until(lambda: not far._ready())

            began = time.monotonic()
            async with running(Worker(near, provided)):
                await until(lambda: len(runs) == 4)
                took = time.monotonic() - began
            proxy.delay(0.0)
            await until(lambda: far._ready())
            await client.wait(await client.enqueue(Note("last")))
            stats = await client.queue("work").stats()

    assert sorted(runs) == [("a", "near"), ("b", "near"), ("c", "near"), ("first", "far"), ("last", "far")]
    assert (stats.completed, stats.active, stats.waiting) == (5, 0, 0)
    assert took < FAST["lease"].total_seconds() + 10

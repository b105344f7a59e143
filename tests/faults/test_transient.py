"""Troubles of the broker that pass: no job fails by them, none runs twice, and work goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
import time_machine

from cgjobs import AsyncClient, Client, Context, JobNotFound, JobStateError, Processor, subtype
from cgjobs.broker import moves
from cgjobs.broker.values import Settlement
from cgjobs.worker import Worker
from tests.conftest import ServerFactory
from tests.jobs import AT_ONCE, Note, at_work, awaited, config, raw, registry, running, until
from tests.proxy import Proxy

QUICK: dict[str, Any] = {"timeout": timedelta(milliseconds=300)}


def read_only(admin: redis.Redis) -> Callable[[], object]:
    """A replica, as after a failover; of a primary that is not there."""
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    return lambda: admin.execute_command("REPLICAOF", "NO", "ONE")


def without_replicas(admin: redis.Redis) -> Callable[[], object]:
    admin.config_set("min-replicas-to-write", 1)
    return lambda: admin.config_set("min-replicas-to-write", 0)


def busy(admin: redis.Redis) -> Callable[[], object]:
    """An endless script."""
    admin.config_set("lua-time-limit", 50)

    def forever() -> None:
        with contextlib.suppress(redis.RedisError), raw(url_of(admin)) as other:
            other.eval("while true do end", 0)

    threading.Thread(target=forever, daemon=True).start()
    return lambda: admin.execute_command("SCRIPT", "KILL")


def out_of_connections(admin: redis.Redis) -> Callable[[], object]:
    admin.config_set("maxclients", 1)
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    return lambda: admin.config_set("maxclients", 1000)


def url_of(admin: redis.Redis) -> str:
    given = admin.connection_pool.connection_kwargs
    return f"redis://{given['host']}:{given['port']}/0"


@pytest.mark.parametrize("trouble", [read_only, without_replicas, busy, out_of_connections])
@awaited
async def test_a_trouble_that_passes_fails_no_job_and_runs_none_twice(
    own_server: ServerFactory, trouble: Callable[[redis.Redis], Callable[[], object]]
) -> None:
    """Row 24."""
    server, runs = own_server(), []
    ended = asyncio.Event()

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        runs.append(payload.text)
        await ended.wait()

    with raw(server.url) as admin:
        admin.ping()
        async with at_work(server.url, handler, settings=config(server.url, broker=QUICK)) as work:
            await work.client.enqueue_many([Note("a"), Note("b")])
            await until(lambda: len(runs) == 2)
            mend = await asyncio.to_thread(trouble, admin)
            ended.set()  # while their outcomes cannot be settled
            await until(lambda: "broker_lost" in work.names())
            mend()

            async def done() -> bool:
                return (await work.client.queue("work").stats()).completed == 2

            await until(done)
            await work.client.wait(await work.client.enqueue(Note("c")))
            stats = await work.client.queue("work").stats()

    assert runs == ["a", "b", "c"]
    assert (stats.completed, stats.failed, stats.active) == (3, 0, 0)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 3.0])
@awaited
async def test_a_slow_broker_costs_time_and_no_second_run(redis_url: str, seconds: float) -> None:
    """Row 22: the slowest is slower than `redis.timeout`, and is quick again after a while."""
    runs: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        runs.append(payload.text)

    with Proxy(redis_url) as proxy:
        provided = registry(handler, processors=[Processor("work", concurrency=5)])
        settings = config(proxy.url, lease=timedelta(seconds=10))
        async with AsyncClient(config(redis_url), provided) as client, running(Worker(settings, provided)):
            await client.enqueue_many([Note(str(number)) for number in range(20)])
            await until(lambda: runs)
            proxy.delay(seconds)
            await client.enqueue_many([Note(str(number)) for number in range(20, 30)])
            await asyncio.sleep(min(seconds * 2, 3.0))
            proxy.delay(0.0)

            async def done() -> bool:
                return (await client.queue("work").stats()).completed == 30

            await until(done)

    assert sorted(runs, key=int) == [str(number) for number in range(30)]


@pytest.mark.parametrize("minutes", [-10, 10])
@awaited
async def test_a_workers_wrong_clock_matters_to_no_job(redis_url: str, minutes: int) -> None:
    """Row 26: leases and due times are the broker's."""
    runs: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        runs.append(payload.text)
        await asyncio.sleep(0.3 if payload.text == "long" else 0)

    fast: dict[str, Any] = {"lease": timedelta(seconds=1), "reap_interval": timedelta(milliseconds=50)}
    provided = registry(handler, processors=[Processor("work", concurrency=3, backoff=AT_ONCE)])
    with time_machine.travel(time.time() + 60 * minutes, tick=True):
        async with (
            AsyncClient(config(redis_url), provided) as client,
            running(Worker(config(redis_url, **fast), provided)),
            running(Worker(config(redis_url, **fast), provided)),
        ):
            began = time.monotonic()
            await client.enqueue(Note("later"), delay=timedelta(milliseconds=500))
            await client.enqueue(Note("long"))
            await until(lambda: "later" in runs)
            waited = time.monotonic() - began

            async def done() -> bool:
                return (await client.queue("work").stats()).completed == 2

            await until(done)

    assert sorted(runs) == ["later", "long"]
    assert 0.5 <= waited < 5


@pytest.mark.parametrize("seed", range(5))
def test_a_job_that_is_cancelled_or_removed_while_everything_happens_to_it_has_one_end(
    redis_url: str, seed: int
) -> None:
    """Row 44: queued, delayed, running and racing the promoter, by many threads at once."""
    rng = random.Random(seed)
    provided = registry()
    with Client(config(redis_url), provided) as client, raw(redis_url) as behind:
        delays = [rng.choice([None, timedelta(milliseconds=rng.randrange(1, 30))]) for _ in range(40)]
        jobs = [client.enqueue(Note(), delay=delay, keep_completed=timedelta(hours=1)) for delay in delays]
        ended: list[str] = []

        def operate(jobs: list[Any], move: str) -> None:
            for job in jobs:
                with contextlib.suppress(JobNotFound, JobStateError):
                    getattr(client.queue("work"), move)(job.id)
                    ended.append(job.id)

        def work() -> None:
            for _ in range(60):
                client._sender.send(moves.promote(["work"]))
                call = moves.turn("w", (), {"work": 3}, lease=timedelta(minutes=1), largest=1 << 20)
                outcomes = [Settlement("completed", job) for job in client._sender.send(call).jobs]
                if outcomes:
                    call = moves.turn("w", outcomes, {}, lease=timedelta(minutes=1), largest=1 << 20)
                    client._sender.send(call)

        shuffled = [rng.sample(jobs, len(jobs)) for _ in range(3)]
        threads = [
            threading.Thread(target=operate, args=(shuffled[0], "cancel")),
            threading.Thread(target=operate, args=(shuffled[1], "remove")),
            threading.Thread(target=operate, args=(shuffled[2], "cancel")),
            threading.Thread(target=work),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        work()

        places: dict[str, list[str]] = {job.id: [] for job in jobs}
        for kind in ("finished", "canceled", "failed", "scheduled"):
            for member in behind.zrange(f"rq:{kind}:work", 0, -1):
                places[str(member)].append(kind)
        for member in behind.lrange("rq:queue:work", 0, -1):
            places[str(member)].append("queued")
        hashes = {job.id: behind.hget(f"rq:job:{job.id}", "status") for job in jobs}
        assert behind.zcard("rq:wip:work") == behind.zcard("cgjobs:leases") == 0

    for job_id, found in places.items():
        assert len(found) <= 1, found
        assert hashes[job_id] == (found[0] if found else None)
        assert found in ([], ["finished"], ["canceled"])

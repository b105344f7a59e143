"""A broker that forgets, evicts, refuses or is asked too much at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cgjobs import (
    AsyncClient,
    BrokerUnsupported,
    Client,
    Context,
    Cron,
    Event,
    JobState,
    Processor,
    Slot,
    subtype,
)
from cgjobs.broker import moves, reads
from cgjobs.broker.call import Call
from cgjobs.broker.values import Claimed, Settlement
from cgjobs.errors import BrokerDenied, BrokerUnavailable, InvalidOption
from cgjobs.link import Link
from cgjobs.operations import batches
from cgjobs.options import JobOptions
from cgjobs.plugins import Registry
from cgjobs.scheduler import Scheduler
from cgjobs.worker import Worker
from tests.cli import command_line
from tests.conftest import ServerFactory
from tests.jobs import Note, at_work, awaited, config, note, raw, redis_config, registry, until

FAST: dict[str, Any] = {"lease": timedelta(seconds=1), "reap_interval": timedelta(milliseconds=100)}
SLOT = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


# Row 15: it forgets


@pytest.mark.parametrize("how", ["restarted without persistence", "flushed"])
@awaited
async def test_a_broker_that_lost_its_data_raises_an_alarm_and_leaves_no_phantoms(
    own_server: ServerFactory, how: str
) -> None:
    """Row 15."""
    server, go_on = own_server(), asyncio.Event()

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> str:
        if payload.text == "first":
            await go_on.wait()
        return payload.text

    settings = config(server.url, broker={"timeout": timedelta(milliseconds=300)}, **FAST)
    async with at_work(server.url, handler, settings=settings) as work:
        job = await work.client.enqueue(Note("first"))
        await until(lambda: "job_started" in work.names())
        if how == "flushed":
            with raw(server.url) as behind:
                behind.flushall()
        else:
            server.kill()
            server.start()
        lost = time.monotonic()
        await until(lambda: "data_loss_suspected" in work.names())
        took = time.monotonic() - lost
        go_on.set()
        await until(lambda: "job_stale" in work.names(job.id))
        with raw(server.url) as behind:
            phantoms = behind.keys("rq:job:*")
        known = await until(work.client.workers)
        assert await work.client.wait(await work.client.enqueue(Note("again"))) == "again"
        counted = await work.client._sender.send(reads.metrics())
        await asyncio.sleep(0.8)

    assert took < 4
    assert phantoms == []
    assert [worker.name for worker in known] == [work.worker.name]
    assert counted["data_lost"] == 1
    assert work.names().count("data_loss_suspected") == 1


@awaited
async def test_a_broker_that_kept_its_data_raises_no_alarm(own_server: ServerFactory) -> None:
    """Row 15."""
    server = own_server(appendonly="yes", appendfsync="always")
    settings = config(server.url, broker={"timeout": timedelta(milliseconds=300)}, **FAST)
    async with at_work(server.url, settings=settings) as work:
        await work.client.wait(await work.client.enqueue(Note()))
        server.kill()
        server.start()
        await work.client.wait(await work.client.enqueue(Note()))
        with raw(server.url) as behind:
            behind.delete(f"rq:worker:{work.worker.name}")  # as if it had been silent too long
        await until(work.client.workers)

    assert "data_loss_suspected" not in work.names()


@awaited
async def test_schedules_go_on_after_the_broker_lost_its_data(redis_url: str) -> None:
    """Row 15: schedules come from the configuration; what they fired is history."""
    processor = Processor("work", schedule=Cron("* * * * *"), on_schedule=lambda slot: [Note("a")])
    provided = registry(note, processors=[processor])
    scheduler = Scheduler(config(redis_url), provided)
    await scheduler.fire("work", SLOT)
    with raw(redis_url) as behind:
        behind.flushall()
        behind.function_flush()

    assert await scheduler.fire("work", SLOT + timedelta(minutes=1))
    await scheduler.close()
    with Client(config(redis_url), provided) as client:
        assert client.queue("work").stats().waiting == 1


# Row 17: it evicts


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
@awaited
async def test_a_worker_refuses_a_broker_that_throws_jobs_away(
    own_server: ServerFactory, policy: str
) -> None:
    """Row 17."""
    server = own_server(maxmemory_policy=policy)

    with pytest.raises(BrokerUnsupported, match=f"maxmemory-policy {policy}: when it is full it throws jobs"):
        await Worker(config(server.url), registry(), burst=True).run()


@awaited
async def test_a_worker_may_be_told_to_accept_it(own_server: ServerFactory) -> None:
    """Row 17."""
    server = own_server(maxmemory_policy="allkeys-lru")
    settings = config(server.url, broker={"allow_eviction": True})
    with Client(settings, registry()) as client:
        client.enqueue(Note())
        await Worker(settings, registry(), burst=True).run()

        assert client.queue("work").stats().completed == 1


def test_the_command_says_what_is_wrong_and_doctor_shows_it(
    own_server: ServerFactory, tmp_path: Any, capsys: Any, monkeypatch: Any
) -> None:
    """Row 17."""
    server = own_server(maxmemory_policy="allkeys-lru")
    cgjobs = command_line(tmp_path, capsys, monkeypatch, server.url)

    worker, doctor = cgjobs("worker", "--burst"), cgjobs("doctor")

    assert worker.code == 3
    assert "redis.allow_eviction = true" in worker.err
    assert doctor.code == 1
    assert "maxmemory-policy is allkeys-lru" in doctor.out


# Row 23: it refuses


class Refusing:
    """A link to a broker that answers whatever is wanted."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = 0.0
        self.link = Link(
            redis_config("redis://127.0.0.1:1"),
            self.events.append,
            random.Random(1),
            clock=lambda: self.now,
        )

    def told(self) -> list[str]:
        return [event.error or event.name for event in self.events]


def test_the_reason_is_told_again_each_minute_and_when_it_changes() -> None:
    """Row 23: a wrong password must not look like an outage."""
    refusing = Refusing()
    away, denied = BrokerUnavailable("away"), BrokerDenied("refused")
    for now, error in ((0, away), (1, away), (2, denied), (30, denied), (61, denied), (62, denied)):
        refusing.now = float(now)
        refusing.link._lost(error)
    assert refusing.link.trouble == "refused"
    refusing.now = 125.0
    refusing.link._lost(denied)
    refusing.link._reached()

    assert refusing.told() == ["away", "refused", "refused", "refused", "broker_back"]
    assert refusing.link.connected


@awaited
async def test_a_password_that_was_changed_is_named_not_shown_and_recovered_from(
    own_server: ServerFactory,
) -> None:
    """Row 23: the old and the new password may both hold for a while."""
    server = own_server()
    with raw(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "w", "on", ">old-secret", "~*", "&*", "+@all")
        broker = {"username": "w", "password": "old-secret", "timeout": timedelta(milliseconds=300)}
        async with at_work(server.url, settings=config(server.url, broker=broker)) as work:
            await work.client.wait(await work.client.enqueue(Note()))
            admin.execute_command("ACL", "SETUSER", "w", ">new-secret")
            admin.execute_command("CLIENT", "KILL", "USER", "w")
            await work.client.wait(await work.client.enqueue(Note()))  # the old one still holds
            admin.execute_command("ACL", "SETUSER", "w", "<old-secret")
            admin.execute_command("CLIENT", "KILL", "USER", "w")
            await until(lambda: any("refused" in event.error for event in work.events))
            assert not work.worker._ready()
            assert "Check the user, the password and its ACL" in work.worker._trouble()
            admin.execute_command("ACL", "SETUSER", "w", ">old-secret")
            back = time.monotonic()
            await until(lambda: work.worker._ready())
            took = time.monotonic() - back
            await work.client.wait(await work.client.enqueue(Note()))

    assert took < 7
    assert not any("secret" in event.error + event.detail for event in work.events)


@awaited
async def test_a_right_that_was_taken_away_fails_no_job(own_server: ServerFactory) -> None:
    """Row 23."""
    server = own_server()
    with raw(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "w", "on", ">secret", "~*", "&*", "+@all")
        away = config(server.url, broker={"username": "w", "password": "secret"})
        async with at_work(server.url, settings=away) as work:
            await work.client.wait(await work.client.enqueue(Note()))
            admin.execute_command("ACL", "SETUSER", "w", "-fcall")
            async with AsyncClient(config(server.url), registry()) as other:
                job = await other.enqueue(Note("later"))
                await until(lambda: any("permission" in event.error.lower() for event in work.events))
                admin.execute_command("ACL", "SETUSER", "w", "+fcall")

                assert await other.wait(job) == "later"
            stats = await work.client.queue("work").stats()

    assert (stats.completed, stats.failed) == (2, 0)


# Settling again


def test_a_settle_that_is_sent_again_refuses_the_same(redis_url: str) -> None:
    """Row 21: who sends it again must not report as completed what was refused."""
    with Client(config(redis_url), registry()) as client:
        client.load_functions()
        gone = Claimed("work", "gone", "token", b"", 0, 0, 0, "", "normal", "", "")
        call = moves.turn("w", [Settlement("completed", gone)], {}, lease=timedelta(1), largest=1)

        first = client._sender.send(call)
        second = client._sender.send(Call(call.again, call.parse))

    assert first.refused == second.refused == ("gone",)


# A slot of many jobs


def many(count: int) -> Registry:
    def on_schedule(slot: Slot) -> Iterator[Note]:
        return (Note(f"{slot.at:%H:%M} {number}") for number in range(count))

    processor = Processor("work", schedule=Cron("* * * * *"), on_schedule=on_schedule)
    return registry(note, processors=[processor])


@awaited
async def test_a_slot_of_many_jobs_comes_in_parts_and_each_job_once(redis_url: str) -> None:
    """Row 41."""
    provided = many(1700)
    schedulers = [Scheduler(config(redis_url), provided) for _ in range(3)]

    fired = await asyncio.gather(*(scheduler.fire("work", SLOT) for scheduler in schedulers))

    for scheduler in schedulers:
        await scheduler.close()
    with Client(config(redis_url), provided) as client, raw(redis_url) as behind:
        waiting = client.queue("work").jobs(JobState.WAITING, limit=5000)
        record = behind.hgetall("cgjobs:schedule:work")
    assert sum(fired) == 1
    assert sorted(int(str(job.payload["text"]).split()[1]) for job in waiting) == list(range(1700))
    assert (record["jobs"], record["fires"]) == ("1700", "1")
    assert "part" not in record


@awaited
async def test_a_slot_that_a_dead_scheduler_has_begun_is_finished_by_another(redis_url: str) -> None:
    """Row 41 and 29: where it stopped, also when those jobs have run meanwhile."""
    provided = many(1200)
    first, second = (Scheduler(config(redis_url), provided) for _ in range(2))
    prepared = first._jobs("work", SLOT)
    begun = await first._sender.send(
        moves.fire("work", SLOT, "", [new for new, _ in prepared[:500]], last=False)
    )
    await first.close()
    await Worker(config(redis_url), provided, burst=True).run()

    fired = await second.fire("work", SLOT)

    await second.close()
    with Client(config(redis_url), provided) as client:
        stats = client.queue("work").stats()
    assert (begun.state, begun.jobs) == ("begun", 500)
    assert fired
    assert (stats.completed, stats.waiting) == (500, 700)


@awaited
async def test_fifty_thousand_jobs_of_one_slot_go_to_the_broker_in_parts(redis_url: str) -> None:
    """Row 41: how long a part takes is measured by a benchmark, not here."""
    scheduler = Scheduler(config(redis_url, broker={"timeout": timedelta(seconds=60)}), many(50_000))
    with raw(redis_url) as behind:
        behind.config_resetstat()
        fired = await scheduler.fire("work", SLOT)
        calls = behind.info("commandstats")["cmdstat_fcall"]["calls"]
        waiting = behind.llen("rq:queue:work")
    await scheduler.close()

    assert fired
    assert 100 <= calls <= 105
    assert waiting == 50_000


def test_large_jobs_make_small_batches(redis_url: str) -> None:
    """Row 41."""
    with Client(config(redis_url), registry()) as client:
        prepared = [client.operations.new_job(Note("x" * size), JobOptions()) for size in [200_000] * 12]
        sizes = [len(batch) for batch in batches(prepared)]

    assert sizes == [5, 5, 2]


# Options


def test_a_queue_without_a_place_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"concurrency\.work: 0 is below 1"):
        Worker(config("redis://127.0.0.1:1"), registry(), concurrency={"work": 0})

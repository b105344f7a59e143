"""Limits over the whole fleet: rates, caps on what runs, what handlers are told, full queues and brokers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from cgjobs import (
    BrokerFull,
    Client,
    Config,
    Context,
    JobState,
    QueueFull,
    Rate,
    RateLimited,
    Subtype,
    subtype,
)
from cgjobs.broker import Sender, moves
from cgjobs.broker.values import Claimed, Settlement, Turn, claim_limits
from cgjobs.client import AsyncClient
from cgjobs.config import LimitConfig, QueueConfig
from cgjobs.model import Backoff
from cgjobs.processor import Processor
from cgjobs.scheduler import Scheduler
from cgjobs.worker import Worker
from tests.conftest import ServerFactory
from tests.jobs import (
    AT_ONCE,
    PATIENCE,
    Count,
    Note,
    awaited,
    config,
    raw,
    redis_config,
    registry,
    running,
    until,
)

HOUR = timedelta(hours=1)
KEPT = {"keep_completed": HOUR, "backoff": AT_ONCE}


def limited(**limits: Any) -> QueueConfig:
    """The queue ``work`` with these limits; its completed jobs are kept."""
    return QueueConfig("work", **{"concurrency": 10, "attempts": 3, **KEPT, **limits})


class Hand:
    """Makes the moves of workers by hand."""

    def __init__(self, url: str, queue: QueueConfig) -> None:
        self.queue = queue
        self.sender = Sender(redis_config(url))
        self.client = Client(config(url, queues=[queue]), registry())

    def turn(self, n: int, outcomes: Sequence[Settlement] = (), lease: timedelta = HOUR) -> Turn:
        limits = {"work": claim_limits(self.queue)} if self.queue.is_limited else {}
        call = moves.turn("w", outcomes, {"work": n}, limits=limits, lease=lease, largest=1 << 20)
        return self.sender.send(call)

    def claim(self, n: int) -> list[Claimed]:
        return list(self.turn(n).jobs)

    def close(self) -> None:
        self.sender.close()
        self.client.close()


@contextlib.contextmanager
def by_hand(url: str, **limits: Any) -> Iterator[Hand]:
    hand = Hand(url, limited(**limits))
    try:
        yield hand
    finally:
        hand.close()


@contextlib.asynccontextmanager
async def two_workers(settings: Config, *subtypes: Subtype[Any, Any]) -> AsyncIterator[AsyncClient]:
    """Two workers of one fleet at work, and a client."""
    provided = registry(*subtypes, processors=[Processor("work"), Processor("other")])
    async with (
        AsyncClient(settings, provided) as client,
        running(Worker(settings, provided)),
        running(Worker(settings, provided)),
    ):
        yield client


def starts(broker: redis.Redis, ids: Sequence[str]) -> list[str]:
    """When jobs started, by the server's clock, as RQ writes it, in order."""
    return sorted(str(broker.hget(f"rq:job:{job_id}", "started_at")) for job_id in ids)


def busiest(broker: redis.Redis, ids: Sequence[str], window: timedelta) -> int:
    """The most starts in any window of this length."""
    times = [_seconds(text) for text in starts(broker, ids)]
    return max(sum(first <= time < first + window.total_seconds() for time in times) for first in times)


def _seconds(text: str) -> float:
    hours, minutes, seconds = text.partition("T")[2].rstrip("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


# Rates


def test_a_claim_takes_as_many_jobs_as_the_rate_allows_and_the_rest_waits_in_its_order(
    redis_url: str,
) -> None:
    with by_hand(redis_url, rate=Rate(3, HOUR)) as hand:
        jobs = hand.client.enqueue_many(Note(str(number)) for number in range(5))

        turn = hand.turn(10)

        assert [claimed.id for claimed in turn.jobs] == [job.id for job in jobs[:3]]
        assert turn.left == {}
        assert timedelta(minutes=59) < turn.later["work"] <= HOUR
        assert hand.turn(10).jobs == ()
        assert hand.client.queue("work").stats().waiting == 2


def test_a_rate_of_which_something_is_left_wakes_the_next_worker(redis_url: str) -> None:
    with by_hand(redis_url, rate=Rate(3, HOUR)) as hand, raw(redis_url) as broker:
        hand.client.enqueue_many(Note() for _ in range(5))

        turn = hand.turn(2)

        assert (turn.left, turn.later) == ({"work": 3}, {})
        assert broker.llen("cgjobs:wake:work") == 1


def test_a_job_that_was_handed_back_has_used_its_start(redis_url: str) -> None:
    with by_hand(redis_url, rate=Rate(1, HOUR)) as hand:
        hand.client.enqueue(Note())
        [claimed] = hand.claim(1)

        turn = hand.turn(1, [Settlement("return", claimed)])

        assert turn.jobs == ()
        assert "work" in turn.later


def test_starts_that_lie_ahead_since_the_clock_was_set_back_do_not_hold_a_queue(redis_url: str) -> None:
    with by_hand(redis_url, rate=Rate(1, HOUR)) as hand, raw(redis_url) as broker:
        broker.rpush("cgjobs:starts:work", "garbage", "9" * 16)
        hand.client.enqueue(Note())

        assert len(hand.claim(1)) == 1


def test_a_rate_that_was_lowered_counts_what_started_before(redis_url: str) -> None:
    with by_hand(redis_url, rate=Rate(5, HOUR)) as hand:
        hand.client.enqueue_many(Note() for _ in range(9))
        hand.claim(5)
        hand.queue = limited(rate=Rate(2, HOUR))

        assert hand.claim(5) == []

        hand.queue = limited(rate=Rate(7, HOUR))
        assert len(hand.claim(5)) == 2


@awaited
async def test_two_workers_keep_to_one_rate_and_lose_nothing(redis_url: str) -> None:
    rate = Rate(4, timedelta(seconds=0.4))

    @subtype("work.note")
    async def work(payload: Note, ctx: Context) -> None: ...

    async with two_workers(config(redis_url, queues=[limited(rate=rate)]), work) as client:
        jobs = await client.enqueue_many(Note(str(number)) for number in range(18))
        for job in jobs:
            await client.wait(job)

    with raw(redis_url) as broker:
        assert busiest(broker, [job.id for job in jobs], rate.window) == 4


@awaited
async def test_a_queue_that_waits_for_its_rate_does_not_keep_another_one_waiting(redis_url: str) -> None:
    @subtype("work.note")
    async def slow(payload: Note, ctx: Context) -> None: ...

    @subtype("other.count")
    async def other(payload: Count, ctx: Context) -> None: ...

    async with two_workers(config(redis_url, queues=[limited(rate=Rate(1, HOUR))]), slow, other) as client:
        await client.enqueue_many(Note() for _ in range(5))
        for job in await client.enqueue_many(Count() for _ in range(20)):
            await client.wait(job)

        assert (await client.queue("work").stats()).waiting == 4


@awaited
async def test_a_worker_asks_again_when_the_rate_allows_it_and_not_before(redis_url: str) -> None:
    settings = config(redis_url, queues=[limited(rate=Rate(1, timedelta(seconds=1)))])
    async with two_workers(settings) as client:
        first, second = await client.enqueue_many([Note(), Note()])
        await client.wait(first)
        with raw(redis_url) as broker:
            before = _claims(broker)
            await client.wait(second)

            assert _claims(broker) - before <= 25  # a busy loop would make hundreds


def _claims(broker: redis.Redis) -> int:
    """How often the server was asked to claim: each asks for the queue's state once."""
    return int(broker.info("commandstats")["cmdstat_hmget"]["calls"])


@pytest.mark.parametrize("seed", range(5))
def test_in_no_window_start_more_jobs_than_the_rate_allows_and_none_is_lost(
    redis_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    rate = Rate(chance.randint(1, 5), timedelta(milliseconds=chance.randint(5, 40)))
    with by_hand(redis_url, rate=rate) as hand, raw(redis_url) as broker:
        jobs, running, done = [], [], set[str]()
        while len(done) < 40:
            if len(jobs) < 40 and chance.random() < 0.5:
                jobs += hand.client.enqueue_many(
                    Note() for _ in range(min(chance.randint(1, 4), 40 - len(jobs)))
                )
            ended, running = running[:2], running[2:]
            turn = hand.turn(chance.randint(0, 6), [Settlement("completed", item) for item in ended])
            done |= {item.id for item in ended}
            running += turn.jobs

        assert {job.id for job in jobs} == done
        assert busiest(broker, sorted(done), rate.window) <= rate.count


# Caps on what runs


def test_no_more_run_than_may_whoever_asks_and_a_place_is_free_when_one_ends(redis_url: str) -> None:
    with by_hand(redis_url, max_running=2) as hand, raw(redis_url) as broker:
        hand.client.enqueue_many(Note() for _ in range(5))
        first, second = hand.claim(10)
        broker.delete("cgjobs:wake:work")

        turn = hand.turn(10)
        assert (turn.jobs, turn.left, turn.later) == ((), {}, {})
        assert broker.llen("cgjobs:wake:work") == 0

        turn = hand.turn(0, [Settlement("completed", first)])
        assert (turn.jobs, broker.llen("cgjobs:wake:work")) == ((), 1)
        assert len(hand.claim(10)) == 1
        assert second.id


def test_the_places_of_a_killed_worker_are_free_when_its_leases_end(redis_url: str) -> None:
    with by_hand(redis_url, max_running=2) as hand, raw(redis_url) as broker:
        hand.client.enqueue_many(Note() for _ in range(5))
        held = {item.id for item in hand.claim(10)}
        for member in broker.zrange("cgjobs:leases", 0, -1):
            broker.zadd("cgjobs:leases", {str(member): 1})
        broker.delete("cgjobs:wake:work")

        hand.sender.send(moves.reap(max_crashes=3))

        assert broker.llen("cgjobs:wake:work") == 1
        assert {item.id for item in hand.claim(10)} == held


@awaited
async def test_two_workers_run_no_more_at_once_than_the_queue_may(redis_url: str) -> None:
    now, most = 0, 0

    @subtype("work.note")
    async def work(payload: Note, ctx: Context) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1

    async with two_workers(config(redis_url, queues=[limited(max_running=2)]), work) as client:
        for job in await client.enqueue_many(Note() for _ in range(30)):
            await client.wait(job)

    assert most == 2


# Told by a handler


def refusing(kind: str, after: timedelta) -> tuple[Subtype[Any, Any], list[str]]:
    """A handler that meets a rate limit the first time, and the texts of the jobs that came to it."""
    seen: list[str] = []

    def act(text: str) -> None:
        seen.append(text)
        if len(seen) == 1:
            raise RateLimited(after)

    if kind == "async def":

        @subtype("work.note")
        async def handler(payload: Note, ctx: Context) -> None:
            act(payload.text)

        return handler, seen

    @subtype("work.note")
    def plain(payload: Note, ctx: Context) -> None:
        act(payload.text)

    return plain, seen


@pytest.mark.parametrize("kind", ["async def", "def"])
@awaited
async def test_a_handler_that_meets_a_rate_limit_holds_its_queue_and_uses_up_no_attempt(
    redis_url: str, kind: str
) -> None:
    handler, seen = refusing(kind, HOUR)
    settings = config(redis_url, queues=[limited(concurrency=1)])
    async with two_workers(settings, handler) as client:
        first = await client.enqueue(Note("first"))
        await until(lambda: seen)

        async def held() -> bool:
            return (await client.queue("work").stats()).limited_until is not None

        await until(held)
        second = await client.enqueue(Note("second"))
        back = await client.get(first.id)
        assert (back.state, back.attempt) == (JobState.WAITING, 1)
        assert seen == ["first"]

        assert await client.queue("work").resume()
        await client.wait(first)
        await client.wait(second)
        assert not await held()

    assert (seen[0], sorted(seen)) == ("first", ["first", "first", "second"])


@awaited
async def test_a_held_queue_goes_on_by_itself_when_the_time_is_over(redis_url: str) -> None:
    handler, seen = refusing("async def", timedelta(seconds=0.2))
    async with two_workers(config(redis_url, queues=[limited()]), handler) as client:
        job = await client.enqueue(Note())
        await client.wait(job, timeout=timedelta(seconds=4))

    assert len(seen) == 2


def test_a_shorter_limit_does_not_end_a_longer_one(redis_url: str) -> None:
    with by_hand(redis_url) as hand:
        hand.client.enqueue_many([Note(), Note()])
        first, second = hand.claim(2)

        for job, delay in ((first, HOUR), (second, timedelta(seconds=1))):
            turn = hand.turn(1, [Settlement("limited", job, delay=delay, group="queue")])

        assert turn.later["work"] > timedelta(minutes=59)


def test_a_limit_has_a_scope() -> None:
    with pytest.raises(ValueError, match="neither 'queue' nor 'key'"):
        RateLimited(HOUR, scope="all")  # type: ignore[arg-type]


# Full queues


def test_an_enqueue_into_a_full_queue_is_refused_and_nothing_of_it_is_done(redis_url: str) -> None:
    with by_hand(redis_url, max_length=3) as hand:
        hand.client.enqueue(Note(), delay=HOUR)
        hand.client.enqueue(Note())

        with pytest.raises(QueueFull, match="2 of at most 3 jobs wait") as full:
            hand.client.enqueue_many([Note(), Note()])

        assert isinstance(full.value, OverflowError)
        assert (full.value.queue, full.value.added) == ("work", ())
        stats = hand.client.queue("work").stats()
        assert (stats.waiting, stats.delayed) == (1, 1)
        hand.client.enqueue(Note())


def test_what_would_add_nothing_is_not_refused(redis_url: str) -> None:
    with by_hand(redis_url, max_length=1) as hand:
        first = hand.client.enqueue(Note(), unique="k")

        assert hand.client.enqueue(Note(), unique="k").id == first.id
        assert hand.client.enqueue(Note(), job_id=first.id).duplicate


def test_many_jobs_are_added_in_several_calls_and_the_error_names_those_that_were(redis_url: str) -> None:
    with by_hand(redis_url, max_length=700) as hand:
        with pytest.raises(QueueFull) as full:
            hand.client.enqueue_many(Note() for _ in range(1000))

        assert len(full.value.added) == 500
        assert hand.client.queue("work").stats().waiting == 500


def test_retries_and_jobs_handed_back_go_into_a_full_queue(redis_url: str) -> None:
    with by_hand(redis_url, max_length=1) as hand:
        first = hand.client.enqueue(Note())
        [claimed] = hand.claim(1)
        hand.client.enqueue(Note())

        hand.turn(0, [Settlement("failed", claimed)])
        hand.client.queue("work").retry(first.id)

        assert hand.client.queue("work").stats().waiting == 2


@awaited
async def test_a_slot_of_a_schedule_that_is_refused_is_fired_when_there_is_room(redis_url: str) -> None:
    queue = limited(max_length=1)
    provided = registry(
        processors=[Processor("work", on_schedule=lambda slot: [Note("scheduled")], schedule=None)]
    )
    settings = config(redis_url, queues=[queue])
    scheduler = Scheduler(settings, provided)
    slot = datetime(2026, 1, 1, tzinfo=UTC)
    async with AsyncClient(settings, provided) as client:
        await client.enqueue(Note())
        with pytest.raises(QueueFull):
            await scheduler.fire("work", slot)
        await client.queue("work").drain()

        assert await scheduler.fire("work", slot)
        assert (await client.queue("work").stats()).waiting == 1
    await scheduler.close()


# Full brokers


@awaited
async def test_a_broker_without_memory_refuses_producers_while_workers_drain_it(
    own_server: ServerFactory,
) -> None:
    server = own_server()
    settings = config(server.url, queues=[limited(keep_completed=timedelta(0))])
    async with AsyncClient(settings, registry()) as client:
        await client.enqueue_many(Note(str(number)) for number in range(300))
        with raw(server.url) as broker:
            broker.config_set("maxmemory", int(broker.info("memory")["used_memory"]) // 2)

            with pytest.raises(BrokerFull):
                await client.enqueue(Note())
            first, *_ = await client.queue("work").jobs(JobState.WAITING)
            assert (await client.get(first.id)).state is JobState.WAITING
            with Client(settings, registry()) as blocking:
                assert blocking.get(first.id).state is JobState.WAITING
            await Worker(settings, registry(), burst=True).run()

        stats = await client.queue("work").stats()
        assert (stats.waiting, stats.active, stats.completed) == (0, 0, 300)


def test_producers_are_refused_before_the_memory_is_used_up(own_server: ServerFactory) -> None:
    server = own_server()
    with raw(server.url) as broker, Client(config(server.url), registry()) as client:
        client.enqueue(Note(), job_id="one")
        broker.setrange("ballast", 20_000_000, "x")  # without a large buffer of the connection
        used = int(broker.info("memory")["used_memory"])
        broker.config_set("maxmemory", int(used / 0.85))
        roomy = config(server.url, limits=LimitConfig(memory_share=0.99))

        with pytest.raises(BrokerFull, match="kept for the workers"):
            _until_refused(client)
        with Client(roomy, registry()) as other:
            other.enqueue(Note())


def _until_refused(client: Client) -> None:
    """The server looks at its memory once a second."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        client.enqueue(Note(), job_id="one")


# Storms


@awaited
async def test_a_storm_of_retries_keeps_to_the_rate_and_leaves_another_queue_alone(redis_url: str) -> None:
    rate = Rate(20, timedelta(seconds=0.2))

    @subtype("work.note")
    async def failing(payload: Note, ctx: Context) -> None:
        raise OSError("down")

    @subtype("other.count")
    async def other(payload: Count, ctx: Context) -> None: ...

    queue = limited(rate=rate, attempts=1000, backoff=Backoff.fixed(timedelta(0), jitter=0))
    async with two_workers(config(redis_url, queues=[queue]), failing, other) as client:
        await client.enqueue_many(Note() for _ in range(1000))
        loop = asyncio.get_running_loop()
        began = loop.time()
        for job in await client.enqueue_many(Count() for _ in range(50)):
            await client.wait(job)
        took = loop.time() - began
        with raw(redis_url) as broker:
            tried = int(broker.hget("cgjobs:metrics", "retried|work|work.note") or 0)

    assert took < 5
    assert tried <= (took / 0.2 + 2) * 20

"""What happened in each hour, as workers keep it in the broker."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from cgjobs import (
    AsyncClient,
    Client,
    Context,
    Cron,
    Discard,
    InvalidOption,
    Processor,
    Slot,
    keys,
    subtype,
)
from cgjobs.broker import Sender, hours, moves
from cgjobs.history import GROWTH, Histogram, JobHour
from cgjobs.recorder import bucket
from cgjobs.scheduler import Scheduler
from cgjobs.worker import Worker
from tests.jobs import AT_ONCE, Count, Note, awaited, config, note, raw, redis_config, registry, server_time
from tests.proxy import Proxy

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def sender(redis_url: str) -> Iterator[Sender]:
    made = Sender(redis_config(redis_url))
    yield made
    made.close()


def now() -> datetime:
    return datetime.now(UTC)


def burst(url: str, *subtypes: Any) -> None:
    asyncio.run(Worker(config(url), registry(*subtypes), burst=True).run())


def work(client: Client) -> JobHour:
    return client.history(now() - HOUR).by_name()["work.note"]


def test_what_ended_is_counted_by_how_it_ended(redis_url: str) -> None:
    @subtype("work.note")
    def varied(payload: Note, ctx: Context) -> None:
        if payload.text == "bad":
            raise Discard("no")
        if payload.text == "again" and ctx.job.attempt == 1:
            raise ConnectionError("refused")

    with Client(config(redis_url), registry(varied)) as client:
        client.enqueue_many([Note("a"), Note("b"), Note("bad"), Note("again")], attempts=2, backoff=AT_ONCE)
        burst(redis_url, varied)
        burst(redis_url, varied)  # what is tried again was delayed, if for no time

        found = work(client)

    assert (found.queue, found.name) == ("work", "work.note")
    assert (found.enqueued, found.started, found.completed, found.failed, found.retried) == (4, 5, 3, 1, 1)
    assert found.errors == {"Discard": 1, "ConnectionError": 1}
    assert (found.wait.count, found.run.count) == (5, 5)
    assert timedelta(0) < found.busy < timedelta(seconds=30)


def test_waits_and_runs_are_measured(redis_url: str) -> None:
    @subtype("work.note")
    async def slow(payload: Note, ctx: Context) -> None:
        await asyncio.sleep(0.2)

    with Client(config(redis_url), registry(slow)) as client, raw(redis_url) as broker:
        job = client.enqueue(Note())
        ago = datetime.fromtimestamp(float(broker.time()[0]) - 600, UTC)
        stamp = f"{ago:%Y-%m-%dT%H:%M:%S.%fZ}"
        broker.hset(keys.job(job.id), mapping={"created_at": stamp, "enqueued_at": stamp})
        burst(redis_url, slow)

        found = work(client)

    assert found.wait.percentile(50) == pytest.approx(timedelta(seconds=600), rel=0.11)
    assert found.wait.mean == pytest.approx(timedelta(seconds=600), abs=timedelta(seconds=30))
    assert timedelta(seconds=0.18) < (found.run.percentile(95) or HOUR) < timedelta(seconds=10)
    assert found.busy >= timedelta(seconds=0.2)


def test_a_job_counts_as_enqueued_once_and_in_its_hour(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        job = client.enqueue(Note())
        then = now() - 30 * HOUR
        broker.hset(keys.job(job.id), "created_at", f"{then:%Y-%m-%dT%H:%M:%S.%fZ}")
        burst(redis_url)
        client.enqueue(Note(), keep_completed=HOUR, job_id="kept")
        burst(redis_url)
        client.queue("work").retry("kept")
        burst(redis_url)

        found = [hour for hour in client.history(now() - 2 * DAY).jobs if hour.name == "work.note"]

    assert found[0].start == then.replace(minute=0, second=0, microsecond=0)
    assert found[0].enqueued == 1
    assert sum(hour.enqueued for hour in found) == 2
    assert sum(hour.completed for hour in found) == 3


def test_jobs_whose_worker_died_are_counted_as_lost(redis_url: str, sender: Sender) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        client.enqueue(Note())
        sender.send(moves.turn("dead", (), {"work": 1}, lease=HOUR, largest=1 << 20))
        for member in broker.zrange(keys.LEASES, 0, -1):
            broker.zadd(keys.LEASES, {str(member): 1})
        settings = attrs.evolve(config(redis_url).worker, reap_interval=timedelta(milliseconds=20))
        chosen = attrs.evolve(config(redis_url), worker=settings)

        async def serve() -> None:
            worker = Worker(chosen, registry())
            running = asyncio.create_task(worker.run())
            deadline = time.monotonic() + 30
            while client.queue("work").stats().completed < 1 and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            worker.stop()
            await running

        asyncio.run(serve())
        history = client.history(now() - HOUR)

    assert history.by_queue()["work"].lost == 1
    # it was not ready all the time since it was enqueued, so its wait is not measured
    assert history.by_name()["work.note"].wait.count == 0


def test_the_places_of_workers_and_their_load_are_known(redis_url: str) -> None:
    @subtype("work.note")
    async def slow(payload: Note, ctx: Context) -> None:
        await asyncio.sleep(0.5)

    with Client(config(redis_url), registry(slow)) as client:
        client.enqueue_many([Note()] * 2)
        asyncio.run(Worker(config(redis_url), registry(slow), burst=True, concurrency={"work": 2}).run())
        history = client.history(now() - HOUR)

    queue, jobs = history.by_queue()["work"], history.by_name()["work.note"]
    assert queue.slots >= 2 * timedelta(seconds=0.5)
    assert timedelta(seconds=1) <= jobs.busy <= queue.slots + timedelta(seconds=0.5)


def test_a_write_whose_reply_is_lost_counts_once(redis_url: str) -> None:
    hour = int(now().timestamp() // 3600)
    with Proxy(redis_url) as proxy:
        sender = Sender(redis_config(proxy.url))
        sender.load_functions()
        proxy.drop_reply(b"cgjobs1_history")

        sender.send(hours.record({(hour, "work", "work.note"): {"completed": 3}}, {}, DAY))
        sender.close()
        assert proxy.lost == 1

    with Client(config(redis_url), registry()) as client:
        assert work(client).completed == 3


def test_only_so_many_classes_of_errors_are_kept_of_an_hour(redis_url: str, sender: Sender) -> None:
    cell = (int(now().timestamp() // 3600), "work", "work.note")
    for n in range(30):
        sender.send(hours.record({cell: {f"e:Error{n}": 1}}, {}, DAY))
    sender.send(hours.record({cell: {"e:Error0": 1}}, {}, DAY))

    with Client(config(redis_url), registry()) as client:
        errors = work(client).errors

    assert len(errors) == 21
    assert (errors["Error0"], errors["other"]) == (2, 10)


def test_hours_go_when_their_time_is_over(redis_url: str, sender: Sender) -> None:
    hour = int(now().timestamp() // 3600)
    adds = {(hour - n, "work", "work.note"): {"completed": 1} for n in (0, 10, 30)}
    sender.send(hours.record(adds, {}, DAY))

    with raw(redis_url) as broker, Client(config(redis_url), registry()) as client:
        assert 23 * 3600 < broker.ttl(keys.history(f"{hour}:work:work.note")) <= 25 * 3600
        assert not broker.exists(keys.history(f"{hour - 30}:work:work.note"))
        assert client.history(now() - 3 * DAY).by_name()["work.note"].completed == 2


def test_what_strangers_wrote_is_set_aside_or_counts_as_nothing(redis_url: str, sender: Sender) -> None:
    hour = int(now().timestamp() // 3600)
    key = keys.history(f"{hour}:work:work.note")
    with raw(redis_url) as broker, Client(config(redis_url), registry()) as client:
        broker.set(key, "x")
        broker.set(keys.HISTORY, "x")
        sender.send(hours.record({(hour, "work", "work.note"): {"completed": 1}}, {}, DAY))
        assert work(client).completed == 1
        broker.hset(key, mapping={"completed": "many", "w999": "1", "wx": "1", "e:": "7", "r3": "-1"})
        broker.zadd(keys.HISTORY, {"nonsense": hour, "a|b|c": 1e300})

        found = work(client)

    assert (found.completed, found.wait.count, found.run.count) == (0, 0, 0)


def test_with_zero_nothing_is_recorded(redis_url: str) -> None:
    off = attrs.evolve(config(redis_url).worker, history=timedelta(0))
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        client.enqueue(Note())
        chosen = attrs.evolve(config(redis_url), worker=off)
        asyncio.run(Worker(chosen, registry(), burst=True).run())

        assert client.queue("work").stats().completed == 1
        assert list(broker.scan_iter("cgjobs:history*")) == []


@pytest.mark.parametrize("percent", [0, 1, 50, 95, 99, 100])
def test_percentiles_are_right_within_ten_percent(percent: int) -> None:
    rng = random.Random(7)
    values = sorted(rng.lognormvariate(0, 2) for _ in range(5000))
    counts: dict[int, int] = {}
    for seconds in values:
        n = int(bucket("r", int(seconds * 1e6))[1:])
        counts[n] = counts.get(n, 0) + 1

    found = Histogram(counts).percentile(percent)

    exact = values[max(0, -(-len(values) * percent // 100) - 1)]
    assert found is not None
    assert found.total_seconds() == pytest.approx(exact, rel=0.1, abs=0.001)


def test_histograms_can_be_added_and_an_empty_one_has_no_percentile() -> None:
    one, other = Histogram({3: 1}, HOUR), Histogram({3: 1, 9: 2}, HOUR)

    assert one + other == Histogram({3: 2, 9: 2}, 2 * HOUR)
    assert (one + other).mean == HOUR / 2
    assert Histogram().percentile(50) is None
    assert Histogram().mean is None
    assert GROWTH**0.5 < 1.1
    with pytest.raises(ValueError, match="percent"):
        one.percentile(101)


@pytest.mark.parametrize(
    ("since", "until"),
    [(datetime(2026, 1, 1), None), (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))],  # noqa: DTZ001
)
def test_a_span_that_is_none_is_refused(redis_url: str, since: datetime, until: datetime | None) -> None:
    with Client(config(redis_url), registry()) as client, pytest.raises(InvalidOption, match="history"):
        client.history(since, until)


@awaited
async def test_an_asynchronous_client_reads_the_same(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        await client.enqueue_many([Note(), Count(1)])
        await Worker(config(redis_url), registry(), burst=True).run()

        history = await client.history(now() - HOUR, queue="work")

        assert history.by_name()["work.note"].completed == 1
        assert (await client.history(now() - HOUR, queue="other")).jobs == ()


@awaited
async def test_how_late_a_schedule_was_fired_is_known(redis_url: str) -> None:
    def on_schedule(slot: Slot) -> Iterator[Note]:
        if slot.at.minute % 2:
            raise Discard("nothing to do")
        yield Note()

    with raw(redis_url) as broker:
        time_there = datetime.fromtimestamp(server_time(broker), UTC)
    processor = Processor("work", schedule=Cron("* * * * *"), on_schedule=on_schedule)
    scheduler = Scheduler(config(redis_url), registry(note, processors=[processor]))
    first = time_there.replace(second=0, microsecond=0) - timedelta(minutes=20 + time_there.minute % 2)
    for slot in (first, first + timedelta(minutes=1)):
        assert await scheduler.fire("work", slot)
        assert not await scheduler.fire("work", slot)
    await scheduler.close()

    async with AsyncClient(config(redis_url), registry()) as client:
        found = (await client.history(now() - HOUR)).by_queue()["work"]

    assert (found.fires, found.skipped, found.lateness.count) == (1, 1, 2)
    assert found.lateness.mean == pytest.approx(timedelta(minutes=20.5), abs=timedelta(minutes=2))

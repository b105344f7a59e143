"""Schedules: each slot once, however many schedulers run, whatever their clocks say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import time_machine

from cgjobs import BrokerDenied, Cron, Discard, Event, Processor, Slot
from cgjobs.broker import Sender, reads
from cgjobs.client import Client
from cgjobs.plugins import Registry
from cgjobs.scheduler import Scheduler, schedules, view
from tests.jobs import PATIENCE, Note, awaited, config, note, raw, registry, until

EVERY_MINUTE = Cron("* * * * *")
SLOT = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@attrs.frozen
class Account:
    password: str = attrs.field(repr=False)


def nightly(slot: Slot) -> Iterator[Note]:
    yield Note(f"for {slot.at:%H:%M}")
    yield Note("another")


def scheduled(on_schedule: Any = nightly, events: list[Event] | None = None) -> Registry:
    processor = Processor("work", schedule=EVERY_MINUTE, on_schedule=on_schedule)
    return registry(note, processors=[processor], events=events)


@asynccontextmanager
async def a_scheduler(url: str, provided: Registry, **broker: Any) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(config(url, broker=broker), provided)
    try:
        yield scheduler
    finally:
        await scheduler.close()


@asynccontextmanager
async def running(url: str, provided: Registry) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(config(url), provided)
    task = asyncio.create_task(scheduler.run())
    try:
        yield scheduler
    finally:
        scheduler.stop()
        await task


def just_before_a_slot() -> time_machine.travel:
    """An hour ago, 0.3 s before the minute was full."""
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    return time_machine.travel(minute - timedelta(hours=1, seconds=0.3), tick=True)


@awaited
async def test_a_fire_enqueues_the_payloads_that_on_schedule_yields(redis_url: str) -> None:
    events: list[Event] = []
    provided = scheduled(events=events)

    async with a_scheduler(redis_url, provided) as scheduler:
        fired = await scheduler.fire("work", SLOT)

    assert fired
    with Client(config(redis_url), provided) as client:
        assert client.queue("work").stats().waiting == 2
    assert [event.name for event in events] == ["schedule_fired", "job_enqueued", "job_enqueued"]


@awaited
async def test_three_schedulers_at_once_enqueue_each_slot_once(redis_url: str) -> None:
    provided = scheduled()
    slots = [SLOT + timedelta(minutes=minute) for minute in range(20)]

    async with (
        a_scheduler(redis_url, provided) as one,
        a_scheduler(redis_url, provided) as two,
        a_scheduler(redis_url, provided) as three,
    ):
        fired = [
            await asyncio.gather(*(each.fire("work", slot) for each in (one, two, three))) for slot in slots
        ]

    assert [sum(answers) for answers in fired] == [1] * 20
    with Client(config(redis_url), provided) as client:
        assert client.queue("work").stats().waiting == 2 * 20


@awaited
async def test_a_slot_before_the_last_one_is_not_fired_any_more(redis_url: str) -> None:
    async with a_scheduler(redis_url, scheduled()) as scheduler:
        await scheduler.fire("work", SLOT)

        fired = await scheduler.fire("work", SLOT - timedelta(minutes=1))

    assert not fired


@awaited
async def test_a_running_scheduler_fires_when_the_slot_is_due(redis_url: str) -> None:
    provided = scheduled()

    with just_before_a_slot():
        async with running(redis_url, provided):
            with Client(config(redis_url), provided) as client:
                await until(lambda: client.queue("work").stats().waiting == 2)


@asynccontextmanager
async def stopped_while_it_fires(url: str) -> AsyncIterator[threading.Event]:
    """A scheduler that is told to stop while it fires a slot, which goes on once the event is set."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly(slot: Slot) -> Iterator[Note]:
        begun.set()
        go_on.wait(PATIENCE)
        yield Note()

    with just_before_a_slot():
        scheduler = Scheduler(config(url), scheduled(slowly))
        task = asyncio.create_task(scheduler.run())
        await until(begun.is_set)
        scheduler.stop()
        yield go_on
        await task
    go_on.set()


@awaited
async def test_a_slot_that_is_being_fired_at_the_stop_is_fired_to_its_end(redis_url: str) -> None:
    async with stopped_while_it_fires(redis_url) as go_on:
        asyncio.get_running_loop().call_later(0.05, go_on.set)

    with Client(config(redis_url), scheduled()) as client:
        assert client.queue("work").stats().waiting == 1


@awaited
async def test_a_slot_that_takes_longer_than_the_grace_period_is_left_to_the_next_fire(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cgjobs.scheduler._GRACE", timedelta(seconds=0.05))

    async with stopped_while_it_fires(redis_url):
        pass

    with Client(config(redis_url), scheduled()) as client:
        assert client.queue("work").stats().waiting == 0
    assert caplog.text == ""


@awaited
async def test_a_host_whose_clock_is_ahead_waits_for_the_brokers(redis_url: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.4)

    async with a_scheduler(redis_url, scheduled()) as scheduler:
        fired = await scheduler.fire("work", soon)

    assert fired
    assert datetime.now(UTC) >= soon


@awaited
async def test_a_scheduler_that_was_down_over_a_slot_makes_up_for_the_latest_one(redis_url: str) -> None:
    provided = scheduled()
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    async with a_scheduler(redis_url, provided) as scheduler:
        await scheduler.fire("work", now - timedelta(hours=3))

    async with running(redis_url, provided):
        with Client(config(redis_url), provided) as client:
            await until(lambda: client.queue("work").stats().waiting == 4)


@awaited
async def test_a_schedule_that_was_never_fired_has_nothing_to_make_up_for(redis_url: str) -> None:
    async with a_scheduler(redis_url, scheduled()) as scheduler:
        await scheduler._catch_up("work")

    with raw(redis_url) as broker:
        assert broker.hgetall("cgjobs:schedule:work") == {}


@awaited
async def test_a_schedule_with_nothing_to_do_says_why_and_counts_as_fired(redis_url: str) -> None:
    def nothing(slot: Slot) -> Iterator[Note]:
        raise Discard("no age is configured")
        yield

    events: list[Event] = []

    async with a_scheduler(redis_url, scheduled(nothing, events)) as scheduler:
        fired = await scheduler.fire("work", SLOT)

    assert fired
    assert [(event.name, event.error) for event in events] == [("schedule_skipped", "no age is configured")]
    with raw(redis_url) as broker:
        assert broker.hget("cgjobs:schedule:work", "note") == "no age is configured"
        assert broker.hget("cgjobs:schedule:work", "jobs") == "0"


@awaited
async def test_a_plugins_mistake_costs_its_own_slot_only(redis_url: str) -> None:
    def broken(slot: Slot) -> Iterator[Note]:
        yield Note(text=7)  # type: ignore[arg-type]

    events: list[Event] = []

    async with a_scheduler(redis_url, scheduled(broken, events)) as scheduler:
        await scheduler.fire("work", SLOT)
        await scheduler.fire("work", SLOT + timedelta(minutes=1))

    assert [event.name for event in events] == ["schedule_skipped", "schedule_skipped"]
    assert "InvalidPayload" in events[0].error


@awaited
async def test_a_slot_that_is_due_while_the_broker_is_away_is_fired_when_it_is_back(own_server: Any) -> None:
    server = own_server(appendonly="yes")
    provided = scheduled()
    server.kill()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cgjobs.scheduler._RETRY", timedelta(seconds=0.05))
        async with a_scheduler(server.url, provided, timeout=timedelta(seconds=0.2)) as scheduler:
            tick = asyncio.create_task(scheduler._tick("work"))
            done, _ = await asyncio.wait([tick], timeout=0.5)
            assert not done
            server.start()

            await asyncio.wait_for(tick, 10)
    with Client(config(server.url), provided) as client:
        assert client.queue("work").stats().waiting == 2


def test_the_configured_schedule_wins_over_the_plugins_and_can_be_switched_off(redis_url: str) -> None:
    provided = scheduled()
    base = config(redis_url)

    assert schedules(base, provided) == {"work": EVERY_MINUTE}
    assert schedules(attrs.evolve(base, schedules={"work": Cron("@daily")}), provided) == {
        "work": Cron("@daily")
    }
    assert schedules(attrs.evolve(base, unscheduled=frozenset({"work"})), provided) == {}


@awaited
async def test_a_schedule_shows_its_last_slot_and_the_next_five(redis_url: str) -> None:
    async with a_scheduler(redis_url, scheduled()) as scheduler:
        await scheduler.fire("work", SLOT)
    sender = Sender(config(redis_url).redis)

    shown = view("work", Cron("@daily"), sender.send(reads.schedule("work")), SLOT)

    sender.close()
    assert shown.last_slot == SLOT
    assert shown.jobs == 2
    assert shown.fired_at is not None
    assert [fire.day for fire in shown.next_fires] == [25, 26, 27, 28, 29]


def test_a_schedule_that_never_fired_shows_so() -> None:
    shown = view("work", Cron("@daily"), {}, SLOT)

    assert (shown.last_slot, shown.fired_at, shown.jobs, shown.note) == (None, None, 0, "")


@awaited
async def test_a_scheduler_says_when_the_broker_is_away_and_when_it_is_back(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    monkeypatch.setattr("cgjobs.scheduler._RETRY", timedelta(milliseconds=50))
    answers = iter([BrokerDenied("wrong password"), BrokerDenied("wrong password"), None])

    async def attempt() -> None:
        if error := next(answers):
            raise error

    async with a_scheduler(redis_url, scheduled(events=events)) as scheduler:
        await scheduler._persist(attempt)

    assert [(event.name, event.error, event.detail) for event in events] == [
        ("broker_lost", "wrong password", "scheduler"),
        ("broker_back", "", "scheduler"),
    ]


@awaited
async def test_what_a_schedule_raises_is_noted_in_one_line_without_secrets(redis_url: str) -> None:
    def fails(slot: Slot) -> Iterator[Note]:
        raise ValueError(f"cannot\nlog in with {slot.settings(Account).password} \udc80")

    events: list[Event] = []
    provided = attrs.evolve(scheduled(fails, events), settings={Account: Account("canary")})

    async with a_scheduler(redis_url, provided) as scheduler:
        assert await scheduler.fire("work", SLOT)

    assert [event.error for event in events] == ["ValueError: cannot log in with ******** \\udc80"]


@pytest.mark.parametrize("record", [{"slot": "9" * 18, "jobs": "many"}, {"slot": "x", "fired_at": "y"}])
def test_garbage_in_a_schedules_record_is_shown_as_nothing(record: dict[str, str]) -> None:
    seen = view("work", EVERY_MINUTE, record, SLOT)

    assert (seen.last_slot, seen.fired_at, seen.jobs) == (None, None, 0)

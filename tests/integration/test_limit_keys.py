"""Limits for the jobs of one key: others pass, none is lost, the order within a key is kept."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import attrs
import pytest

from cgjobs import Client, Context, Rate, subtype
from cgjobs.broker import moves
from cgjobs.broker.values import Settlement
from tests.integration.test_limits import HOUR, busiest, by_hand, limited, two_workers
from tests.jobs import Note, awaited, config, raw, registry


@attrs.frozen
class Mail:
    """A payload with something to make a key of."""

    user_id: str
    text: str = ""


def test_jobs_of_a_busy_key_are_held_and_those_of_other_keys_pass(redis_url: str) -> None:
    with by_hand(redis_url, key_concurrency=1) as hand:
        a = hand.client.enqueue_many((Note() for _ in range(4)), limit_key="a")
        b = hand.client.enqueue(Note(), limit_key="b")
        free = hand.client.enqueue(Note())

        claimed = hand.claim(10)
        assert [item.id for item in claimed] == [a[0].id, b.id, free.id]
        assert hand.claim(10) == []
        assert hand.client.queue("work").stats().waiting == 3

        order = [claimed[0].id]
        while (running := [item for item in claimed if item.id in {job.id for job in a}]) and len(order) < 5:
            claimed = list(hand.turn(10, [Settlement("completed", running[0])]).jobs)
            order += [item.id for item in claimed]
        assert order == [job.id for job in a]


def test_a_key_keeps_to_its_rate_and_its_next_job_starts_when_it_may(redis_url: str) -> None:
    with by_hand(redis_url, key_rate=Rate(2, timedelta(seconds=0.3))) as hand:
        jobs = hand.client.enqueue_many((Note() for _ in range(4)), limit_key="a")

        turn = hand.turn(10)
        assert [item.id for item in turn.jobs] == [job.id for job in jobs[:2]]
        assert timedelta(0) < turn.later["work"] <= timedelta(seconds=0.3)
        late: list[str] = []
        deadline = time.monotonic() + 10
        while len(late) < 2 and time.monotonic() < deadline:
            late += [item.id for item in hand.claim(10)]
        assert late == [job.id for job in jobs[2:]]


def test_a_killed_holder_of_a_key_makes_room_when_its_lease_ends(redis_url: str) -> None:
    with by_hand(redis_url, key_concurrency=1) as hand, raw(redis_url) as broker:
        first, second = hand.client.enqueue_many([Note(), Note()], limit_key="a")
        hand.claim(10)
        for member in broker.zrange("cgjobs:leases", 0, -1):
            broker.zadd("cgjobs:leases", {str(member): 1})
        hand.sender.send(moves.reap(max_crashes=3))

        [again] = hand.claim(10)
        assert again.id in (first.id, second.id)
        assert hand.claim(10) == []


def test_a_running_job_whose_hash_was_removed_does_not_hold_its_key_for_ever(redis_url: str) -> None:
    with by_hand(redis_url, key_concurrency=1) as hand, raw(redis_url) as broker:
        first = hand.client.enqueue(Note(), limit_key="a")
        hand.claim(1)
        broker.delete(f"rq:job:{first.id}", "rq:wip:work")

        assert hand.client.enqueue(Note(), limit_key="a").id == hand.claim(1)[0].id


@pytest.mark.parametrize("scope", ["key", "queue"])
def test_a_rate_limit_of_a_key_holds_that_key_alone(redis_url: str, scope: str) -> None:
    with by_hand(redis_url) as hand:
        first, _ = hand.client.enqueue_many([Note(), Note()], limit_key="a")
        other = hand.client.enqueue(Note(), limit_key="b")
        [claimed] = hand.claim(1)

        turn = hand.turn(10, [Settlement("limited", claimed, delay=HOUR, group=scope)])

        assert [item.id for item in turn.jobs] == ([other.id] if scope == "key" else [])
        assert turn.later["work"] > timedelta(minutes=59)
        assert hand.client.get(first.id).attempt == 1


def test_many_jobs_of_one_blocked_key_are_walked_once_and_not_by_each_claim(redis_url: str) -> None:
    with by_hand(redis_url, key_concurrency=1) as hand:
        hand.client.enqueue_many((Note() for _ in range(3000)), limit_key="a")
        free = hand.client.enqueue(Note())
        found: set[str] = set()
        turns = 0
        while free.id not in found and turns < 60:
            found |= {item.id for item in hand.claim(10)}
            turns += 1

        assert free.id in found
        began = time.perf_counter()
        for _ in range(20):
            hand.claim(10)
        assert (time.perf_counter() - began) / 20 < 0.05


@awaited
async def test_two_workers_run_one_job_of_each_key_at_once_in_its_order_and_lose_nothing(
    redis_url: str,
) -> None:
    running: dict[str, int] = {}
    most: dict[str, int] = {}
    order: dict[str, list[int]] = {}
    at_once = 0

    @subtype("work.mail")
    async def mail(payload: Mail, ctx: Context) -> None:
        nonlocal at_once
        key = payload.user_id
        running[key] = running.get(key, 0) + 1
        most[key] = max(most.get(key, 0), running[key])
        at_once = max(at_once, sum(running.values()))
        order.setdefault(key, []).append(int(payload.text))
        await asyncio.sleep(0.005)
        running[key] -= 1

    settings = config(redis_url, queues=[limited(key_concurrency=1)])
    async with two_workers(settings, mail) as client:
        wanted = [(key, number) for number in range(15) for key in "abcd"]
        jobs = [await client.enqueue(Mail(key, str(number)), limit_key=key) for key, number in wanted]
        for job in jobs:
            await client.wait(job)
        stats = await client.queue("work").stats()

    assert most == dict.fromkeys("abcd", 1)
    assert at_once > 1
    assert order == {key: list(range(15)) for key in "abcd"}
    assert (stats.completed, stats.waiting, stats.active) == (60, 0, 0)


@awaited
async def test_two_workers_keep_each_key_to_its_rate_while_others_pass(redis_url: str) -> None:
    rate = Rate(3, timedelta(seconds=0.5))
    started: list[str] = []

    @subtype("work.note")
    async def work(payload: Note, ctx: Context) -> None:
        started.append(payload.text)

    async with two_workers(config(redis_url, queues=[limited(key_rate=rate)]), work) as client:
        first = await client.enqueue_many((Note(f"a{n}") for n in range(12)), limit_key="a")
        second = await client.enqueue_many((Note(f"b{n}") for n in range(3)), limit_key="b")
        free = await client.enqueue_many(Note("free") for _ in range(20))
        for job in [*second, *free, *first]:
            await client.wait(job)

    with raw(redis_url) as broker:
        assert busiest(broker, [job.id for job in first], rate.window) == 3
    assert [text for text in started if text[0] == "a"] == [f"a{n}" for n in range(12)]
    assert max(at for at, text in enumerate(started) if text in ("free", "b2")) < started.index("a11")
    assert len(started) == 35


def test_removed_and_drained_jobs_of_a_key_do_not_hold_it(redis_url: str) -> None:
    with by_hand(redis_url, key_concurrency=1) as hand:
        first, second, third = hand.client.enqueue_many((Note() for _ in range(3)), limit_key="a")
        [claimed] = hand.claim(10)
        hand.client.queue("work").remove(second.id)

        assert [item.id for item in hand.turn(10, [Settlement("completed", claimed)]).jobs] == [third.id]
        assert first.id == claimed.id


def test_a_key_is_made_of_fields_of_the_payload_and_can_be_given_instead(redis_url: str) -> None:
    @subtype("work.mail", limit_by=("user_id",))
    def mail(payload: Mail, ctx: Context) -> None: ...

    with Client(config(redis_url), registry(mail)) as client, raw(redis_url) as broker:
        jobs = [
            client.enqueue(Mail("7")),
            client.enqueue(Mail("7"), limit_key="k"),
            client.enqueue(Mail("é")),
        ]
        keys = [broker.hget(f"rq:job:{job.id}", "limit_key") for job in jobs]

    assert keys[:2] == ["user_id=7", "k"]
    assert len(str(keys[2])) == 64


def test_a_key_of_a_field_that_the_payload_lacks_is_refused_at_import() -> None:
    with pytest.raises(ValueError, match=r"limit_by of 'work[.]mail' has 'user'; .* has text, user_id"):

        @subtype("work.mail", limit_by=("user",))
        def mail(payload: Mail, ctx: Context) -> None: ...

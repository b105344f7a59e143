"""Held jobs: what no worker here can run waits, visibly, for one that can."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import attrs
import pytest
import redis

from cgjobs import Client, Context, Event, Job, JobState, JobStateError, Priority, keys, plugins, subtype
from cgjobs.broker import Sender, moves, reads
from cgjobs.broker.values import Claimed, Settlement
from cgjobs.hold import can_run, for_type, for_version, remedy
from cgjobs.worker import Worker
from tests.conftest import ServerFactory
from tests.jobs import (
    PATIENCE,
    Note,
    at_work,
    awaited,
    config,
    note,
    raw,
    redis_config,
    registry,
    running,
    until,
)

GROUP = "type:work.late"


@attrs.frozen
class Late:
    """A payload whose type the old worker does not know."""

    n: int = 0


@subtype("work.late")
async def late(payload: Late, ctx: Context) -> int:
    """Give its number."""
    return payload.n


class Hand:
    """Makes the moves of workers by hand."""

    def __init__(self, url: str) -> None:
        self.sender = Sender(redis_config(url))
        self.client = Client(config(url), registry(note, late))
        self.queue = self.client.queue("work")

    def claim(self, n: int = 100) -> list[Claimed]:
        return list(self.turn([], n))

    def turn(self, outcomes: list[Settlement], n: int = 0) -> tuple[Claimed, ...]:
        call = moves.turn("w1", outcomes, {"work": n}, lease=timedelta(seconds=30), largest=1 << 20)
        return self.sender.send(call).jobs

    def hold(self, *jobs: Job, group: str = GROUP) -> None:
        """Have a worker hold these and all that waits before them."""
        wanted = {job.id for job in jobs}
        claimed = self.claim()
        assert {job.id for job in claimed} == wanted
        self.turn([Settlement("hold", job, error="not here", group=group) for job in claimed])

    def release(self, n: int = 1000, group: str = GROUP) -> int:
        return self.sender.send(moves.release([("work", group)], limit=n)).released

    def state(self, job: Job) -> JobState:
        return self.client.get(job.id).state


@pytest.fixture
def hand(redis_url: str) -> Iterator[Hand]:
    made = Hand(redis_url)
    yield made
    made.sender.close()
    made.client.close()


@pytest.fixture
def behind(redis_url: str) -> Iterator[redis.Redis]:
    with raw(redis_url) as client:
        yield client


def spots(behind: redis.Redis, job_id: str) -> list[str]:
    """Every list and sorted set that names a job, once for each time."""
    found: list[str] = []
    for key in sorted(behind.keys()):
        kind = behind.type(key)
        if kind == "list":
            found += [key] * behind.lrange(key, 0, -1).count(job_id)
        elif kind == "zset":
            names = [part for member in behind.zrange(key, 0, -1) for part in member.split(":")]
            found += [key] * names.count(job_id)
    return found


HELD = ["cgjobs:held:work:type:work.late", "rq:deferred:work"]


# The moves


def test_a_held_job_uses_no_attempt_and_says_why_it_is_held(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Late(1), attempts=3)

    hand.hold(job)

    held = hand.client.get(job.id)
    assert (held.state, held.held, held.held_reason) == (JobState.HELD, GROUP, "not here")
    assert (held.attempt, held.attempts, held.errors) == (1, 3, ())
    assert spots(behind, job.id) == HELD
    assert behind.hget(keys.job(job.id), "status") == "deferred", "a word that RQ knows"


def test_released_jobs_run_first_and_in_their_order(hand: Hand, behind: redis.Redis) -> None:
    first, second, third = (hand.client.enqueue(Late(n)) for n in range(3))
    hand.hold(first, second, third)
    behind_them = hand.client.enqueue(Note())

    assert hand.release() == 3

    assert [job.id for job in hand.claim()] == [first.id, second.id, third.id, behind_them.id]
    assert not behind.exists(keys.groups("work"), keys.deferred("work"))
    assert not behind.hexists(keys.job(first.id), "held")


def test_a_released_job_keeps_its_level(hand: Hand) -> None:
    low, high = (hand.client.enqueue(Late(), priority=level) for level in (Priority.LOW, Priority.HIGH))
    hand.hold(low, high)
    normal = hand.client.enqueue(Note())

    hand.release()

    assert [job.id for job in hand.claim(3)] == [high.id, normal.id, low.id]


def test_a_release_is_bounded_and_the_rest_stays(hand: Hand, behind: redis.Redis) -> None:
    jobs = [hand.client.enqueue(Late(n)) for n in range(3)]
    hand.hold(*jobs)

    assert hand.release(2) == 2

    assert [hand.state(job) for job in jobs] == [JobState.WAITING, JobState.WAITING, JobState.HELD]
    assert behind.zrange(keys.groups("work"), 0, -1) == [GROUP]
    assert (hand.release(), hand.release()) == (1, 0)


def test_held_jobs_can_be_listed_and_count_as_waiting(hand: Hand) -> None:
    jobs = [hand.client.enqueue(Late(n)) for n in range(3)]
    hand.hold(*jobs)
    waiting = hand.client.enqueue(Note())
    queue = hand.queue

    assert [job.id for job in queue.jobs(JobState.HELD)] == [job.id for job in jobs]
    assert [job.id for job in queue.jobs(JobState.HELD, offset=1, limit=1)] == [jobs[1].id]
    assert [job.id for job in queue.jobs(JobState.WAITING)] == [waiting.id]
    assert list(queue.jobs(JobState.DEFERRED)) == []
    assert queue.stats().waiting == 4
    assert hand.sender.send(reads.stats(["work"]))["work"].held == 3


def test_a_job_that_rq_deferred_is_not_held(hand: Hand, behind: redis.Redis) -> None:
    held, other = hand.client.enqueue(Late()), hand.client.enqueue(Note(), delay=timedelta(hours=1))
    hand.hold(held)
    behind.zrem(keys.delayed("work"), other.id)
    behind.hset(keys.job(other.id), "status", "deferred")
    behind.zadd(keys.deferred("work"), {other.id: 1_800_000_000})

    queue = hand.queue

    assert [job.id for job in queue.jobs(JobState.DEFERRED)] == [other.id]
    assert [job.id for job in queue.jobs(JobState.HELD)] == [held.id]
    assert (hand.state(other), queue.stats().waiting) == (JobState.DEFERRED, 1)


def test_a_held_job_can_be_cancelled_and_then_retried(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Late())
    hand.hold(job)

    assert hand.queue.cancel(job.id) is JobState.HELD

    assert spots(behind, job.id) == ["rq:canceled:work"]
    assert hand.state(job) is JobState.CANCELLED
    hand.queue.retry(job.id)
    assert spots(behind, job.id) == ["rq:queue:work"]
    assert hand.client.get(job.id).held == ""


def test_a_held_job_can_be_removed(hand: Hand, behind: redis.Redis) -> None:
    job, other = hand.client.enqueue(Late()), hand.client.enqueue(Late())
    hand.hold(job, other)

    hand.queue.remove(job.id)

    assert (spots(behind, job.id), spots(behind, other.id)) == ([], HELD)
    assert hand.queue.find(job.id) is None


def test_a_held_job_cannot_be_retried_and_the_error_says_that_it_goes_on_by_itself(hand: Hand) -> None:
    job = hand.client.enqueue(Late())
    hand.hold(job)

    with pytest.raises(JobStateError, match=r"held.*by itself"):
        hand.queue.retry(job.id)


def test_draining_a_queue_takes_the_held_jobs_too(hand: Hand, behind: redis.Redis) -> None:
    held, waiting = hand.client.enqueue(Late()), hand.client.enqueue(Late())
    hand.hold(held, waiting)
    hand.client.enqueue(Note())

    assert hand.queue.drain() == 3

    assert not behind.exists(*HELD, keys.groups("work"), keys.job(held.id), keys.job(waiting.id))


def test_a_running_job_that_was_cancelled_meanwhile_is_not_held(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Late())
    [claimed] = hand.claim()
    hand.queue.cancel(job.id)

    hand.turn([Settlement("hold", claimed, group=GROUP)])

    assert spots(behind, job.id) == ["rq:canceled:work"]


def test_a_worker_whose_lease_ended_holds_nothing(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Late())
    [claimed] = hand.claim()
    behind.zadd(keys.LEASES, {f"work:{job.id}:{claimed.token}": 1})
    hand.sender.send(moves.reap(max_crashes=3))

    hand.turn([Settlement("hold", claimed, group=GROUP)])

    assert spots(behind, job.id) == ["rq:queue:work"]


# What somebody else wrote


@pytest.mark.parametrize("entry", ["no-such-job", "a b", "x" * 300])
def test_an_entry_that_is_no_job_goes_to_quarantine_and_stops_nobody(
    hand: Hand, behind: redis.Redis, entry: str
) -> None:
    job = hand.client.enqueue(Late())
    hand.hold(job)
    behind.lpush(keys.held(f"work:{GROUP}"), entry)

    reply = hand.sender.send(moves.release([("work", GROUP)]))

    assert reply.released == 1
    assert [found.reason for found in reply.set_aside] == ["no job has this id"]
    assert hand.state(job) is JobState.WAITING


def test_a_running_job_that_stands_in_a_group_is_left_running(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Late())
    hand.claim()
    behind.zadd(keys.groups("work"), {GROUP: 0})
    behind.rpush(keys.held(f"work:{GROUP}"), job.id, job.id)

    assert hand.release() == 0

    assert hand.state(job) is JobState.ACTIVE
    assert not behind.exists(keys.held(f"work:{GROUP}"), keys.groups("work"))


def test_a_job_that_stands_twice_in_its_group_is_released_once(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Late())
    hand.hold(job)
    behind.rpush(keys.held(f"work:{GROUP}"), job.id)

    assert hand.release() == 1

    assert spots(behind, job.id) == ["rq:queue:work"]


@pytest.mark.parametrize("name", ["list", "groups", "registry"])
@pytest.mark.parametrize("kind", ["string", "hash"])
def test_a_key_of_a_wrong_type_is_set_aside(hand: Hand, behind: redis.Redis, name: str, kind: str) -> None:
    key = {"list": HELD[0], "groups": keys.groups("work"), "registry": keys.deferred("work")}[name]
    if kind == "string":
        behind.set(key, "x")
    else:
        behind.hset(key, "x", "y")
    job = hand.client.enqueue(Late())

    seen = hand.sender.send(moves.promote(["work"]))
    hand.hold(job)

    assert hand.state(job) is JobState.HELD
    assert seen.held == ()
    assert hand.release() == 1
    assert [job.id for job in hand.claim()] == [job.id]
    assert behind.keys(f"cgjobs:set-aside:{key}*")


def test_a_wrong_key_in_place_of_a_group_does_not_stop_the_release_of_others(
    hand: Hand, behind: redis.Redis
) -> None:
    job = hand.client.enqueue(Late())
    hand.hold(job)
    behind.zadd(keys.groups("work"), {"type:a.b": 0})
    behind.set(keys.held("work:type:a.b"), "x")

    reply = hand.sender.send(moves.release([("work", "type:a.b"), ("work", GROUP)]))

    assert reply.released == 1
    assert behind.zcard(keys.groups("work")) == 0


def test_many_groups_are_told_a_part_at_a_time_and_each_in_its_turn(hand: Hand, behind: redis.Redis) -> None:
    behind.zadd(keys.groups("work"), {f"type:a.b{n}": 0 for n in range(101)})
    behind.zadd(keys.groups("work"), {f"key:{n}": 0 for n in range(1000)})

    seen = hand.sender.send(moves.promote(["work"])).held

    assert 1 <= len(seen) <= 100
    assert all(group.startswith("type:") for _, group in seen)


# Groups


@pytest.mark.parametrize(
    ("group", "runs"),
    [
        (for_type("work.late"), True),
        (for_type("work.none"), False),
        (for_version("work.late", 1), True),
        (for_version("work.late", 2), False),
        ("version:work.late:" + "9" * 10_000, False),
        ("version:work.late:x", False),
        ("version:work.late", False),
        ("key:work.late", False),
        ("", False),
    ],
)
def test_a_worker_runs_what_it_has_in_this_version_or_a_later_one(group: str, *, runs: bool) -> None:
    assert can_run(group, {"work.late": late}) is runs


def test_each_group_of_workers_says_what_releases_it() -> None:
    assert "work.late" in remedy(for_type("work.late"))
    assert "version 3" in remedy(for_version("work.late", 3))
    assert remedy("key:x") == ""


# Workers


@awaited
async def test_a_job_of_an_unknown_type_is_held_and_the_others_go_on(redis_url: str) -> None:
    async with at_work(redis_url, note) as work:
        with Client(config(redis_url), registry(note, late)) as new:
            job = new.enqueue(Late(7), attempts=3)
            assert await work.client.wait(new.enqueue(Note("behind it"))) == "behind it"
        await until(lambda: "job_held" in work.names(job.id))
        held = await work.client.get(job.id)

    [told] = [event for event in work.events if event.name == "job_held"]
    assert (held.state, held.held, held.attempt) == (JobState.HELD, GROUP, 1)
    assert held.held_reason == told.error
    assert "no plugin of this worker handles 'work.late'" in told.error


@awaited
async def test_a_plugin_in_quarantine_is_named_as_the_reason(redis_url: str) -> None:
    events: list[Event] = []
    provided = registry(note, late)
    quarantined = attrs.evolve(
        registry(note, events=events),
        plugins=(plugins.PluginInfo("sms", "acme", "1", state="quarantined", reason="ImportError: twilio"),),
    )
    with Client(config(redis_url), provided) as client:
        job = client.enqueue(Late())
        async with running(Worker(config(redis_url), quarantined)):
            await until(lambda: any(event.name == "job_held" for event in events))
        assert "in quarantine: sms: ImportError: twilio" in client.get(job.id).held_reason


@awaited
async def test_a_rolling_deploy_ends_with_the_job_run_by_the_new_worker(redis_url: str) -> None:
    async with at_work(redis_url, note) as old:
        with Client(config(redis_url), registry(note, late)) as client:
            jobs = [client.enqueue(Late(n)) for n in range(20)]
        await until(lambda: old.names().count("job_held") >= 20)
        async with at_work(redis_url, note, late) as new:
            results = [await new.client.wait(job, timeout=timedelta(seconds=PATIENCE)) for job in jobs]
            elapsed_looks = old.names().count("job_held") / 20

    assert results == list(range(20))
    assert new.names().count("job_completed") == 20
    assert elapsed_looks <= PATIENCE, "each at most about once a second"
    assert "job_failed" not in old.names() + new.names()


@awaited
async def test_without_a_worker_that_can_run_it_a_held_job_is_never_claimed_again(redis_url: str) -> None:
    async with at_work(redis_url, note) as old:
        with Client(config(redis_url), registry(note, late)) as client:
            job = client.enqueue(Late())
        await until(lambda: "job_held" in old.names(job.id))
        await asyncio.sleep(1.5)  # more than one look of the promoter: what must not happen has no event

        assert old.names(job.id).count("job_held") == 1
        assert (await old.client.get(job.id)).state is JobState.HELD


@awaited
async def test_a_worker_that_works_off_what_there_is_runs_what_was_held_for_it(redis_url: str) -> None:
    with Client(config(redis_url), registry(note, late)) as client:
        job = client.enqueue(Late(3), keep_completed=timedelta(hours=1))
        await Worker(config(redis_url), registry(note), burst=True).run()
        assert client.get(job.id).state is JobState.HELD

        await Worker(config(redis_url), registry(note, late), burst=True).run()

        assert client.get(job.id).result == 3


@awaited
async def test_held_jobs_outlast_a_crash_of_the_server(own_server: ServerFactory) -> None:
    server = own_server(appendonly="yes", appendfsync="always")
    with Client(config(server.url), registry(note, late)) as client:
        job = client.enqueue(Late(3), keep_completed=timedelta(hours=1))
        await Worker(config(server.url), registry(note), burst=True).run()

        server.kill()
        server.start()
        with raw(server.url) as behind:
            assert spots(behind, job.id) == HELD
        await Worker(config(server.url), registry(note, late), burst=True).run()

        assert client.get(job.id).result == 3

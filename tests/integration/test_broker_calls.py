"""Single calls of the broker: claim, settle, renew, reap and what they leave behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import redis

from cgjobs import Client, JobState, Priority
from cgjobs.broker import Call, Sender, moves, reads
from cgjobs.broker.values import Claimed, Settlement, Turn
from cgjobs.config import RedisConfig
from tests.jobs import Note, config, raw, redis_config, registry, server_time
from tests.proxy import Proxy

SECOND = timedelta(seconds=1)


class Hand:
    """Makes the moves of workers by hand."""

    def __init__(self, url: str) -> None:
        self.config: RedisConfig = redis_config(url)
        self.sender = Sender(self.config)
        self.client = Client(config(url), registry())

    def turn(
        self,
        outcomes: Sequence[Settlement] = (),
        *,
        n: int = 10,
        worker: str = "w1",
        lease: timedelta = timedelta(seconds=30),
        largest: int = 1 << 20,
    ) -> Turn:
        wants = {"work": n} if n else {}
        return self.sender.send(moves.turn(worker, outcomes, wants, lease=lease, largest=largest))

    def claim(self, n: int = 1, **options: object) -> list[Claimed]:
        return list(self.turn(n=n, **options).jobs)  # type: ignore[arg-type]

    def settle(self, *outcomes: Settlement) -> Turn:
        return self.turn(outcomes, n=0)

    def reap(self, max_crashes: int = 3) -> list[tuple[str, str, str]]:
        return list(self.sender.send(moves.reap(max_crashes=max_crashes)).jobs)

    def close(self) -> None:
        self.sender.close()
        self.client.close()


@pytest.fixture
def hand(redis_url: str) -> Iterator[Hand]:
    made = Hand(redis_url)
    yield made
    made.close()


@pytest.fixture
def behind(redis_url: str) -> Iterator[redis.Redis]:
    """A connection to look behind the engine's back."""
    with raw(redis_url) as client:
        yield client


def expire_leases(behind: redis.Redis) -> None:
    for member in behind.zrange("cgjobs:leases", 0, -1):
        behind.zadd("cgjobs:leases", {str(member): 1})


def counters(hand: Hand) -> dict[str, int]:
    return {
        name: number for name, number in hand.sender.send(reads.metrics()).items() if "seconds" not in name
    }


# Claim


def test_a_claimed_job_is_active_and_belongs_to_one_worker(hand: Hand) -> None:
    job = hand.client.enqueue(Note())

    first, second = hand.claim(), hand.claim()

    assert [claimed.id for claimed in first] == [job.id]
    assert second == []
    assert hand.client.get(job.id).state is JobState.ACTIVE
    assert hand.client.get(job.id).worker == "w1"


def test_jobs_are_claimed_in_the_order_in_which_they_came(hand: Hand) -> None:
    jobs = hand.client.enqueue_many(Note(str(number)) for number in range(5))

    claimed = hand.claim(2) + hand.claim(3)

    assert [job.id for job in claimed] == [job.id for job in jobs]


def test_a_claim_tells_how_many_jobs_it_left(hand: Hand) -> None:
    hand.client.enqueue_many(Note() for _ in range(5))

    turn = hand.turn(n=2)

    assert turn.left == {"work": 3}


def test_levels_share_the_turns_eight_four_two_one(hand: Hand) -> None:
    for level in Priority:
        hand.client.enqueue_many((Note() for _ in range(15)), priority=level)

    claimed = hand.claim(15)

    counts = {level: [job.priority for job in claimed].count(level) for level in Priority}
    assert counts == {"critical": 8, "high": 4, "normal": 2, "low": 1}


def test_the_share_is_kept_when_jobs_are_claimed_one_by_one(hand: Hand) -> None:
    for level in Priority:
        hand.client.enqueue_many((Note() for _ in range(15)), priority=level)

    claimed = [hand.claim(1)[0].priority for _ in range(15)]

    assert [claimed.count(level) for level in Priority] == [8, 4, 2, 1]


def test_a_turn_that_a_level_cannot_use_goes_to_the_most_urgent_one_waiting(hand: Hand) -> None:
    hand.client.enqueue_many((Note() for _ in range(3)), priority="low")
    hand.client.enqueue(Note(), priority="high")

    claimed = hand.claim(4)

    assert [job.priority for job in claimed] == ["high", "low", "low", "low"]


def test_within_a_level_the_first_come_is_the_first_served(hand: Hand) -> None:
    jobs = hand.client.enqueue_many((Note() for _ in range(4)), priority="high")

    assert [job.id for job in hand.claim(4)] == [job.id for job in jobs]


def test_a_claim_whose_reply_was_lost_gives_the_same_jobs_again(redis_url: str, hand: Hand) -> None:
    jobs = hand.client.enqueue_many(Note() for _ in range(3))
    with Proxy(redis_url) as proxy:
        proxy.drop_reply(b"cgjobs1_claim")
        sender = Sender(redis_config(proxy.url))

        turn = sender.send(moves.turn("w1", (), {"work": 2}, lease=SECOND, largest=1 << 20))
        sender.close()

    assert proxy.lost == 1
    assert {job.id for job in turn.jobs} == {job.id for job in jobs[:2]}  # a claim sent again has no order
    assert hand.client.queue("work").stats().active == 2
    assert [job.recoveries for job in turn.jobs] == [0, 0]


def test_a_claim_sent_again_later_has_its_whole_lease_before_it(
    redis_url: str, hand: Hand, behind: redis.Redis
) -> None:
    hand.client.enqueue(Note())
    call = moves.turn("w1", (), {"work": 1}, lease=timedelta(seconds=30), largest=1 << 20)
    hand.sender.send(call)
    expire_leases(behind)

    turn = hand.sender.send(Call(call.again, call.parse))

    assert len(turn.jobs) == 1
    assert hand.reap() == []


@pytest.mark.parametrize(
    ("entry", "fields", "reason"),
    [
        ("nobody", None, "no job has this id"),
        ("../etc/passwd", None, "no id of a job"),
        ("a:b", None, "no id of a job"),
        ("x" * 200, None, "no id of a job"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), None, "no id of a job"),
        ("ended", {"status": "finished", "data": "x"}, "its status is finished"),
        ("strange", {"data": "x"}, "its status is false"),
    ],
)
def test_what_is_no_waiting_job_is_put_aside_and_the_queue_goes_on(
    hand: Hand, behind: redis.Redis, entry: str, fields: dict[str, str] | None, reason: str
) -> None:
    behind.rpush("rq:queue:work", entry)
    if fields:
        behind.hset(f"rq:job:{entry}", mapping=cast("dict[Any, Any]", fields))
    job = hand.client.enqueue(Note())

    claimed = hand.claim(10)

    assert [item.id for item in claimed] == [job.id]
    entries: Any = behind.xrange("cgjobs:quarantine")
    [(_, kept)] = entries
    assert reason in kept["reason"]
    assert counters(hand)["quarantined|work"] == 1


def test_an_id_that_is_listed_twice_is_run_once(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Note())
    behind.rpush("rq:queue:work", job.id)

    assert len(hand.claim(10)) == 1


def test_a_job_whose_data_is_too_large_fails_unread(hand: Hand) -> None:
    job = hand.client.enqueue(Note("x" * 1000))

    claimed = hand.claim(largest=500)

    found = hand.client.get(job.id)
    assert claimed == []
    assert (found.state, found.errors[0].error[:8]) == (JobState.FAILED, "its data")


@pytest.mark.parametrize(
    "key",
    [
        "rq:queue:work",
        "rq:queue:work:high",
        "rq:wip:work",
        "cgjobs:queue:work",
        "cgjobs:wake:work",
        "cgjobs:leases",
        "cgjobs:events",
        "rq:queues",
        "rq:scheduled:work",
        "rq:finished:work",
    ],
)
def test_a_key_of_a_wrong_type_is_set_aside_and_jobs_go_on(hand: Hand, behind: redis.Redis, key: str) -> None:
    behind.set(key, "garbage") if key != "cgjobs:queue:work" else behind.sadd(key, "garbage")
    hand.client.load_functions()

    job = hand.client.enqueue(Note(), priority="high")
    hand.client.enqueue(Note(), delay=timedelta(0))
    late = hand.client.enqueue(Note(), delay=timedelta(hours=1))
    hand.sender.send(moves.promote(["work"]))
    claimed = hand.claim(10)
    turn = hand.settle(*(Settlement("completed", item, "work.note") for item in claimed))
    hand.client.queue("work").pause()
    hand.client.queue("work").resume()
    hand.client.queue("work").remove(late.id)

    assert job.id in [item.id for item in claimed]
    assert len(claimed) == 2
    assert turn.refused == ()
    assert hand.client.queue("work").stats().completed == 2


def test_nonces_of_a_wrong_type_stop_nothing(hand: Hand, behind: redis.Redis) -> None:
    for minute in range(-1, 2):
        behind.set(f"cgjobs:calls:{int(server_time(behind)) // 60 + minute}", "garbage")

    hand.client.enqueue(Note())
    [claimed] = hand.claim()

    assert hand.settle(Settlement("completed", claimed)).refused == ()


# Settle


def test_a_completed_job_is_counted_and_gone(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Note())
    [claimed] = hand.claim()

    hand.settle(Settlement("completed", claimed, "work.note", run_us=2_000_000))

    stats = hand.client.queue("work").stats()
    assert (stats.completed, stats.active, stats.waiting) == (1, 0, 0)
    assert behind.exists(f"rq:job:{job.id}", "cgjobs:leases", "rq:wip:work") == 0
    metrics = hand.sender.send(reads.metrics())
    assert metrics["completed|work|work.note"] == 1
    assert metrics["seconds_us|work|work.note"] == 2_000_000
    assert metrics["seconds_8|work|work.note"] == 1


def test_a_completed_job_that_is_kept_can_be_seen_with_its_result(hand: Hand) -> None:
    job = hand.client.enqueue(Note(), keep_completed=timedelta(hours=1))
    [claimed] = hand.claim()

    blob = base64.b64encode(json.dumps({"rows": 3}).encode())
    hand.settle(Settlement("completed", claimed, "work.note", blob=blob))

    found = hand.client.get(job.id)
    assert (found.state, found.result) == (JobState.COMPLETED, {"rows": 3})
    assert found.ended_at is not None
    assert hand.client.queue("work").jobs(JobState.COMPLETED)[0].id == job.id


def test_a_settle_whose_reply_was_lost_counts_once(redis_url: str, hand: Hand) -> None:
    hand.client.enqueue_many(Note() for _ in range(3))
    with Proxy(redis_url) as proxy:
        sender = Sender(redis_config(proxy.url))
        claims = moves.turn("w1", (), {"work": 1}, lease=SECOND, largest=1 << 20)
        [claimed] = sender.send(claims).jobs
        proxy.drop_reply(b"cgjobs1_settle")
        outcome = Settlement("completed", claimed, "work.note")

        turn = sender.send(moves.turn("w1", [outcome], {"work": 1}, lease=SECOND, largest=1 << 20))
        sender.close()

    assert proxy.lost == 1
    assert turn.refused == ()
    assert len(turn.jobs) == 1  # what the lost reply had claimed, not one more
    stats = hand.client.queue("work").stats()
    assert (stats.completed, stats.active, stats.waiting) == (1, 1, 1)
    assert counters(hand) == {"completed|work|work.note": 1}


def test_the_outcome_of_a_worker_that_lost_its_lease_is_refused_and_counted(
    hand: Hand, behind: redis.Redis
) -> None:
    job = hand.client.enqueue(Note())
    [zombie] = hand.claim(worker="w1")
    expire_leases(behind)
    hand.reap()
    [current] = hand.claim(worker="w2")

    refused = hand.settle(Settlement("failed", zombie, "work.note", error="late")).refused
    accepted = hand.settle(Settlement("completed", current, "work.note")).refused

    assert (refused, accepted) == ((job.id,), ())
    assert counters(hand) == {
        "recovered|work": 1,
        "stale|work|work.note": 1,
        "completed|work|work.note": 1,
    }


def test_an_outcome_of_a_job_that_vanished_leaves_no_phantom(hand: Hand, behind: redis.Redis) -> None:
    hand.client.enqueue(Note())
    [claimed] = hand.claim()
    behind.flushall()

    turn = hand.settle(Settlement("failed", claimed, "work.note", error="x"))
    hand.sender.send(moves.progress([(claimed.id, claimed.token, b"{}")]))

    assert turn.refused == (claimed.id,)
    assert behind.keys("rq:*") == []


def test_a_retry_uses_an_attempt_and_keeps_the_error(hand: Hand) -> None:
    job = hand.client.enqueue(Note(), attempts=3)
    [claimed] = hand.claim()

    hand.settle(Settlement("retry", claimed, "work.note", delay=timedelta(hours=1), error="ValueError: no"))

    found = hand.client.get(job.id)
    assert (found.state, found.attempt, found.attempts) == (JobState.DELAYED, 2, 3)
    assert [(error.attempt, error.error, error.worker) for error in found.errors] == [
        (1, "ValueError: no", "w1")
    ]


def test_a_snooze_uses_no_attempt(hand: Hand) -> None:
    job = hand.client.enqueue(Note(), attempts=3)
    [claimed] = hand.claim()

    hand.settle(Settlement("snooze", claimed, "work.note", delay=timedelta(hours=1)))

    found = hand.client.get(job.id)
    assert (found.state, found.attempt, found.attempts, found.errors) == (JobState.DELAYED, 1, 3, ())


def test_a_returned_job_is_the_next_one_and_nothing_is_counted_on_it(hand: Hand) -> None:
    first, second = hand.client.enqueue_many([Note("a"), Note("b")])
    [claimed] = hand.claim()

    hand.settle(Settlement("return", claimed, "work.note"))

    assert [job.id for job in hand.claim(2)] == [first.id, second.id]
    assert hand.client.get(first.id).attempt == 1
    assert hand.client.get(first.id).recoveries == 0


def test_many_outcomes_are_settled_in_one_call(hand: Hand) -> None:
    hand.client.enqueue_many(Note() for _ in range(500))
    claimed = hand.claim(500)

    turn = hand.settle(*(Settlement("completed", job, "work.note") for job in claimed))

    assert turn.refused == ()
    assert hand.client.queue("work").stats().completed == 500


# Leases


def test_a_job_whose_lease_ended_is_back_at_the_front_and_costs_no_attempt(
    hand: Hand, behind: redis.Redis
) -> None:
    first, second = hand.client.enqueue_many([Note("a"), Note("b")])
    hand.claim()
    expire_leases(behind)

    assert hand.reap() == [("work", first.id, "recovered")]

    assert hand.reap() == []
    assert [job.id for job in hand.claim(2)] == [first.id, second.id]
    found = hand.client.get(first.id)
    assert (found.attempt, found.recoveries) == (1, 1)


def test_the_third_crash_fails_a_job_as_poison(hand: Hand, behind: redis.Redis) -> None:
    job = hand.client.enqueue(Note())
    fates = []
    for _ in range(3):
        hand.claim()
        expire_leases(behind)
        fates += [fate for _, _, fate in hand.reap()]

    found = hand.client.get(job.id)
    assert fates == ["recovered", "recovered", "poison"]
    assert (found.state, found.recoveries) == (JobState.FAILED, 3)
    assert found.errors[-1].error == "Poison: its worker died 3 times while it ran"
    assert counters(hand) == {"recovered|work": 3, "failed|work|work.note": 1}


def test_a_renewed_lease_does_not_end(hand: Hand, behind: redis.Redis) -> None:
    hand.client.enqueue(Note())
    [claimed] = hand.claim()
    expire_leases(behind)

    renewal = hand.sender.send(
        moves.renew("w1", [("work", claimed.id, claimed.token)], lease=30 * SECOND, ttl=SECOND, busy=True)
    )

    assert (renewal.known, renewal.lost) == (False, ())
    assert hand.reap() == []


def test_renewing_tells_which_attempt_was_lost_and_which_was_not(hand: Hand, behind: redis.Redis) -> None:
    hand.client.enqueue(Note())
    [old] = hand.claim()
    expire_leases(behind)
    hand.reap()
    [new] = hand.claim()

    renewal = hand.sender.send(
        moves.renew(
            "w1", [("work", job.id, job.token) for job in (old, new)], lease=SECOND, ttl=SECOND, busy=True
        )
    )

    assert renewal.lost == ((old.id, old.token),)


def test_garbage_among_the_leases_is_put_aside(hand: Hand, behind: redis.Redis) -> None:
    behind.zadd("cgjobs:leases", {"garbage": 1, "work:nobody:token": 1})

    assert hand.reap() == []

    assert behind.zcard("cgjobs:leases") == 0
    assert counters(hand) == {"quarantined|": 1}


def test_progress_of_an_attempt_that_is_over_is_dropped(hand: Hand) -> None:
    job = hand.client.enqueue(Note())
    [claimed] = hand.claim()
    meta = json.dumps({"progress": {"done": 1, "total": 2, "message": "half"}}).encode()

    kept = hand.sender.send(moves.progress([(job.id, claimed.token, meta), (job.id, "another", b"{}")]))

    progress = hand.client.get(job.id).progress
    assert kept == 1
    assert progress is not None
    assert (progress.done, progress.total, progress.message) == (1, 2, "half")


# Reading


def test_reading_changes_nothing(hand: Hand, behind: redis.Redis) -> None:
    jobs = hand.client.enqueue_many([Note("a"), Note("b")], keep_completed=timedelta(hours=1))
    hand.client.enqueue(Note(), delay=timedelta(hours=1))
    [claimed] = hand.claim()
    hand.settle(Settlement("completed", claimed, "work.note"))
    hand.claim()
    expire_leases(behind)
    before = sorted(behind.keys())
    changes = behind.info("persistence")["rdb_changes_since_last_save"]

    hand.client.queues()
    hand.client.workers()
    for state in JobState:
        hand.client.queue("work").jobs(state)
    for job in jobs:
        hand.client.queue("work").find(job.id)
    hand.sender.send(reads.recent_events())
    hand.sender.send(reads.metrics())

    assert sorted(behind.keys()) == before
    assert behind.info("persistence")["rdb_changes_since_last_save"] == changes


def test_garbage_in_a_jobs_hash_is_shown_as_far_as_it_can_be_read(hand: Hand, behind: redis.Redis) -> None:
    behind.hset(
        "rq:job:odd",
        mapping={
            "status": "nonsense",
            "origin": "work",
            "data": "{",
            "priority": "now",
            "created_at": "yesterday",
            "run_at": "inf",
            "meta": "[",
            "number_of_retries": "many",
            "timeout": "-1",
            "description": "odd(…)",
        },
    )
    behind.xadd("rq:results:odd", {"type": "1", "return_value": "%"})
    behind.xadd("rq:results:odd", {"type": "2", "exc_string": "%", "error": "E: x"})

    job = hand.client.get("odd")

    assert (job.state, job.name, job.payload, job.priority) == (JobState.FAILED, "odd", {}, Priority.NORMAL)
    assert (job.created_at, job.run_at, job.progress, job.timeout, job.attempt) == (None, None, None, None, 1)
    assert [error.error for error in job.errors] == ["E: x"]


def test_a_job_key_of_a_wrong_type_is_no_job(hand: Hand, behind: redis.Redis) -> None:
    behind.set("rq:job:odd", "garbage")

    assert hand.client.queue("work").find("odd") is None


def test_the_slot_of_a_schedule_is_fired_once(hand: Hand) -> None:
    slot = datetime(2026, 1, 1, tzinfo=UTC)

    fired = [
        hand.sender.send(moves.fire("work", when, "", [])).state
        for when in (slot, slot, slot - SECOND, slot + SECOND)
    ]

    assert fired == ["fired", "known", "known", "fired"]
    assert hand.sender.send(reads.schedule("work"))["fires"] == "2"

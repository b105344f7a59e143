"""Throttle and debounce: of many enqueues with one key the first, or the last, becomes a job."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import Client, Context, InvalidOption, JobState, keys, subtype
from cgjobs.broker import Sender, moves
from cgjobs.broker.call import Call
from cgjobs.options import JobOptions
from cgjobs.worker import Worker
from tests.jobs import Note, config, raw, redis_config, registry, server_time

MINUTE = timedelta(minutes=1)
HELD: dict[str, Any] = {"unique": "k", "debounce": MINUTE}


def due(url: str, job_id: str) -> float:
    """Seconds from now until the delayed job is due."""
    with raw(url) as broker:
        score = broker.zscore(keys.delayed("work"), job_id)
        assert score is not None
        assert float(broker.hget(keys.job(job_id), "run_at") or 0) == pytest.approx(score, abs=1e-5)
        return float(score) - server_time(broker)


def pass_time(url: str, job_id: str, seconds: float) -> None:
    """Let so much of the job's wait be over."""
    with raw(url) as broker:
        broker.zincrby(keys.delayed("work"), -seconds, job_id)
        for field in ("run_at", "debounce_by"):
            broker.hincrbyfloat(keys.job(job_id), field, -seconds)


def run(url: str, ran: list[str]) -> None:
    """A worker runs what there is now, and notes the texts."""

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        ran.append(payload.text)

    asyncio.run(Worker(config(url), registry(handler), burst=True).run())


def promote(url: str) -> None:
    """What workers do once a second."""
    sender = Sender(redis_config(url))
    sender.send(moves.promote(["work"]))
    sender.close()


def test_a_throttled_key_has_one_job_in_that_time_the_first(redis_url: str) -> None:
    ran: list[str] = []
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        client.enqueue(Note("first"), unique="k", throttle=MINUTE)
        run(redis_url, ran)
        assert client.enqueue(Note("second"), unique="k", throttle=MINUTE).duplicate

        broker.pexpire(keys.unique("work:k"), 0)
        assert not client.enqueue(Note("third"), unique="k", throttle=MINUTE).duplicate
        run(redis_url, ran)

    assert ran == ["first", "third"]


def test_of_debounced_jobs_the_last_one_runs_once_nobody_comes_any_more(redis_url: str) -> None:
    ran: list[str] = []
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("first"), tags=["old"], attempts=1, **HELD)
        assert first.state is JobState.DELAYED
        assert 55 < due(redis_url, first.id) <= 60
        pass_time(redis_url, first.id, 50)

        second = client.enqueue(Note("second"), attempts=4, priority="high", **HELD)

        assert (second.duplicate, second.id, second.payload["text"]) == (True, first.id, "second")
        assert (second.debounced, second.tags, second.attempts, second.priority) == (1, (), 4, "high")
        assert second.created_at is not None
        assert 55 < due(redis_url, first.id) <= 60
        assert client.queue("work").stats().delayed == 1
        pass_time(redis_url, first.id, 61)
        promote(redis_url)
        run(redis_url, ran)

    assert ran == ["second"]


def test_a_steady_stream_puts_a_job_off_no_longer_than_its_bound(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue(Note("0"), debounce_at_most=2 * MINUTE, **HELD)
        for n in range(1, 4):
            pass_time(redis_url, job.id, 50)
            job = client.enqueue(Note(str(n)), **HELD)
            assert due(redis_url, job.id) <= max(0, 120 - 50 * n)

        promote(redis_url)
        assert client.get(job.id).state is JobState.WAITING
        late = client.enqueue(Note("late"), **HELD)

        assert (late.id, late.state, late.payload["text"]) == (job.id, JobState.WAITING, "late")


def test_by_default_the_bound_is_ten_times_the_wait(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        job = client.enqueue(Note(), **HELD)

        bound = float(broker.hget(keys.job(job.id), "debounce_by") or 0)

        assert 590 < bound - server_time(broker) <= 600
        assert not broker.hexists(keys.job(job.id), "debounce")


def test_a_job_that_has_started_is_left_alone_and_a_new_one_is_made(redis_url: str) -> None:
    ran: list[str] = []
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("first"), keep_completed=MINUTE, **HELD)
        pass_time(redis_url, first.id, 61)
        promote(redis_url)
        run(redis_url, ran)
        client.queue("work").retry(first.id)  # it waits again, but it has been at work

        second = client.enqueue(Note("second"), **HELD)

        assert not second.duplicate
        assert client.get(first.id).payload["text"] == "first"
        assert client.enqueue(Note("third"), **HELD).id == second.id


def test_a_job_that_is_not_debounced_keeps_its_key_and_payload(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        plain = client.enqueue(Note("plain"), unique="k", delay=MINUTE)

        held = client.enqueue(Note("held"), **HELD)

        assert (held.duplicate, held.id, held.payload["text"]) == (True, plain.id, "plain")


def test_a_debounce_sent_again_changes_nothing_more(redis_url: str) -> None:
    sender = Sender(redis_config(redis_url))
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("first"), **HELD)
        prepared = client.operations.new_job(Note("second"), JobOptions(**HELD))
        call = moves.enqueue([prepared[0]])
        assert sender.send(call) == [first.id]
        third = client.enqueue(Note("third"), **HELD)

        assert sender.send(Call(call.again, call.parse)) == [first.id]

        assert client.get(first.id).payload == third.payload
        assert client.get(first.id).debounced == 2
    sender.close()


def test_of_a_batch_with_one_key_the_last_one_stays(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        jobs = client.enqueue_many([Note("a"), Note("b"), Note("c")], **HELD)

        assert len({job.id for job in jobs}) == 1
        assert client.get(jobs[0].id).payload["text"] == "c"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"debounce": MINUTE}, "debounce"),
        ({"throttle": MINUTE}, "throttle"),
        ({"unique": False, "throttle": MINUTE}, "throttle"),
        ({"unique": "k", "throttle": timedelta(0)}, "throttle"),
        ({"unique": "k", "debounce": timedelta(days=9999)}, "debounce"),
        ({"unique": "k", "throttle": MINUTE, "unique_until": "done"}, "throttle"),
        ({"unique": "k", "debounce": MINUTE, "throttle": MINUTE}, "debounce"),
        ({"unique": "k", "debounce": MINUTE, "delay": MINUTE}, "debounce"),
        ({"unique": "k", "debounce": MINUTE, "debounce_at_most": MINUTE / 2}, "debounceAtMost"),
        ({"unique": "k", "debounce_at_most": MINUTE}, "debounceAtMost"),
    ],
)
def test_what_does_not_go_together_is_named(redis_url: str, options: dict[str, Any], path: str) -> None:
    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidOption) as caught:
            client.enqueue(Note(), **options)

        assert [fault.path for fault in caught.value.faults] == [path]

"""How long, and with how many others, an ended job is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import Client, Context, Discard, JobState, Keep, keys, subtype
from cgjobs.broker import Sender, moves
from cgjobs.config import QueueConfig
from cgjobs.worker import Worker
from tests.jobs import Note, config, raw, redis_config, registry

DAY = timedelta(days=1)


@subtype("work.note")
async def end(payload: Note, ctx: Context) -> str:
    """Fail when told to."""
    if payload.text == "fail":
        raise Discard("told to")
    return payload.text


def run(url: str) -> None:
    """A worker runs what there is now."""
    asyncio.run(Worker(config(url), registry(end), burst=True).run())


def job_keys(url: str) -> set[str]:
    """All keys that belong to one job."""
    with raw(url) as broker:
        return {key for key in broker.scan_iter() if key.startswith(("rq:job:", "rq:results:"))}


@pytest.mark.parametrize(
    ("text", "option", "state"),
    [("well", "keep_completed", JobState.COMPLETED), ("fail", "keep_failed", JobState.FAILED)],
)
def test_so_many_ended_jobs_of_a_queue_are_kept_and_the_oldest_go(
    redis_url: str, text: str, option: str, state: JobState
) -> None:
    options: dict[str, Any] = {option: Keep(DAY, count=3)}
    with Client(config(redis_url), registry(end)) as client:
        made = []
        for _ in range(5):
            made.append(client.enqueue(Note(text), **options))
            run(redis_url)

        kept = client.queue("work").jobs(state)

        assert {job.id for job in kept} <= {job.id for job in made}
        assert len(kept) == 3
        assert made[-1].id in {job.id for job in kept}
        assert job_keys(redis_url) == {
            key for job in kept for key in (keys.job(job.id), keys.results(job.id))
        }
        assert client.queue("work").stats().completed == (5 if text == "well" else 0)


def test_a_queue_says_how_many_are_kept_and_a_job_may_differ(redis_url: str) -> None:
    settings = config(redis_url, queues=[QueueConfig("work", keep_completed=Keep(DAY, count=2))])
    with Client(settings, registry(end)) as client:
        client.enqueue_many([Note("a")] * 5)
        run(redis_url)
        assert len(client.queue("work").jobs(JobState.COMPLETED)) == 2

        client.enqueue_many([Note("a")] * 2, keep_completed=DAY)
        run(redis_url)
        assert len(client.queue("work").jobs(JobState.COMPLETED)) == 4


def test_a_great_surplus_goes_in_steps_and_the_promoter_does_the_rest(redis_url: str) -> None:
    with Client(config(redis_url), registry(end)) as client, raw(redis_url) as broker:
        client.enqueue_many([Note("a")] * 400, keep_completed=DAY)
        run(redis_url)
        client.enqueue(Note("last"), keep_completed=Keep(2 * DAY, count=1))
        asyncio.run(Worker(config(redis_url), registry(end), burst=True).run())
        before = broker.zcard(keys.completed("work"))

        sender = Sender(redis_config(redis_url))
        for _ in range(3):
            sender.send(moves.promote(["work"]))
        sender.close()

        assert before < 400
        assert [job.payload["text"] for job in client.queue("work").jobs(JobState.COMPLETED)] == ["last"]
        assert len(job_keys(redis_url)) == 2
        assert not broker.hexists(keys.queue("work"), "keep_completed")


def test_what_stands_in_a_registry_but_is_no_ended_job_loses_its_entry_only(redis_url: str) -> None:
    with Client(config(redis_url), registry(end)) as client, raw(redis_url) as broker:
        waiting = client.enqueue(Note(), delay=DAY)
        broker.zadd(keys.completed("work"), {waiting.id: 1e10})
        client.enqueue(Note("a"), keep_completed=Keep(10_000 * DAY / 3, count=1))
        broker.zadd(keys.completed("work"), {waiting.id: 2e9})  # not over, and before the other one
        broker.zadd(keys.completed("work"), {"gone": 2e9})

        run(redis_url)

        assert client.get(waiting.id).state is JobState.DELAYED


def test_an_old_entry_of_an_id_does_not_take_its_job_in_another_queue_along(redis_url: str) -> None:
    with Client(config(redis_url), registry(end)) as client, raw(redis_url) as broker:
        other = client.enqueue(Note("other"), keep_completed=DAY)
        run(redis_url)
        broker.hset(keys.job(other.id), "origin", "other")
        broker.zadd(keys.completed("work"), {other.id: 2e9})  # of a job that had this id before
        client.enqueue(Note("a"), keep_completed=Keep(10_000 * DAY / 3, count=1))

        run(redis_url)

        assert broker.exists(keys.job(other.id))
        assert broker.zscore(keys.completed("work"), other.id) is None


@pytest.mark.parametrize("option", ["keep_completed", "keep_failed"])
def test_what_is_not_kept_leaves_nothing_behind(redis_url: str, option: str) -> None:
    options: dict[str, Any] = {option: timedelta(0)}
    with Client(config(redis_url), registry(end)) as client, raw(redis_url) as broker:
        client.enqueue(Note("" if option == "keep_completed" else "fail"), **options)
        cancelled = client.enqueue(Note(), delay=DAY, keep_failed=timedelta(0))
        client.queue("work").cancel(cancelled.id)
        run(redis_url)

        assert not [key for key in broker.scan_iter() if key.startswith("rq:job:")]
        assert not broker.exists(keys.failed("work"), keys.completed("work"), keys.cancelled("work"))


def test_a_number_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="count is 0; it must be from 1 to"):
        Keep(DAY, count=0)

"""Unique keys, and jobs that are not worth starting any more."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cgjobs import Client, Context, Discard, Event, InvalidOption, JobState, JobStateError, Snooze, subtype
from cgjobs.worker import Worker
from tests.jobs import Note, config, raw, registry


def run(url: str, *subtypes: Any, events: list[Event] | None = None) -> None:
    """A worker runs what there is now."""
    asyncio.run(Worker(config(url), registry(*subtypes, events=events), burst=True).run())


@subtype("work.note")
def refuse(payload: Note, ctx: Context) -> None:
    """Fail for good."""
    raise Discard("never")


@subtype("work.note")
def put_off(payload: Note, ctx: Context) -> None:
    """Start, and go on later."""
    raise Snooze(timedelta(hours=1))


def test_while_a_job_has_the_key_another_adds_nothing_and_the_first_is_given_back(
    redis_url: str,
) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("first"), unique="k")

        second = client.enqueue(Note("second"), unique="k")

        assert second.duplicate
        assert (second.id, second.payload["text"]) == (first.id, "first")
        assert client.queue("work").stats().waiting == 1


def test_another_key_is_another_matter(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note(), unique="k")

        assert not client.enqueue(Note(), unique="l").duplicate


def test_fifty_threads_with_one_key_enqueue_one_job(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, ThreadPoolExecutor(50) as pool:
        jobs = list(pool.map(lambda _: client.enqueue(Note(), unique="k"), range(50)))

        assert len({job.id for job in jobs}) == 1
        assert client.queue("work").stats().waiting == 1


def test_a_job_that_is_done_gives_its_key_back(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note(), unique="k")
        run(redis_url)

        assert not client.enqueue(Note(), unique="k").duplicate


def test_a_job_that_fails_gives_its_key_back_however_long_it_was_held_for(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note(), unique="k", unique_until=timedelta(hours=1))
        run(redis_url, refuse)

        assert not client.enqueue(Note(), unique="k").duplicate


def test_a_key_until_the_start_is_free_once_the_job_has_started(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note(), unique="soon", unique_until="started")
        client.enqueue(Note(), unique="late", unique_until="done")
        run(redis_url, put_off)

        assert not client.enqueue(Note(), unique="soon").duplicate
        assert client.enqueue(Note(), unique="late").duplicate


def test_a_key_for_a_time_is_held_after_its_job_is_done_and_gone_after_that_time(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        first = client.enqueue(Note(), unique="k", unique_until=timedelta(minutes=5))
        run(redis_url)

        held = client.enqueue(Note(), unique="k")
        assert (held.duplicate, held.id) == (True, first.id)
        assert 280_000 < broker.pttl("cgjobs:unique:work:k") <= 300_000

        broker.pexpire("cgjobs:unique:work:k", 0)
        assert not client.enqueue(Note(), unique="k").duplicate


@pytest.mark.parametrize("how", ["remove", "drain"])
def test_a_job_that_is_taken_out_gives_its_key_back(redis_url: str, how: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue(Note(), unique="k")
        if how == "remove":
            client.queue("work").remove(job.id)
        else:
            client.queue("work").drain()

        assert not client.enqueue(Note(), unique="k").duplicate


def test_a_failed_job_is_retried_only_while_nobody_else_has_its_key(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue(Note(), unique="k")
        run(redis_url, refuse)
        other = client.enqueue(Note(), unique="k")

        with pytest.raises(JobStateError, match=other.id):
            client.queue("work").retry(job.id)

        client.queue("work").remove(other.id)
        client.queue("work").retry(job.id)
        assert client.enqueue(Note(), unique="k").id == job.id


def test_a_key_whose_job_is_lost_is_free(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        job = client.enqueue(Note(), unique="k")
        broker.delete(f"rq:job:{job.id}")

        assert not client.enqueue(Note(), unique="k").duplicate


def test_a_job_that_no_worker_started_in_time_fails_and_says_so(redis_url: str) -> None:
    events: list[Event] = []
    with Client(config(redis_url), registry()) as client:
        late = client.enqueue(Note(), expires=datetime.now(UTC) - timedelta(seconds=1), unique="k")
        good = client.enqueue(Note(), expires=timedelta(minutes=1))
        run(redis_url, events=events)

        found = client.get(late.id)
        assert found.state is JobState.FAILED
        assert "Expired: it had to start before" in found.errors[0].error
        assert [event.job_id for event in events if event.name == "job_failed"] == [late.id]
        assert client.queue("work").find(good.id) is None
        assert client.queue("work").stats().completed == 1
        assert not client.enqueue(Note(), unique="k").duplicate


def test_a_retry_does_not_expire(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue(Note(), expires=datetime.now(UTC) - timedelta(seconds=1))
        run(redis_url)

        client.queue("work").retry(job.id)
        run(redis_url)

        assert client.queue("work").stats().completed == 1


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"unique": ""}, "unique"),
        ({"unique": "é"}, "unique"),
        ({"unique": "k", "unique_until": "soon"}, "uniqueUntil"),
        ({"unique": "k", "unique_until": timedelta(0)}, "uniqueUntil"),
        ({"expires": timedelta(0)}, "expires"),
        ({"expires": datetime(2026, 1, 1)}, "expires"),  # noqa: DTZ001 - the fault is that it has no zone
    ],
)
def test_an_option_out_of_range_is_named(redis_url: str, options: dict[str, Any], path: str) -> None:
    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidOption) as caught:
            client.enqueue(Note(), **options)

        assert [fault.path for fault in caught.value.faults] == [path]

"""Tags of a job, and many jobs spread over a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cgjobs import AsyncClient, Client, InvalidOption, JobState, keys
from tests.jobs import Count, Note, awaited, config, raw, registry, server_time

MINUTE = timedelta(minutes=1)


def test_a_job_has_the_tags_that_it_was_given_each_once(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        job = client.enqueue(Note(), tags=["invoice", "tenant-7", "invoice"])

        assert client.get(job.id).tags == job.tags == ("invoice", "tenant-7")


@pytest.mark.parametrize(
    "tags", [["a b"], ["a,b"], [""], ["x" * 65], ["é"], [7], [f"t{n}" for n in range(11)], "a"]
)
def test_a_tag_out_of_range_is_refused(redis_url: str, tags: Any) -> None:
    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidOption) as caught:
            client.enqueue(Note(), tags=tags)

        assert [fault.path for fault in caught.value.faults] == ["tags"]


def test_a_strangers_tags_are_none(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as broker:
        job = client.enqueue(Note())
        for written in ("{", "{}", "[1]", ""):
            broker.hset(keys.job(job.id), "tags", written)
            assert client.get(job.id).tags == ()


@awaited
async def test_many_jobs_are_due_evenly_over_a_time_by_the_brokers_clock(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        jobs = await client.enqueue_many([Note(str(n)) for n in range(5)], spread=10 * MINUTE)
        later = await client.enqueue_many([Note(), Note()], spread=10 * MINUTE, delay=MINUTE)

    assert [job.state for job in jobs] == [JobState.WAITING] + [JobState.DELAYED] * 4
    with raw(redis_url) as broker:
        now = server_time(broker)
        waits = [broker.zscore(keys.delayed("work"), job.id) for job in (*jobs[1:], *later)]
        assert broker.llen(keys.waiting("work")) == 1
    assert [float(wait or 0) - now for wait in waits] == pytest.approx([120, 240, 360, 480, 60, 360], abs=10)


@pytest.mark.parametrize(
    "options", [{"spread": -MINUTE}, {"spread": MINUTE, "unique": "k", "debounce": MINUTE}]
)
def test_a_spread_out_of_range_is_refused(redis_url: str, options: dict[str, Any]) -> None:
    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidOption) as caught:
            client.enqueue_many([Note(), Note()], **options)

        assert [fault.path for fault in caught.value.faults] == ["spread"]


def test_jobs_are_found_by_tag_name_and_time_page_by_page(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        queue = client.queue("work")
        client.enqueue_many([Note()] * 1100)
        wanted = client.enqueue_many([Note(str(n)) for n in range(5)], tags=["a", "b"])
        client.enqueue_many([Note()] * 700, tags=["b"], priority="high")
        client.enqueue(Count(1), tags=["a"], delay=MINUTE)
        created = client.get(wanted[0].id).created_at
        assert created is not None

        found = queue.jobs(JobState.WAITING, tag="a")
        assert [job.id for job in found] == [job.id for job in wanted]
        assert queue.jobs(JobState.WAITING, tag="a", offset=1, limit=2) == found[1:3]
        assert len(queue.jobs(JobState.WAITING, since=created, limit=2000)) == 705
        assert queue.jobs(JobState.WAITING, tag="a", since=created + MINUTE) == []
        assert queue.jobs(JobState.WAITING, name="work.count") == []
        assert [job.name for job in queue.jobs(JobState.DELAYED, name="work.count")] == ["work.count"]
        with pytest.raises(InvalidOption):
            queue.jobs(JobState.WAITING, tag="a", offset=-1)
        with pytest.raises(InvalidOption, match="has no time zone"):
            queue.jobs(JobState.WAITING, since=created.replace(tzinfo=None))

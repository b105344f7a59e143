"""Retrying, cancelling and removing all jobs that are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cgjobs import AsyncClient, Client, InvalidOption, JobState, keys
from cgjobs.broker import moves, operators
from cgjobs.broker.values import Settlement
from cgjobs.bulk import BulkResult
from cgjobs.queue import Queue
from tests.jobs import Count, Note, awaited, config, raw, registry
from tests.proxy import Proxy

HOUR = timedelta(hours=1)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(config(redis_url), registry()) as made:
        yield made


def fail(
    client: Client, texts: list[str], error: str = "ConnectionError: refused", **options: Any
) -> list[str]:
    """Enqueue jobs and have a worker say that they failed, in their order."""
    jobs = client.enqueue_many([Note(text) for text in texts], **options)
    wants = {"work": len(jobs)}
    turn = client._sender.send(moves.turn("w", (), wants, lease=HOUR, largest=1 << 20))
    for claimed in turn.jobs:  # what one call settles ended at one time
        outcome = Settlement("failed", claimed, "work.note", error=error)
        client._sender.send(moves.turn("w", [outcome], {}, lease=HOUR, largest=1 << 20))
    return [job.id for job in jobs]


def ids(queue: Queue, state: JobState) -> list[str]:
    return [job.id for job in queue.jobs(state, limit=10_000)]


def test_all_that_failed_are_retried_in_the_order_in_which_they_failed(client: Client) -> None:
    failed = fail(client, ["a", "b", "c"], attempts=3)
    other = client.enqueue(Note(), delay=HOUR)
    queue = client.queue("work")

    result = queue.retry_all()

    assert result == BulkResult(matched=3, moved=3)
    assert ids(queue, JobState.WAITING) == failed
    assert {job.attempts for job in queue.jobs(JobState.WAITING)} == {3}
    assert ids(queue, JobState.DELAYED) == [other.id]


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ({"error": "REFUSED"}, [0]),
        ({"error_type": "ConnectionError"}, [0, 1]),
        ({"error_type": "Connection"}, []),
        ({"error_type": "ValueError"}, [2]),
        ({"error_type": "ShopError"}, [3]),
        ({"error_type": "ShopError", "error": "refused"}, []),
        ({"tag": "night"}, [2]),
        ({"name": "work.note"}, [0, 1, 2, 3]),
        ({"name": "work.count"}, []),
    ],
)
def test_only_those_are_retried_that_are_wanted(client: Client, which: Any, found: list[int]) -> None:
    failed = fail(client, ["a"], "ConnectionError: Refused by peer")
    failed += fail(client, ["b"], "ConnectionError: timed out")
    failed += fail(client, ["c"], "ValueError: no", tags=["night"])
    failed += fail(client, ["d"], "shop.errors.ShopError: no")
    queue = client.queue("work")

    dry = queue.retry_all(dry_run=True, **which)
    result = queue.retry_all(**which)

    assert dry.matched == result.matched == result.moved == len(found)
    assert {job.id for job in dry.samples} == {failed[n] for n in found}
    assert ids(queue, JobState.WAITING) == [failed[n] for n in found]


def test_jobs_are_chosen_by_when_they_were_created_and_when_they_ended(
    client: Client, redis_url: str
) -> None:
    failed = fail(client, ["a", "b", "c"])
    queue = client.queue("work")
    with raw(redis_url) as broker:
        for job_id, hour in zip(failed, (1, 2, 3), strict=True):
            broker.hset(keys.job(job_id), "created_at", f"2026-01-01T0{hour}:00:00.000000Z")
            broker.hset(keys.job(job_id), "ended_at", f"2026-01-01T1{hour}:00:00.000000Z")
    at = {hour: datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (1, 2, 3, 11, 12, 13)}

    def found(**which: Any) -> list[str]:
        return [job.id for job in reversed(queue.jobs(JobState.FAILED, **which))]

    assert found(since=at[2]) == failed[1:]
    assert found(until=at[2]) == failed[:1]
    assert found(ended_since=at[12]) == failed[1:]
    assert found(ended_since=at[12], ended_until=at[13]) == failed[1:2]
    assert found(since=at[2], ended_until=at[12]) == []
    assert queue.remove_all(states=[JobState.FAILED], ended_until=at[13]).moved == 2
    assert ids(queue, JobState.FAILED) == failed[2:]


def test_a_limit_takes_those_that_came_last(client: Client) -> None:
    failed = fail(client, ["a", "b", "c"])
    queue = client.queue("work")

    assert queue.retry_all(limit=2) == BulkResult(matched=2, moved=2)
    assert ids(queue, JobState.WAITING) == failed[1:]


def test_a_dry_run_moves_nothing_and_shows_five(client: Client) -> None:
    failed = fail(client, [str(n) for n in range(12)])
    queue = client.queue("work")

    result = queue.retry_all(dry_run=True)

    assert (result.matched, result.moved) == (12, 0)
    assert [job.id for job in result.samples] == failed[:5]
    assert set(ids(queue, JobState.FAILED)) == set(failed)


def test_waiting_delayed_deferred_and_held_jobs_are_cancelled_and_running_ones_are_not(
    client: Client,
) -> None:
    queue = client.queue("work")
    running = client.enqueue(Note("runs"))
    [claimed] = client._sender.send(moves.turn("w", (), {"work": 1}, lease=HOUR, largest=1 << 20)).jobs
    held = client.enqueue(Note("held"))
    turn = client._sender.send(moves.turn("w", (), {"work": 1}, lease=HOUR, largest=1 << 20))
    hold = Settlement("hold", turn.jobs[0], error="no such type", group="type:work.note")
    client._sender.send(moves.turn("w", [hold], {}, lease=HOUR, largest=1 << 20))
    waiting = client.enqueue_many([Note(), Count(1)], priority="high")
    more = [client.enqueue(Note(), delay=HOUR), client.enqueue(Note(), depends_on=[waiting[0]])]

    result = queue.cancel_all()

    # the one that depends on a cancelled one has failed by then
    assert (result.matched, result.moved, result.skipped) == (5, 4, 1)
    cancelled = {held.id, *(job.id for job in waiting), more[0].id}
    assert set(ids(queue, JobState.CANCELLED)) == cancelled
    assert queue.get(running.id).state is JobState.ACTIVE
    assert queue.cancel_all(states=[JobState.ACTIVE]) == BulkResult(matched=1, moved=1)
    assert client._sender.send(moves.cancels("w")) == {(running.id, claimed.token)}


def test_who_watches_in_this_process_is_told_of_each_cancelled_job(redis_url: str) -> None:
    told: list[tuple[str, str, str]] = []
    made = registry()

    with Client(config(redis_url), made) as client:
        jobs = client.enqueue_many([Note(), Note()], correlation_id="c")
        operations = client.operations
        object.__setattr__(operations, "registry", _Told(made, told))

        client.queue("work").cancel_all()

    assert told == [("job_cancelled", job.id, "c") for job in jobs]


class _Told:
    """A registry that remembers what is told."""

    def __init__(self, made: Any, told: list[tuple[str, str, str]]) -> None:
        self._made, self._told = made, told

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def tell(self, event: Any) -> None:
        self._told.append((event.name, event.job_id, event.correlation_id))


def test_a_job_that_moved_in_the_meantime_is_skipped(client: Client) -> None:
    failed = fail(client, ["a", "b", "c"])
    client.queue("work").retry(failed[0])
    client.queue("work").remove(failed[1])

    answers = client._sender.send(operators.move_many("retry", failed, JobState.FAILED))

    assert answers == [False, False, True]
    assert client._sender.send(operators.move_many("cancel", failed, JobState.DELAYED)) == [False] * 3


def test_a_job_whose_unique_key_another_one_has_is_skipped(client: Client) -> None:
    fail(client, ["a"], unique="k")
    client.enqueue(Note(), unique="k")

    assert client.queue("work").retry_all() == BulkResult(matched=1, moved=0, skipped=1)


def test_jobs_of_which_nobody_knows_what_they_did_are_left_out_unless_asked_for(client: Client) -> None:
    client.enqueue_many([Note("a"), Note("b")])
    turn = client._sender.send(moves.turn("w", (), {"work": 2}, lease=HOUR, largest=1 << 20))
    kinds = zip(("unknown", "failed"), turn.jobs, strict=True)
    outcomes = [Settlement(kind, claimed, "work.note", error="X: no") for kind, claimed in kinds]  # type: ignore[arg-type]
    client._sender.send(moves.turn("w", outcomes, {}, lease=HOUR, largest=1 << 20))
    queue = client.queue("work")

    assert queue.retry_all(dry_run=True).unknown == 1
    assert queue.retry_all() == BulkResult(matched=1, moved=1, unknown=1)
    assert queue.retry_all(include_unknown=True) == BulkResult(matched=1, moved=1)


def test_a_lost_reply_moves_nothing_twice_and_counts_each_job(redis_url: str) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        client.load_functions()
        fail(client, [str(n) for n in range(20)])
        proxy.drop_reply(b"cgjobs1_retry")

        result = client.queue("work").retry_all()

        assert proxy.lost == 1
        assert result == BulkResult(matched=20, moved=20)
        assert client.queue("work").stats().waiting == 20


def test_more_jobs_than_a_call_may_have_are_all_moved(client: Client) -> None:
    queue = client.queue("work")
    client.enqueue_many([Note(str(n)) for n in range(1203)])

    assert queue.cancel_all() == BulkResult(matched=1203, moved=1203)
    assert queue.retry_all(states=[JobState.CANCELLED]) == BulkResult(matched=1203, moved=1203)
    assert queue.remove_all(states=[JobState.WAITING]) == BulkResult(matched=1203, moved=1203)
    assert queue.stats().waiting == 0


def test_a_call_that_searches_long_lists_ends_early_and_the_rest_is_asked_for_again(client: Client) -> None:
    client.enqueue_many([Note(str(n)) for n in range(6000)])
    last = [
        job.id
        for job in client.enqueue_many(
            [
                Note(
                    "last",
                )
                for _ in range(100)
            ],
            tags=["last"],
        )
    ]
    assert len(client._sender.send(operators.move_many("cancel", ["x", *last], JobState.WAITING))) < 100

    result = client.queue("work").cancel_all(tag="last")

    assert result.matched == result.moved > 0
    assert client.queue("work").stats().waiting == 6000


@pytest.mark.parametrize(
    ("move", "states"),
    [
        ("retry_all", [JobState.WAITING]),
        ("cancel_all", [JobState.FAILED]),
        ("remove_all", [JobState.FAILED, JobState.ACTIVE]),
    ],
)
def test_a_state_from_which_there_is_no_such_move_is_refused(
    client: Client, move: str, states: list[JobState]
) -> None:
    with pytest.raises(InvalidOption, match="can be moved by"):
        getattr(client.queue("work"), move)(states=states)


def test_a_time_without_a_zone_and_a_limit_of_none_are_refused(client: Client) -> None:
    with pytest.raises(InvalidOption, match="no time zone"):
        client.queue("work").retry_all(ended_since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidOption, match="below 1"):
        client.queue("work").retry_all(limit=0)


@awaited
async def test_an_asynchronous_client_does_the_same(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        queue = client.queue("work")
        await client.enqueue_many([Note(), Note()])

        assert await queue.cancel_all(name="work.note") == BulkResult(matched=2, moved=2)
        assert await queue.retry_all(states=[JobState.CANCELLED]) == BulkResult(matched=2, moved=2)
        assert await queue.remove_all(states=[JobState.WAITING], limit=1) == BulkResult(matched=1, moved=1)
        assert (await queue.stats()).waiting == 1

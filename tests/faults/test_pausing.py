"""Row 43: nothing of a queue starts once `pause` has returned, whatever was under way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import AsyncClient, Client, Context, Job, Processor, WaitTimeout, subtype
from cgjobs.broker import moves
from cgjobs.worker import Worker
from tests.cli import Cli, command_line
from tests.jobs import Note, at_work, awaited, config, listened_to, raw, registry, running, until
from tests.proxy import Proxy

LEASE = timedelta(seconds=1)
REAP = timedelta(milliseconds=100)


class Starts:
    """A handler that notes each of its starts and runs until told to end."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.end = threading.Event()

        @subtype("work.note")
        async def handler(payload: Note, ctx: Context) -> None:
            self.seen.append(time.monotonic())
            while not self.end.is_set():
                await asyncio.sleep(0.005)

        self.handler = handler
        self.registry = registry(handler, processors=[Processor("work", concurrency=3)])


either_claim = pytest.mark.parametrize(
    "behind_a_wait", [False, True], ids=["the first claim", "the claim behind a wait"]
)


@asynccontextmanager
async def reply_under_way(
    redis_url: str, starts: Starts, *, behind_a_wait: bool, **options: Any
) -> AsyncIterator[tuple[AsyncClient, Job, Proxy]]:
    """A worker at work, and a job that it has claimed without knowing it yet: the proxy holds the reply."""
    with Proxy(redis_url) as proxy:
        proxy.hold_reply(b"BLPOP" if behind_a_wait else b"cgjobs1_claim")
        async with AsyncClient(config(redis_url), starts.registry) as client:
            if not behind_a_wait:
                job = await client.enqueue(Note())
            async with running(Worker(config(proxy.url, **options), starts.registry)):
                if behind_a_wait:
                    await until(lambda: listened_to(redis_url))
                    job = await client.enqueue(Note())

                async def claimed() -> bool:
                    return (await client.queue("work").stats()).active == 1

                await until(claimed)
                yield client, job, proxy


@either_claim
@awaited
async def test_a_claim_whose_reply_is_under_way_starts_its_jobs_before_pause_returns(
    redis_url: str, *, behind_a_wait: bool
) -> None:
    """Row 43."""
    starts = Starts()
    lease = timedelta(seconds=10)
    held = reply_under_way(redis_url, starts, behind_a_wait=behind_a_wait, lease=lease)
    async with held as (client, _, proxy):
        pausing = asyncio.create_task(client.queue("work").pause())
        await asyncio.sleep(0.3)
        assert not pausing.done()
        assert starts.seen == []

        proxy.release()
        assert await pausing
        returned = time.monotonic()
        await client.enqueue_many([Note()] * 5)
        await asyncio.sleep(0.3)
        starts.end.set()

    assert len(starts.seen) == 1
    assert starts.seen[0] < returned


@awaited
async def test_a_pause_of_an_idle_queue_returns_at_once(redis_url: str) -> None:
    """Row 43."""
    async with at_work(redis_url) as work:
        began = time.monotonic()
        await work.client.queue("work").pause()
        took = time.monotonic() - began

    assert took < 0.5


@awaited
async def test_a_second_pause_waits_for_its_own_answers(redis_url: str) -> None:
    """Row 43: what workers said of the pause before does not count."""
    starts = Starts()
    async with at_work(redis_url, starts.handler) as work:
        await work.client.enqueue(Note())
        await until(lambda: starts.seen)
        queue = work.client.queue("work")
        with raw(redis_url) as behind:
            await queue.pause()
            first = behind.hgetall("cgjobs:heard:work")
            await queue.resume()
            assert behind.hgetall("cgjobs:heard:work") == {}
            await queue.pause()
            second = behind.hgetall("cgjobs:heard:work")
        starts.end.set()

    assert first.keys() == second.keys() == {work.worker.name}
    assert first != second


@awaited
async def test_an_answer_to_an_earlier_pause_counts_for_nothing(redis_url: str) -> None:
    """Row 43: a worker that was slow to answer, and has claimed since."""
    provided = registry()
    async with AsyncClient(config(redis_url), provided) as client:
        queue = client.queue("work")
        await client.enqueue(Note())
        await queue.pause()
        with raw(redis_url) as behind:
            [old] = behind.hmget("cgjobs:queue:work", "paused")
        await queue.resume()
        call = moves.turn("slow", (), {"work": 1}, lease=timedelta(hours=1), largest=1 << 20)
        await client._sender.send(call)
        await queue.pause(timeout=timedelta(0))

        await client._sender.send(moves.heard("slow", {"work": str(old)}))

        assert await client._sender.send(moves.unheard("work")) == ["slow"]


def test_a_dead_workers_lease_is_the_longest_wait(redis_url: str) -> None:
    """Row 43: also when no worker is left to take its job back."""
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note())
        client._sender.send(moves.turn("dead", (), {"work": 1}, lease=LEASE, largest=1 << 20))
        began = time.monotonic()

        client.queue("work").pause()

        assert 0.5 < time.monotonic() - began < 3


def test_a_worker_that_never_answers_is_named_and_the_queue_is_paused(redis_url: str) -> None:
    """Row 43."""
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note())
        hour = timedelta(hours=1)
        client._sender.send(moves.turn("mute", (), {"work": 1}, lease=hour, largest=1 << 20))

        with pytest.raises(WaitTimeout, match="is paused, but mute may still start a job of it"):
            client.queue("work").pause(timeout=timedelta(milliseconds=100))

        assert client.queue("work").stats().paused


@either_claim
@awaited
async def test_a_claim_that_was_under_way_longer_than_its_lease_starts_nothing(
    redis_url: str, *, behind_a_wait: bool
) -> None:
    """Row 43 and 20: whoever looked at the leases by then thinks that nothing starts."""
    starts = Starts()
    held = reply_under_way(
        redis_url,
        starts,
        behind_a_wait=behind_a_wait,
        lease=LEASE,
        reap_interval=timedelta(hours=1),
        broker={"timeout": timedelta(seconds=20)},  # so that the reply still counts when it comes
    )
    async with held as (client, job, proxy):
        await client.queue("work").pause()  # waits for the end of the lease
        proxy.release()

        async def handed_back() -> bool:
            return (await client.get(job.id)).state == "waiting"

        await until(handed_back)

    assert starts.seen == []


@pytest.mark.parametrize("ends", [True, False], ids=["they end", "they do not end in time"])
@awaited
async def test_a_pause_can_wait_until_running_jobs_have_ended(redis_url: str, ends: bool) -> None:
    """Row 43."""
    starts = Starts()
    async with at_work(redis_url, starts.handler) as work:
        await work.client.enqueue(Note())
        await until(lambda: starts.seen)
        drain = timedelta(seconds=10 if ends else 0.1)
        pausing = asyncio.create_task(work.client.queue("work").pause(drain=drain))
        await asyncio.sleep(0.2)
        assert not pausing.done() or not ends
        if ends:
            starts.end.set()
            assert await pausing
            assert (await work.client.queue("work").stats()).active == 0
        else:
            with pytest.raises(WaitTimeout, match="1 of its jobs still run"):
                await pausing
            starts.end.set()


@pytest.fixture
def cgjobs(tmp_path: Any, capsys: Any, monkeypatch: Any, redis_url: str) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


def test_the_command_waits_for_running_jobs_when_asked(cgjobs: Cli) -> None:
    """Row 43."""
    idle = cgjobs("queue", "pause", "shop", "--drain", "--json")
    wrong = cgjobs("queue", "pause", "shop", "--timeout", "60")

    assert idle.json == {"queue": "shop", "paused": True, "changed": True}
    assert (wrong.code, "--timeout" in wrong.err) == (2, True)

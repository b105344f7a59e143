"""What a handler writes while it runs: kept log lines, checkpoints and marks, also over a bad network."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import AsyncClient, Backoff, Context, JobNotFound, JobState, Processor, Retry, subtype
from cgjobs.broker import Sender, moves
from cgjobs.config import LimitConfig
from cgjobs.worker import Worker
from tests.jobs import (
    AT_ONCE,
    PATIENCE,
    Count,
    Login,
    Note,
    at_work,
    awaited,
    config,
    raw,
    redis_config,
    registry,
    until,
)
from tests.proxy import Proxy

HOUR = timedelta(hours=1)


@subtype("work.note")
async def on_loop(payload: Note, ctx: Context) -> None:
    ctx.log.info("looked", text=payload.text)
    if ctx.job.attempt == 1:
        raise ValueError("not yet")


@subtype("work.count")
def on_thread(payload: Count, ctx: Context) -> None:
    for number in range(payload.number):
        ctx.log.info("counted", number=number)


@subtype("work.login")
def login(payload: Login, ctx: Context) -> None:
    ctx.log.warning("tried", said=f"password is {payload.password}")


@awaited
async def test_what_a_handler_logs_is_kept_with_its_attempt_and_goes_with_the_job(redis_url: str) -> None:
    async with at_work(redis_url, on_loop, on_thread) as work:
        queue = work.client.queue("work")
        job = await work.client.enqueue(Note("a"), keep_completed=HOUR)
        await work.client.wait(job)
        lines = await queue.log(job.id)
        with raw(redis_url) as redis:
            ttl = redis.ttl(f"cgjobs:log:{job.id}")
            await queue.remove(job.id)
            left = redis.exists(f"cgjobs:log:{job.id}")

    assert [(line.event, line.attempt, dict(line.fields)) for line in lines] == [
        ("looked", 1, {"text": "a"}),
        ("looked", 2, {"text": "a"}),
    ]
    assert 0 < ttl <= 3600
    assert left == 0


@awaited
async def test_the_last_lines_are_kept_and_secrets_are_not(redis_url: str) -> None:
    settings = config(redis_url, limits=LimitConfig(log_lines=3))
    async with at_work(redis_url, on_thread, login, settings=settings) as work:
        job = await work.client.enqueue(Count(10), keep_completed=HOUR)
        secret = await work.client.enqueue(Login("ada", "hunter2!"), keep_completed=HOUR)
        await work.client.wait(job)
        await work.client.wait(secret)
        kept = await work.client.queue("work").log(job.id)
        [line] = await work.client.queue("work").log(secret.id)

    assert [line.fields["number"] for line in kept] == [7, 8, 9]
    assert line.fields == {"said": "password is ********"}


@awaited
async def test_a_job_that_says_nothing_leaves_nothing(redis_url: str) -> None:
    settings = config(redis_url, limits=LimitConfig(log_lines=0))
    async with at_work(redis_url, on_thread, settings=settings) as work:
        job = await work.client.enqueue(Count(2), keep_completed=HOUR)
        await work.client.wait(job)
        with raw(redis_url) as redis:
            fields = redis.hkeys(f"rq:job:{job.id}")
            assert redis.exists(f"cgjobs:log:{job.id}") == 0

    assert not {"logged", "checkpoint", "begun", "outcome"} & set(fields)


@awaited
async def test_a_retry_goes_on_from_the_checkpoint_and_one_by_hand_too(redis_url: str) -> None:
    seen: list[int] = []

    @subtype("work.note")
    async def note(payload: Note, ctx: Context) -> None:
        seen.append(ctx.resume(0))
        ctx.checkpoint(len(seen))
        if len(seen) < 4:
            raise ValueError("not yet")

    async with at_work(redis_url, note) as work:
        job = await work.client.enqueue(Note(), attempts=3, keep_completed=HOUR)
        queue = work.client.queue("work")

        async def failed() -> bool:
            return (await queue.get(job.id)).state is JobState.FAILED

        await until(failed)
        assert (await queue.get(job.id)).checkpoint == 3
        await queue.retry(job.id)
        await work.client.wait(job)

    assert seen == [0, 1, 2, 3]


@awaited
async def test_lost_replies_write_no_line_twice_and_begin_no_effect_twice(redis_url: str) -> None:
    effects: list[str] = []

    @subtype("work.note")
    async def note(payload: Note, ctx: Context) -> str:
        ctx.log.info("before")
        async with ctx.once("mail", unknown="fail") as mail:
            if mail:
                effects.append(payload.text)
        ctx.checkpoint("after")
        ctx.log.info("after")
        return "sent"

    with Proxy(redis_url) as proxy:
        settings, provided = config(proxy.url), registry(note)
        async with AsyncClient(config(redis_url), provided) as client:
            job = await client.enqueue(Note("a"), keep_completed=HOUR)
            proxy.drop_reply(b"cgjobs1_once", nth=1)
            proxy.drop_reply(b"cgjobs1_once", nth=2)
            proxy.drop_reply(b"cgjobs1_log", nth=1)
            worker = Worker(settings, provided)
            task = asyncio.create_task(worker.run())
            result = await client.wait(job)
            lines = await client.queue("work").log(job.id)
            worker.stop()
            await asyncio.wait_for(task, PATIENCE)

    assert (result, effects) == ("sent", ["a"])
    assert [line.event for line in lines] == ["before", "after"]
    assert proxy.lost >= 2


@awaited
async def test_with_in_an_async_handler_is_an_error_and_no_standstill(redis_url: str) -> None:
    @subtype("work.note")
    async def note(payload: Note, ctx: Context) -> None:
        with ctx.once("mail", unknown="fail"):
            pass

    async with at_work(redis_url, note) as work:
        job = await work.client.enqueue(Note(), attempts=1)

        async def error() -> str:
            errors = (await work.client.get(job.id)).errors
            return errors[-1].error if errors else ""

        assert "write 'async with ctx.once(...)'" in await until(error)


@pytest.mark.parametrize("in_thread", [False, True], ids=["async def", "def"])
@awaited
async def test_an_effect_is_marked_from_both_kinds_of_handlers(redis_url: str, in_thread: bool) -> None:
    done: list[Any] = []

    @subtype("work.note")
    async def note(payload: Note, ctx: Context) -> None:
        async with ctx.once("mail", unknown="skip") as mail:
            done.append(bool(mail))
        if len(done) == 1:
            raise Retry("again")

    @subtype("work.count")
    def count(payload: Count, ctx: Context) -> None:
        with ctx.once("mail", unknown="skip") as mail:
            done.append(bool(mail))
        if len(done) == 1:
            raise Retry("again")

    async with at_work(redis_url, note, count) as work:
        await work.client.wait(await work.client.enqueue(Count() if in_thread else Note()))

    assert done == [True, False]


@awaited
async def test_the_jobs_options_win_over_the_subtypes_and_those_over_the_queues(redis_url: str) -> None:
    @subtype("work.note", attempts=2, backoff=lambda attempt, error: HOUR, no_retry_on=(KeyError,))
    async def note(payload: Note, ctx: Context) -> None:
        raise KeyError if payload.text else ValueError

    processors = [Processor("work", concurrency=5, attempts=7, backoff=AT_ONCE)]
    async with at_work(redis_url, note, processors=processors) as work:
        subtypes = await work.client.enqueue(Note())
        own = await work.client.enqueue(Note(), attempts=4, backoff=Backoff.fixed(timedelta(0), jitter=0))
        final = await work.client.enqueue(Note("key"))

        async def states() -> bool:
            found = [await work.client.get(job.id) for job in (subtypes, own, final)]
            wanted = [JobState.DELAYED, JobState.FAILED, JobState.FAILED]
            return [job.state for job in found] == wanted

        await until(states)
        found = [await work.client.get(job.id) for job in (subtypes, own, final)]

    assert (found[0].attempts, found[0].attempt) == (2, 2)
    assert len(found[1].errors) == 4
    assert len(found[2].errors) == 1


def test_only_the_attempt_that_has_the_job_can_write(redis_url: str) -> None:
    with raw(redis_url) as redis:
        redis.hset("rq:job:j", mapping={"status": "started", "token": "mine"})
        sender = Sender(redis_config(redis_url))
        sender.load_functions()

        assert sender.send(moves.checkpoint([("j", "other", b"1"), ("gone", "mine", b"1")])) == 0
        assert sender.send(moves.log(5, [("j", "other", 0, ["x"])])) == 0
        assert sender.send(moves.begin("j", "other")) is False
        for move in ("begin", "done", "undo"):
            assert sender.send(moves.once("j", "other", "k", "n", move)) == "lost"
            assert sender.send(moves.once("gone", "mine", "k", "n", move)) == "lost"

        assert redis.hgetall("rq:job:j") == {"status": "started", "token": "mine"}
        assert redis.keys("cgjobs:log:*") == []
        assert not redis.exists("rq:job:gone")
        sender.close()


def test_who_began_an_effect_may_say_that_it_is_done_however_late(redis_url: str) -> None:
    with raw(redis_url) as redis:
        redis.hset("rq:job:j", mapping={"status": "started", "token": "first"})
        sender = Sender(redis_config(redis_url))
        sender.load_functions()

        assert sender.send(moves.once("j", "first", "k", "n1", "begin")) == "new"
        assert sender.send(moves.once("j", "first", "k", "n1", "begin")) == "new", "sent again"
        assert sender.send(moves.once("j", "first", "k", "n2", "begin")) == "begun"
        redis.hset("rq:job:j", "token", "second")
        assert sender.send(moves.once("j", "second", "k", "n3", "begin")) == "begun"
        assert sender.send(moves.once("j", "first", "k", "n1", "done")) == "lost"
        assert sender.send(moves.once("j", "second", "k", "n4", "begin")) == "done"
        sender.close()


@subtype("work.count")
def count_down(payload: Count, ctx: Context) -> None:
    if payload.number:
        ctx.client.enqueue(
            Count(payload.number - 1), job_id=f"count-{payload.number - 1}", keep_completed=HOUR
        )


@awaited
async def test_a_job_can_enqueue_jobs(redis_url: str) -> None:
    async with at_work(redis_url, count_down) as work:
        await work.client.enqueue(Count(2))

        async def last() -> bool:
            with contextlib.suppress(JobNotFound):
                return (await work.client.get("count-0")).state is JobState.COMPLETED
            return False

        await until(last)

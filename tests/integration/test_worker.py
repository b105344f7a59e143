"""A worker at work: how jobs run, and how they end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest

from cgjobs import (
    AsyncClient,
    Backoff,
    Context,
    Discard,
    Event,
    Job,
    JobCancelled,
    JobFailed,
    JobState,
    Priority,
    Processor,
    Progress,
    Retry,
    Snooze,
    Subtype,
    hookimpl,
    subtype,
)
from cgjobs.broker import reads
from cgjobs.client import Client
from cgjobs.config import LimitConfig, QueueConfig
from cgjobs.errors import ConfigError, QueueNotFound
from cgjobs.plugins import load
from cgjobs.worker import Worker
from tests.jobs import (
    AT_ONCE,
    AtWork,
    Count,
    Login,
    Note,
    at_work,
    awaited,
    config,
    count,
    note,
    plugin,
    raw,
    registry,
    running,
    until,
)

ONE = timedelta(seconds=1)
HOUR = timedelta(hours=1)


async def ended(work: AtWork, job: Job) -> Job:
    """The job once it has ended; it must be kept."""

    async def final() -> Job | None:
        found = await work.client.get(job.id)
        return found if found.state.final else None

    found = await until(final)
    assert found is not None
    return found


# Handlers of both kinds


@pytest.mark.parametrize(("payload", "result"), [(Note("hi"), "hi"), (Count(2), 3)], ids=["async def", "def"])
@awaited
async def test_a_job_runs_and_its_result_comes_back(redis_url: str, payload: Any, result: object) -> None:
    async with at_work(redis_url) as work:
        job = await work.client.enqueue(payload)

        assert await work.client.wait(job) == result


@awaited
async def test_an_async_handler_runs_on_the_loop_and_a_plain_one_on_a_thread(redis_url: str) -> None:
    where: dict[str, str] = {}

    @subtype("work.note")
    async def on_loop(payload: Note, ctx: Context) -> None:
        where["async"] = threading.current_thread().name

    @subtype("work.count")
    def on_thread(payload: Count, ctx: Context) -> None:
        where["plain"] = threading.current_thread().name

    async with at_work(redis_url, on_loop, on_thread) as work:
        for job in await work.client.enqueue_many([Note(), Count()]):
            await work.client.wait(job)

    assert where["async"] == threading.current_thread().name
    assert where["plain"].startswith("cgjobs-job")


@awaited
async def test_a_handler_sees_its_job(redis_url: str) -> None:
    seen: list[Job] = []

    @subtype("work.note", timeout=timedelta(seconds=9))
    async def look(payload: Note, ctx: Context) -> None:
        seen.append(ctx.job)
        assert ctx.job is seen[0]
        ctx.log.info("looked")

    async with at_work(redis_url, look) as work:
        job = await work.client.enqueue(Note("x"), priority="high", attempts=4, correlation_id="c-1")
        await work.client.wait(job)

    [job_seen] = seen
    assert (job_seen.id, job_seen.queue, job_seen.name) == (job.id, "work", "work.note")
    assert (job_seen.state, job_seen.priority, job_seen.correlation_id) == ("active", Priority.HIGH, "c-1")
    assert (job_seen.attempt, job_seen.attempts, job_seen.timeout) == (1, 4, timedelta(seconds=9))
    assert job_seen.payload["text"] == "x"


# Ends


def outcome(kind: str, *errors: BaseException | None) -> Subtype[Any, Any]:
    """A handler that ends each attempt as told, the last way over and over."""
    left = list(errors)

    def act(ctx: Context) -> str:
        error = left.pop(0) if len(left) > 1 else left[0]
        if error is not None:
            raise error
        return f"attempt {ctx.job.attempt}"

    if kind == "async def":

        @subtype("work.note")
        async def handler(payload: Note, ctx: Context) -> str:
            return act(ctx)

        return handler

    @subtype("work.note")
    def plain(payload: Note, ctx: Context) -> str:
        return act(ctx)

    return plain


KINDS = pytest.mark.parametrize("kind", ["async def", "def"])


@KINDS
@awaited
async def test_a_failed_attempt_is_tried_again_and_every_error_is_kept(redis_url: str, kind: str) -> None:
    handler = outcome(kind, ValueError("one"), OSError("two"), None)

    async with at_work(redis_url, handler) as work:
        job = await work.client.enqueue(Note(), keep_completed=HOUR)
        found = await ended(work, job)

    assert (found.state, found.attempt, found.result) == (JobState.COMPLETED, 3, "attempt 3")
    assert [(e.attempt, e.error) for e in found.errors] == [(1, "ValueError: one"), (2, "OSError: two")]
    assert [e.worker for e in found.errors] == [work.worker.name] * 2
    assert work.names(job.id) == [
        "job_enqueued",
        "job_started",
        "job_retrying",
        "job_started",
        "job_retrying",
        "job_started",
        "job_completed",
    ]


@KINDS
@awaited
async def test_without_attempts_left_a_job_fails_and_is_kept(redis_url: str, kind: str) -> None:
    async with at_work(redis_url, outcome(kind, ValueError("no"))) as work:
        job = await work.client.enqueue(Note(), attempts=2)
        with pytest.raises(JobFailed, match="ValueError: no"):
            await work.client.wait(job)
        found = await work.client.get(job.id)
        stats = await work.client.queue("work").stats()

    assert (found.state, found.attempt, found.attempts, len(found.errors)) == (JobState.FAILED, 2, 2, 2)
    assert (stats.failed, stats.completed) == (1, 0)


@KINDS
@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        GeneratorExit(),
        StopIteration(),
        BaseException("base"),
        JobCancelled("its own"),
        ValueError("bad \udcff name"),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
@awaited
async def test_whatever_a_handler_raises_ends_its_attempt_and_not_the_worker(
    redis_url: str, kind: str, error: BaseException
) -> None:
    async with at_work(redis_url, outcome(kind, error), count) as work:
        job = await work.client.enqueue(Note(), attempts=1)
        found = await ended(work, job)

        assert await work.client.wait(await work.client.enqueue(Count(1))) == 2
    assert (found.state, len(found.errors)) == (JobState.FAILED, 1)
    assert found.errors[0].error.split(":")[0] in (type(error).__name__, "RuntimeError")


@KINDS
@awaited
async def test_a_snoozed_job_uses_up_no_attempt(redis_url: str, kind: str) -> None:
    handler = outcome(kind, Snooze(timedelta(0)), Snooze(timedelta(0)), None)

    async with at_work(redis_url, handler) as work:
        job = await work.client.enqueue(Note(), attempts=1)

        assert await work.client.wait(job) == "attempt 1"
    assert work.names(job.id).count("job_snoozed") == 2


@awaited
async def test_a_snoozed_job_waits_as_long_as_it_said(redis_url: str) -> None:
    async with at_work(redis_url, outcome("def", Snooze(HOUR))) as work:
        job = await work.client.enqueue(Note())
        await until(lambda: "job_snoozed" in work.names(job.id))
        found = await work.client.get(job.id)

    assert found.state is JobState.DELAYED
    assert found.run_at is not None
    assert found.started_at is not None
    assert HOUR <= found.run_at - found.started_at < HOUR + timedelta(seconds=5)


@KINDS
@awaited
async def test_a_discarded_job_fails_at_once_with_its_reason(redis_url: str, kind: str) -> None:
    async with at_work(redis_url, outcome(kind, Discard("the user is gone"))) as work:
        job = await work.client.enqueue(Note(), attempts=5)
        found = await ended(work, job)

    assert (found.state, found.attempt) == (JobState.FAILED, 1)
    assert [(e.error, e.traceback) for e in found.errors] == [("Discard: the user is gone", "")]


@awaited
async def test_a_retry_comes_after_the_time_it_asked_for(redis_url: str) -> None:
    async with at_work(redis_url, outcome("def", Retry("busy", after=HOUR))) as work:
        job = await work.client.enqueue(Note(), attempts=2)
        await until(lambda: "job_retrying" in work.names(job.id))
        found = await work.client.get(job.id)

    assert found.run_at is not None
    assert found.started_at is not None
    assert found.run_at - found.started_at >= HOUR
    assert found.attempt == 2


@awaited
async def test_a_jobs_own_backoff_goes_before_the_queues(redis_url: str) -> None:
    settings = config(redis_url, queues=[QueueConfig("work", backoff=Backoff.fixed(HOUR))])
    async with at_work(redis_url, outcome("def", ValueError()), settings=settings) as work:
        default, own = (
            await work.client.enqueue(Note()),
            await work.client.enqueue(Note(), backoff=Backoff.fixed(10 * HOUR, jitter=0)),
        )
        await until(lambda: work.names().count("job_retrying") == 2)
        first, second = await work.client.get(default.id), await work.client.get(own.id)

    assert first.run_at is not None
    assert second.run_at is not None
    assert second.run_at - first.run_at > 8 * HOUR


@pytest.mark.parametrize(
    "backoff",
    [
        "{",
        "[]",
        '{"kind":"fixed","delay":"x","ceiling":"1s","jitter":0}',
        '{"kind":"fixed","delay":"999999999d","ceiling":"999999999d","jitter":1}',
    ],
)
@awaited
async def test_a_garbled_backoff_in_redis_stops_nothing(redis_url: str, backoff: str) -> None:
    async with at_work(redis_url, outcome("def", ValueError())) as work:
        await work.client.queue("work").pause()
        job = await work.client.enqueue(Note())
        with raw(redis_url) as behind:
            behind.hset(f"rq:job:{job.id}", "backoff", backoff)
        await work.client.queue("work").resume()

        await until(lambda: "job_retrying" in work.names(job.id))


# Tracebacks and secrets


@subtype("work.login")
def leak(payload: Login, ctx: Context) -> None:
    """Put the password everywhere."""
    password = payload.password
    try:
        raise KeyError(password)
    except KeyError as error:
        raise RuntimeError(f"{payload.user} cannot log in with\n {password}{'!' * 900}{password}") from error


@subtype("work.login")
async def leak_async(payload: Login, ctx: Context) -> None:
    leak(payload, ctx)


@pytest.mark.parametrize("handler", [leak, leak_async], ids=["def", "async def"])
@pytest.mark.parametrize("secret", ["hunter2-hunter2", "two\nlines of key", "quote'\"\\s"])
@awaited
async def test_the_values_of_secret_fields_are_nowhere_in_what_is_kept_of_errors(
    redis_url: str, handler: Subtype[Any, Any], secret: str
) -> None:
    async with at_work(redis_url, handler) as work:
        job = await work.client.enqueue(Login("ann", secret), attempts=1)
        found = await ended(work, job)
        with raw(redis_url) as behind:
            description = behind.hget(f"rq:job:{job.id}", "description")

    shown = [found.errors[0].error, found.errors[0].traceback, str(description)]
    shown += [event.error + event.detail for event in work.events] + [repr(found)]
    for part in secret.splitlines():
        assert [text for text in shown if part in text] == []
    assert "ann cannot log in with" in found.errors[0].error
    assert "password = payload.password" not in found.errors[0].traceback  # code, but no locals


@pytest.mark.parametrize("handler", [leak, leak_async], ids=["def", "async def"])
@awaited
async def test_a_traceback_begins_in_the_handler(redis_url: str, handler: Subtype[Any, Any]) -> None:
    async with at_work(redis_url, handler) as work:
        job = await work.client.enqueue(Login("ann", "hunter2"), attempts=1)
        found = await ended(work, job)

    last = found.errors[0].traceback.rpartition("direct cause")[2]
    first_frame = next(line for line in last.splitlines() if line.strip().startswith("File"))
    assert "test_worker.py" in first_frame


@awaited
async def test_an_endless_traceback_is_cut_at_its_beginning(redis_url: str) -> None:
    async with at_work(redis_url, outcome("def", ValueError("x" * 50_000))) as work:
        job = await work.client.enqueue(Note(), attempts=1)
        found = await ended(work, job)

    assert found.errors[0].traceback.startswith("[...]")
    assert len(found.errors[0].traceback) < 17_000
    assert len(found.errors[0].error) == 1000


# Payloads, types and results


@awaited
async def test_a_payload_that_became_invalid_fails_at_once(redis_url: str) -> None:
    async with at_work(redis_url) as work:
        await work.client.queue("work").pause()
        job = await work.client.enqueue(Note("ok"))
        with raw(redis_url) as behind:
            data = behind.hget(f"rq:job:{job.id}", "data")
            behind.hset(f"rq:job:{job.id}", "data", str(data).replace('"ok"', "7"))
        await work.client.queue("work").resume()
        found = await ended(work, job)

    assert (found.state, found.attempt) == (JobState.FAILED, 1)
    assert found.errors[0].error.startswith("InvalidPayload: the payload of work.note: text: ")
    assert work.names(job.id) == ["job_enqueued", "job_failed"]


@pytest.mark.parametrize("data", ["{", '["os.system",null,["x"],{}]', "x\x9c"])
@awaited
async def test_data_that_is_no_job_of_ours_is_quarantined(redis_url: str, data: str) -> None:
    async with at_work(redis_url) as work:
        await work.client.queue("work").pause()
        job = await work.client.enqueue(Note())
        with raw(redis_url) as behind:
            behind.hset(f"rq:job:{job.id}", "data", data)
        await work.client.queue("work").resume()
        found = await ended(work, job)

    assert found.state is JobState.FAILED
    assert found.errors[0].error.startswith("Unreadable: ")
    assert "job_quarantined" in work.names(job.id)
    assert "job_started" not in work.names(job.id)


@KINDS
@awaited
async def test_a_result_over_the_limit_fails_the_job_and_says_why(redis_url: str, kind: str) -> None:
    settings = config(redis_url, limits=LimitConfig(result_bytes=5))
    async with at_work(redis_url, outcome(kind, None), settings=settings) as work:
        job = await work.client.enqueue(Note(), attempts=3)
        found = await ended(work, job)

    assert (found.state, found.attempt) == (JobState.FAILED, 1)
    assert "11 bytes are more than the limit of 5" in found.errors[0].error
    assert "result" in found.errors[0].error


@awaited
async def test_a_result_that_has_no_wire_form_fails_the_job(redis_url: str) -> None:
    @subtype("work.note")
    def handler(payload: Note, ctx: Context) -> object:
        return object()

    async with at_work(redis_url, handler) as work:
        job = await work.client.enqueue(Note())
        found = await ended(work, job)

    assert found.state is JobState.FAILED


# Timeouts


@awaited
async def test_an_async_handler_is_cancelled_at_its_timeout(redis_url: str) -> None:
    tidied = asyncio.Event()

    @subtype("work.note", timeout=timedelta(milliseconds=50))
    async def endless(payload: Note, ctx: Context) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            tidied.set()

    async with at_work(redis_url, endless) as work:
        job = await work.client.enqueue(Note(), attempts=1)
        found = await ended(work, job)

    assert tidied.is_set()
    assert [(e.error, e.traceback) for e in found.errors] == [("JobTimeout: ran longer than 0.05 s", "")]


@awaited
async def test_a_plain_handler_is_interrupted_at_its_timeout(redis_url: str) -> None:
    @subtype("work.note")
    def endless(payload: Note, ctx: Context) -> None:
        while True:
            time.sleep(0.001)

    async with at_work(redis_url, endless) as work:
        job = await work.client.enqueue(Note(), attempts=1, timeout=timedelta(milliseconds=50))
        found = await ended(work, job)

    assert [error.error for error in found.errors] == ["JobTimeout: ran longer than 0.05 s"]


@awaited
async def test_a_timeout_uses_up_an_attempt_and_the_queue_may_set_it(redis_url: str) -> None:
    attempts: list[int] = []

    @subtype("work.note")
    async def slow_once(payload: Note, ctx: Context) -> str:
        attempts.append(ctx.job.attempt)
        if ctx.job.attempt == 1:
            await asyncio.sleep(3600)
        return "done"

    queue = QueueConfig("work", timeout=timedelta(milliseconds=50), backoff=AT_ONCE)
    async with at_work(redis_url, slow_once, settings=config(redis_url, queues=[queue])) as work:
        job = await work.client.enqueue(Note())

        assert await work.client.wait(job) == "done"
    assert attempts == [1, 2]


@awaited
async def test_a_timeout_error_of_the_handlers_own_is_not_its_jobs(redis_url: str) -> None:
    async with at_work(redis_url, outcome("async def", TimeoutError("smtp"))) as work:
        job = await work.client.enqueue(Note(), attempts=1, timeout=HOUR)
        found = await ended(work, job)

    assert found.errors[0].error == "TimeoutError: smtp"


# Progress


@KINDS
@awaited
async def test_progress_can_be_seen_while_the_job_runs_and_its_last_value_is_kept(
    redis_url: str, kind: str
) -> None:
    go_on = threading.Event()

    @subtype("work.note")
    async def on_loop(payload: Note, ctx: Context) -> None:
        ctx.progress(1, 3, "first")
        await until(go_on.is_set)
        ctx.progress(3, 3, "last")

    @subtype("work.note")
    def on_thread(payload: Note, ctx: Context) -> None:
        ctx.progress(1, 3, "first")
        go_on.wait(10)
        ctx.progress(3, 3, "last")

    async with at_work(redis_url, on_loop if kind == "async def" else on_thread) as work:
        job = await work.client.enqueue(Note(), keep_completed=HOUR)

        async def first() -> bool:
            return (await work.client.get(job.id)).progress == Progress(1, 3, "first")

        await until(first)
        go_on.set()
        found = await ended(work, job)

    assert found.progress == Progress(3, 3, "last")


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        ((True,), Progress(1.0)),
        ((2**70, 2**71), Progress(2.0**70, 2.0**71)),
        ((1, None, "a/\udcff" + "x" * 300), Progress(1, None, "a/\\udcff" + "x" * 197)),
    ],
)
@awaited
async def test_an_odd_report_is_kept_as_well_as_it_can_be(
    redis_url: str, report: tuple[Any, ...], shown: Progress
) -> None:
    @subtype("work.note")
    def handler(payload: Note, ctx: Context) -> None:
        ctx.progress(*report)

    async with at_work(redis_url, handler) as work:
        job = await work.client.enqueue(Note(), keep_completed=HOUR)
        found = await ended(work, job)

    assert found.progress == shown


@pytest.mark.parametrize("done", [object(), "half", float("nan"), None])
@awaited
async def test_a_report_that_is_no_number_fails_the_job_and_not_the_worker(redis_url: str, done: Any) -> None:
    @subtype("work.note")
    def handler(payload: Note, ctx: Context) -> None:
        ctx.progress(done)

    async with at_work(redis_url, handler, count) as work:
        job = await work.client.enqueue(Note(), attempts=1)
        found = await ended(work, job)

        assert await work.client.wait(await work.client.enqueue(Count(1))) == 2
    assert found.state is JobState.FAILED


# What a handler uses


class Connection:
    opened = 0
    closed = 0


@contextmanager
def connection(log: str) -> Iterator[Connection]:
    Connection.opened += 1
    yield Connection()
    Connection.closed += 1


@attrs.frozen
class Settings:
    greeting: str = "hello"


@awaited
async def test_what_handlers_use_is_opened_once_and_closed_when_the_worker_stops(redis_url: str) -> None:
    used: set[int] = set()
    Connection.opened = Connection.closed = 0

    @subtype("work.note")
    async def on_loop(payload: Note, ctx: Context) -> None:
        used.add(id(ctx.use(connection, "main")))

    @subtype("work.count")
    def on_thread(payload: Count, ctx: Context) -> None:
        used.add(id(ctx.use(connection, "main")))

    async with at_work(redis_url, on_loop, on_thread) as work:
        for job in await work.client.enqueue_many([Note(), Count(), Note(), Count()]):
            await work.client.wait(job)

        assert Connection.closed == 0
    assert (len(used), Connection.opened, Connection.closed) == (1, 1, 1)


@awaited
async def test_a_handler_has_its_plugins_settings_and_nobody_elses(redis_url: str) -> None:
    @subtype("work.note")
    def handler(payload: Note, ctx: Context) -> str:
        with pytest.raises(LookupError, match="Note"):
            ctx.settings(Note)
        return ctx.settings(Settings).greeting

    async with at_work(redis_url, handler, cgjobs_settings=hookimpl(lambda: Settings)) as work:
        assert await work.client.wait(await work.client.enqueue(Note())) == "hello"


@KINDS
@awaited
async def test_a_wrapper_goes_round_every_run(redis_url: str, kind: str) -> None:
    @hookimpl(wrapper=True)
    def cgjobs_run(payload: Note) -> Generator[None, Any, Any]:
        result = yield
        return f"<{result}>"

    async with at_work(redis_url, outcome(kind, None), cgjobs_run=cgjobs_run) as work:
        assert await work.client.wait(await work.client.enqueue(Note())) == "<attempt 1>"


# How many at once, in what order, how soon


@KINDS
@awaited
async def test_a_queue_never_runs_more_jobs_than_its_concurrency(redis_url: str, kind: str) -> None:
    lock, now, most = threading.Lock(), {"work": 0, "mail": 0}, {"work": 0, "mail": 0}

    def begin(queue: str) -> None:
        with lock:
            now[queue] += 1
            most[queue] = max(most[queue], now[queue])

    def end(queue: str) -> None:
        with lock:
            now[queue] -= 1

    def handlers() -> list[Subtype[Any, Any]]:
        if kind == "async def":

            @subtype("work.note")
            async def work_async(payload: Note, ctx: Context) -> None:
                begin("work")
                await asyncio.sleep(0.02)
                end("work")

            @subtype("mail.count")
            async def mail_async(payload: Count, ctx: Context) -> None:
                begin("mail")
                await asyncio.sleep(0.02)
                end("mail")

            return [work_async, mail_async]

        @subtype("work.note")
        def work_plain(payload: Note, ctx: Context) -> None:
            begin("work")
            time.sleep(0.02)
            end("work")

        @subtype("mail.count")
        def mail_plain(payload: Count, ctx: Context) -> None:
            begin("mail")
            time.sleep(0.02)
            end("mail")

        return [work_plain, mail_plain]

    processors = [Processor("work", concurrency=3), Processor("mail", concurrency=1)]
    async with at_work(redis_url, *handlers(), processors=processors) as work:
        await work.client.enqueue_many([Note(), Count()] * 40)

        async def all_done() -> bool:
            return sum([stats.completed for stats in (await work.client.queues()).values()]) == 80

        await until(all_done)

    assert most == {"work": 3, "mail": 1}


@awaited
async def test_urgent_jobs_overtake_and_low_ones_are_not_starved(redis_url: str) -> None:
    order: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        order.append(payload.text)

    settings = config(redis_url)
    provided = registry(handler, processors=[Processor("work")])
    async with AsyncClient(settings, provided) as client:
        for level in ("low", "normal", "high", "critical"):
            await client.enqueue_many([Note(level)] * 15, priority=level)
        await Worker(settings, provided, burst=True).run()

    assert len(order) == 60
    assert order[0] == "critical"
    assert [order[:15].count(level) for level in ("critical", "high", "normal", "low")] == [8, 4, 2, 1]


@awaited
async def test_an_idle_worker_starts_a_job_at_once(redis_url: str) -> None:
    started: list[float] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        started.append(time.monotonic())

    async with at_work(redis_url, handler) as work:
        await work.client.wait(await work.client.enqueue(Note()))
        await asyncio.sleep(0.1)  # now it is idle and waits to be woken
        enqueued = time.monotonic()
        await work.client.enqueue(Note())
        await until(lambda: len(started) == 2)

    assert started[1] - enqueued < 0.5


@awaited
async def test_a_queue_that_ran_dry_is_listened_to_while_others_are_idle(redis_url: str) -> None:
    waits: list[float] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        waits.append(time.monotonic() - float(payload.text))

    processors = [Processor("work", concurrency=1), *(Processor(f"idle{i}") for i in range(3))]
    async with at_work(redis_url, handler, processors=processors) as work:
        for number in range(1, 16):
            await work.client.enqueue(Note(str(time.monotonic())))
            await until(lambda number=number: len(waits) == number)  # type: ignore[misc]

    assert max(waits) < 0.5


@awaited
async def test_two_workers_share_a_queue_without_running_anything_twice(redis_url: str) -> None:
    ran: list[str] = []

    @subtype("work.note")
    async def handler(payload: Note, ctx: Context) -> None:
        ran.append(payload.text)

    settings, provided = config(redis_url), registry(handler)
    async with (
        AsyncClient(settings, provided) as client,
        running(Worker(settings, provided)),
        running(Worker(settings, provided)),
    ):
        await client.enqueue_many([Note(str(number)) for number in range(300)])
        await until(lambda: len(ran) >= 300)

    assert sorted(ran, key=int) == [str(number) for number in range(300)]


# The worker itself


@awaited
async def test_a_burst_ends_when_nothing_is_left_now(redis_url: str) -> None:
    settings, provided = config(redis_url), registry()
    async with AsyncClient(settings, provided) as client:
        await client.enqueue_many([Note()] * 30)
        await client.enqueue(Note(), delay=HOUR)
        await asyncio.wait_for(Worker(settings, provided, burst=True).run(), 10)
        stats = await client.queue("work").stats()

    assert (stats.completed, stats.waiting, stats.active, stats.delayed) == (30, 0, 0, 1)


@awaited
async def test_a_burst_leaves_a_paused_queue_alone(redis_url: str) -> None:
    settings, provided = config(redis_url), registry()
    async with AsyncClient(settings, provided) as client:
        await client.queue("work").pause()
        await client.enqueue(Note())
        await asyncio.wait_for(Worker(settings, provided, burst=True).run(), 10)

        assert (await client.queue("work").stats()).waiting == 1


@awaited
async def test_a_worker_can_be_seen_while_it_runs_and_not_afterwards(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        async with at_work(redis_url) as work:
            [seen] = await until(client.workers)
        gone = await client.workers()

    assert (seen.name, seen.queues, seen.state) == (work.worker.name, ("work",), "idle")
    assert gone == []


@awaited
async def test_a_worker_serves_only_the_queues_it_was_given(redis_url: str) -> None:
    settings = config(redis_url)
    provided = registry(processors=[Processor("work"), Processor("mail")])
    handle: list[Any] = []

    start = hookimpl(lambda worker: handle.append(worker))
    provided = load(
        found=(),
        extra=[
            ("t", plugin(note, processors=[Processor("work"), Processor("mail")], cgjobs_worker_start=start))
        ],
    )
    async with running(Worker(settings, provided, queues=["mail"], concurrency={"mail": 7, "work": 9})):
        await until(lambda: handle and handle[0].ready())

        assert handle[0].queues == {"mail": 7}
        assert handle[0].alive()


def test_a_worker_without_anything_to_serve_does_not_start() -> None:
    with pytest.raises(ConfigError, match="nothing to work on"):
        Worker(config("redis://127.0.0.1:1"), load(found=()))


def test_a_worker_of_an_unknown_queue_does_not_start() -> None:
    with pytest.raises(QueueNotFound, match="Did you mean 'work'"):
        Worker(config("redis://127.0.0.1:1"), registry(), queues=["wrok"])


@awaited
async def test_a_plugin_may_keep_the_worker_from_starting_and_is_tidied_up_after(redis_url: str) -> None:
    calls: list[str] = []

    def refuse(worker: Any) -> None:
        raise RuntimeError("no mail server")

    provided = registry(
        cgjobs_worker_start=hookimpl(refuse), cgjobs_worker_stop=hookimpl(lambda: calls.append("stop"))
    )

    with pytest.raises(RuntimeError, match="no mail server"):
        await Worker(config(redis_url), provided).run()

    async with AsyncClient(config(redis_url), provided) as client:
        assert await client.workers() == []
    assert calls == ["stop"]


@awaited
async def test_a_plugin_that_fails_at_the_stop_does_not_hinder_it(redis_url: str) -> None:
    def fail(worker: Any) -> None:
        raise RuntimeError("no")

    @contextmanager
    def broken() -> Iterator[None]:
        yield
        raise OSError("cannot be closed")

    @subtype("work.note")
    def handler(payload: Note, ctx: Context) -> None:
        ctx.use(broken)

    async with at_work(redis_url, handler, cgjobs_worker_stop=hookimpl(fail)) as work:
        await work.client.wait(await work.client.enqueue(Note()))

    assert work.names()[-1] == "worker_stopped"


@awaited
async def test_events_come_in_the_order_in_which_things_happen(redis_url: str) -> None:
    async with at_work(redis_url) as work:
        await until(lambda: "worker_started" in work.names())
        job = await work.client.enqueue(Note(), correlation_id="c-1")
        await work.client.wait(job)
        await work.client.queue("work").pause()
        await work.client.queue("work").resume()

    assert work.names() == [
        "worker_started",
        "job_enqueued",
        "job_started",
        "job_completed",
        "queue_paused",
        "queue_resumed",
        "worker_stopped",
    ]
    completed = work.events[3]
    assert completed == Event(
        "job_completed", "work", job.id, "work.note", "c-1", 1, completed.duration, "", ""
    )
    assert completed.duration is not None
    assert timedelta(0) < completed.duration < timedelta(seconds=5)


@awaited
async def test_the_counters_say_how_jobs_ended(redis_url: str) -> None:
    handler = outcome("def", ValueError(), Snooze(timedelta(0)), None)
    async with at_work(redis_url, handler) as work:
        await work.client.wait(await work.client.enqueue(Note()))
        counted = await work.client._sender.send(reads.metrics())

    assert {name: counted[f"{name}|work|work.note"] for name in ("completed", "retried", "snoozed")} == {
        "completed": 1,
        "retried": 1,
        "snoozed": 1,
    }
    assert counted["seconds_count|work|work.note"] == 2


@awaited
async def test_a_worker_says_that_its_queue_is_paused_whoever_did_it(redis_url: str) -> None:
    async with at_work(redis_url) as work:
        with Client(config(redis_url), registry()) as operator:
            operator.queue("work").pause()
            await until(lambda: "queue_paused" in work.names())

            operator.queue("work").resume()
            await until(lambda: "queue_resumed" in work.names())


@awaited
async def test_a_worker_says_what_it_found_where_a_job_should_be(redis_url: str) -> None:
    async with at_work(redis_url) as work:
        with raw(redis_url) as broker:
            broker.rpush("rq:queue:work", "no such job")
            broker.lpush("cgjobs:wake:work", "1")

        await until(lambda: "job_quarantined" in work.names())

        [event] = [event for event in work.events if event.name == "job_quarantined"]
        assert (event.queue, event.detail, event.error) == ("work", "'no such job'", "no id of a job")


@awaited
async def test_the_configured_threads_bound_what_runs_at_once(redis_url: str) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    @subtype("work.note")
    def busy(payload: Note, ctx: Context) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    processors = [Processor("work", concurrency=10)]
    async with at_work(redis_url, busy, processors=processors, settings=config(redis_url, threads=2)) as work:
        await work.client.enqueue_many([Note()] * 20)
        await until(lambda: work.names().count("job_completed") == 20)

    assert most == [2]

"""Handlers in child processes: how they run, how they are ended, and what cannot touch the worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cgjobs import AsyncClient, Client, Config, Event, Job, JobFailed, JobState
from cgjobs.isolation import ChildSetup
from cgjobs.worker import Worker
from tests.isolated_jobs import MEMORY, PROCESSORS, Do, Secret, Slow, Wait, do, secret, slow, wait
from tests.jobs import PATIENCE, AtWork, awaited, config, registry, running, until

ROOT = Path(__file__).parent.parent.parent
SETUP = ChildSetup("tests.isolated_jobs:provided")
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children, whose path is that of their worker, import ``tests``."""
    monkeypatch.syspath_prepend(str(ROOT))


@contextlib.asynccontextmanager
async def isolated(
    url: str, setup: ChildSetup = SETUP, settings: Config | None = None, **options: Any
) -> AsyncIterator[AtWork]:
    """A worker at work whose handlers are isolated."""
    events: list[Event] = []
    provided = registry(do, slow, wait, secret, processors=PROCESSORS, events=events)
    chosen = settings or config(url)
    worker = Worker(chosen, provided, children=setup, **options)
    async with AsyncClient(chosen, provided) as client, running(worker):
        yield AtWork(client, worker, events)


async def outcome(work: AtWork, payload: Any, **options: Any) -> Job:
    """The job once its first attempt has ended for good; it is kept."""
    options = {"attempts": 1, "keep_completed": HOUR, **options}
    job = await work.client.enqueue(payload, **options)

    async def final() -> Job | None:
        found = await work.client.get(job.id)
        return found if found.state.final else None

    found = await until(final)
    assert found is not None
    return found


async def result(work: AtWork, payload: Any) -> Any:
    return await work.client.wait(await work.client.enqueue(payload))


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


# How they run


@awaited
async def test_an_isolated_handler_runs_in_a_process_and_session_of_its_own(redis_url: str) -> None:
    async with isolated(redis_url) as work:
        pid, session, parent = await result(work, Do("pid"))

    assert (pid, parent) == (session, os.getpid())
    assert pid != os.getpid()


@awaited
async def test_a_child_is_used_again_and_ends_with_its_worker(redis_url: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with isolated(redis_url) as work:
        pids = {(await result(work, Do("pid")))[0] for _ in range(5)}
        users = [await result(work, Do("use", str(mark))) for _ in range(3)]
    [pid] = pids

    assert users == [1, 2, 3]
    assert mark.read_text() == "closed after 3"
    assert not is_alive(pid)


@awaited
async def test_no_child_is_started_before_it_is_needed_and_at_most_one_for_each_place(redis_url: str) -> None:
    before = children(os.getpid())
    async with isolated(redis_url) as work:
        assert children(os.getpid()) == before
        jobs = await work.client.enqueue_many([Do("pid")] * 20)
        pids = {(await work.client.wait(job))[0] for job in jobs}

    assert len(pids) <= 2


@awaited
async def test_an_isolated_handler_sees_its_job_and_its_log_and_reports_are_the_workers(
    redis_url: str,
) -> None:
    with capture_logs() as lines:
        async with isolated(redis_url) as work:
            job = await outcome(work, Do("job"), attempts=3, correlation_id="c-1")

    assert job.result == [job.id, 1, 3, "c-1", "work"]
    assert job.progress is not None
    assert (job.progress.done, job.progress.total, job.progress.message) == (1, 2, "half")
    [line] = [line for line in lines if line["event"] == "looked"]
    assert (line["job_id"], line["correlation_id"], line["log_level"]) == (job.id, "c-1", "info")


@pytest.mark.parametrize(
    ("what", "state", "line"),
    [
        ("retry", JobState.DELAYED, "Retry: busy"),
        ("snooze", JobState.DELAYED, None),
        ("discard", JobState.FAILED, "Discard: useless"),
    ],
)
@awaited
async def test_what_a_handler_raises_on_purpose_means_the_same(
    redis_url: str, what: str, state: JobState, line: str | None
) -> None:
    async with isolated(redis_url) as work:
        job = await work.client.enqueue(Do(what), attempts=3)

        async def ended() -> Job | None:
            found = await work.client.get(job.id)
            return found if found.state == state else None

        found = await until(ended)

    assert found is not None
    assert found.attempt == (1 if what != "retry" else 2)
    if state == JobState.DELAYED:
        assert found.run_at is not None
        assert found.run_at - datetime.now(UTC) > timedelta(minutes=59)
    if line is not None:
        assert line in found.errors[-1].error


@pytest.mark.parametrize("scope", ["queue", "key"])
@awaited
async def test_a_rate_limit_that_an_isolated_handler_meets_holds_its_queue_or_its_key(
    redis_url: str, scope: str
) -> None:
    async with isolated(redis_url, concurrency={"work": 1}) as work:
        limited = await work.client.enqueue(Do("limited", scope), limit_key="a")

        async def back() -> Job | None:
            found = await work.client.get(limited.id)
            return (
                found
                if found.state in (JobState.WAITING, JobState.HELD) and "job_rate_limited" in work.names()
                else None
            )

        found = await until(back)
        same, other = (
            await work.client.enqueue(Do("pid"), limit_key="a"),
            await work.client.enqueue(Do("pid")),
        )
        held_until = (await work.client.queue("work").stats()).limited_until
        assert found.attempt == 1
        if scope == "key":
            await work.client.wait(other)
            assert held_until is None
            assert (found.state, found.held) == (JobState.HELD, "key:a")
            assert "429 from them" in found.held_reason
        else:
            assert held_until is not None
            assert timedelta(minutes=59) < held_until - datetime.now(UTC) <= timedelta(hours=1)
            assert (await work.client.get(other.id)).state == JobState.WAITING
        assert (await work.client.get(same.id)).state in (JobState.WAITING, JobState.HELD)


@awaited
async def test_an_error_comes_with_the_handlers_traceback_and_without_secrets(redis_url: str) -> None:
    async with isolated(redis_url) as work:
        job = await outcome(work, Secret("hunter2!"))

    assert job.errors[-1].error == "ValueError: cannot log in with ********"
    assert job.errors[-1].traceback.startswith('Traceback (most recent call last):\n  File "' + str(ROOT))
    assert "hunter2" not in job.errors[-1].traceback.replace('"hunter2', "")


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (Do("polite_exit", "3"), "SystemExit: 3"),
        (Do("unwritable"), "InvalidPayload: the result of work.do"),
        (Do("fail", "\udce4"), None),
    ],
)
@awaited
async def test_other_ends_are_as_they_are_on_a_thread(redis_url: str, payload: Do, line: str | None) -> None:
    async with isolated(redis_url) as work:
        if line is None:
            with pytest.raises(Exception, match="surrogate"):
                await work.client.enqueue(payload)
            return
        job = await outcome(work, payload)

        assert job.errors[-1].error.startswith(line)


# Timeouts


@pytest.mark.parametrize(
    ("what", "killed"), [("sleep", False), ("log", False), ("swallow", True), ("regex", False), ("sum", True)]
)
@awaited
async def test_a_handler_ends_at_its_timeout_whatever_it_does(
    redis_url: str, what: str, killed: bool
) -> None:
    async with isolated(redis_url) as work:
        await result(work, Do("pid"))
        begun = time.monotonic()
        job = await outcome(work, Slow(what))
        took = time.monotonic() - begun
        after = await result(work, Do("nibble"))

    assert job.state == JobState.FAILED
    assert job.errors[-1].error.startswith("JobTimeout: ran longer than 0.4 s")
    assert ("killed" in job.errors[-1].error) == killed
    assert 0.4 <= took < 3
    assert after == MEMORY // 2


@awaited
async def test_the_timeout_leaves_no_process_and_the_place_is_free(redis_url: str) -> None:
    before = children(os.getpid())
    async with isolated(redis_url, concurrency={"work": 1}) as work:
        jobs = await work.client.enqueue_many([Slow("sum"), Do("pid")], attempts=1)
        with pytest.raises(JobFailed, match="JobTimeout"):
            await work.client.wait(jobs[0])
        [pid, *_] = await work.client.wait(jobs[1])

        assert children(os.getpid()) - before == {pid}


# Ends of the process


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (Do("exit", "0"), "its process ended with exit code 0 before the job did"),
        (Do("exit", "7"), "its process ended with exit code 7 before the job did"),
        (Do("signal", "9"), "its process was killed by signal 9 (out of memory?)"),
        (Do("signal", "11"), "its process was killed by signal 11 (SIGSEGV)"),
        (Do("close_everything"), "its process ended with exit code 1 before the job did"),
    ],
)
@awaited
async def test_any_end_of_the_process_is_a_clear_failure(redis_url: str, payload: Do, line: str) -> None:
    with capture_logs() as lines:
        async with isolated(redis_url) as work:
            job = await outcome(work, payload)
            still = await result(work, Do("nibble"))

    assert (job.state, job.errors[-1].error) == (JobState.FAILED, f"Crashed: {line}")
    assert still == MEMORY // 2
    if payload.what == "signal":
        assert "last words" in [entry["event"] for entry in lines]


@awaited
async def test_a_crash_uses_up_an_attempt_and_is_counted(redis_url: str) -> None:
    async with isolated(redis_url) as work:
        job = await outcome(work, Do("signal_once", "9"), attempts=2)

    assert (job.state, job.result, job.attempt, job.recoveries) == (JobState.COMPLETED, 1, 2, 1)
    assert "job_retrying" in work.names(job.id)


@awaited
async def test_the_third_crash_of_a_job_is_the_last(redis_url: str) -> None:
    async with isolated(redis_url) as work:
        job = await outcome(work, Do("signal", "9"), attempts=10)

    assert (job.state, work.names(job.id).count("job_started")) == (JobState.FAILED, 3)
    assert job.errors[-1].error == "Poison: its process was killed by signal 9 (out of memory?); crash 3 of 3"


@awaited
async def test_the_memory_limit_ends_the_attempt_and_nothing_else(redis_url: str) -> None:
    async with isolated(redis_url) as work:
        fits = await result(work, Do("nibble"))
        job = await outcome(work, Do("eat"))
        again = await result(work, Do("nibble"))

    assert fits == again == MEMORY // 2
    assert job.errors[-1].error == f"MemoryError: it needed more than its {MEMORY:,} bytes"


# Leaks


@awaited
async def test_what_a_handler_changes_in_its_process_does_not_reach_the_worker(
    redis_url: str, tmp_path: Path
) -> None:
    here = Path.cwd()
    async with isolated(redis_url) as work:
        leaked = await result(work, Do("leak", str(tmp_path)))
        where = await result(work, Do("where"))

    assert (Path.cwd(), "CGJOBS_TEST_LEAK" in os.environ) == (here, False)
    assert where == [leaked, str(here)], "the directory is set back for the next job"


@pytest.mark.parametrize("what", ["close_streams", "leave_thread"])
@awaited
async def test_a_process_that_a_job_has_spoilt_is_replaced(redis_url: str, what: str) -> None:
    async with isolated(redis_url) as work:
        spoilt = await result(work, Do(what))
        [pid, *_] = await result(work, Do("pid"))

        assert pid != spoilt
        await until(lambda: not is_alive(spoilt))
    sys.stdout.write("")


@awaited
async def test_a_process_that_a_job_has_left_behind_ends_with_the_worker(redis_url: str) -> None:
    async with isolated(redis_url) as work:
        left = await result(work, Do("leave_process"))

        assert is_alive(left)
    await until(lambda: not is_alive(left))


# Cancelling, stopping, dying


@pytest.mark.parametrize("how", ["", "deaf"])
@awaited
async def test_at_the_end_of_the_grace_period_a_job_is_told_then_killed_and_handed_back(
    redis_url: str, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "file"
    settings = config(redis_url, grace=timedelta(seconds=0.2))
    async with isolated(redis_url, settings=settings) as work:
        job = await work.client.enqueue(Wait(str(file), how))
        pid = int(await until(lambda: file.exists() and file.read_text()))
        stopped = time.monotonic()

    assert time.monotonic() - stopped < 2
    assert not is_alive(pid)
    assert file.read_text() == ("cancelled" if not how else str(pid))
    with Client(settings, registry(do, wait, processors=PROCESSORS)) as client:
        found = client.get(job.id)
    assert (found.state, found.attempt, found.recoveries) == (JobState.WAITING, 1, 0)


@awaited
async def test_a_job_whose_lease_is_lost_is_ended(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    settings = config(redis_url, grace=timedelta(seconds=0.2))
    async with isolated(redis_url, settings=settings) as work:
        await work.client.enqueue(Wait(str(file)))
        pid = int(await until(lambda: file.exists() and file.read_text()))
        for run in list(work.worker._turns.runs.values()):
            run.take_away()

        await until(lambda: not is_alive(pid))
    assert file.read_text() == "cancelled"


@awaited
async def test_a_plugin_that_the_child_does_not_have_is_a_clear_failure(redis_url: str) -> None:
    async with isolated(redis_url, ChildSetup("tests.isolated_jobs:without")) as work:
        job = await outcome(work, Do("pid"))

    assert job.errors[-1].error.startswith(
        "NotStarted: its process could not load its plugin: SubtypeNotFound:"
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Path:
    """A directory on the path of processes that makes tests.isolated_jobs an installed plugin."""
    info = tmp_path / "site" / "isolated-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: isolated\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cgjobs]\nisolated = tests.isolated_jobs\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(info.parent), str(ROOT)]))
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)
    return info.parent


def worker_process(*words: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "import sys; from cgjobs.cli import main; sys.exit(main())"]
    with log.open("wb") as file:
        return subprocess.Popen([*command, "worker", "--plugins", "isolated", *words], stderr=file)


@pytest.mark.parametrize("busy", ["sum", "idle"])
def test_a_child_dies_with_a_worker_that_is_killed(
    site: Path, redis_url: str, tmp_path: Path, busy: str
) -> None:
    with Client(config(redis_url), registry(do, slow, processors=PROCESSORS)) as client:
        worker = worker_process(log=tmp_path / "log")
        try:
            client.wait(client.enqueue(Do("pid")), timeout=timedelta(seconds=PATIENCE))
            if busy == "sum":
                client.enqueue(Slow("sum"), timeout=HOUR)
                asyncio.run(until(lambda: client.queue("work").stats().active == 1))
                time.sleep(0.3)
            pids = children(worker.pid)
            assert pids
        finally:
            worker.kill()
            worker.wait(PATIENCE)

        asyncio.run(until(lambda: not any(map(is_alive, pids))))


def test_the_command_runs_isolated_jobs_with_its_own_configuration_and_log(
    site: Path, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "our.toml").write_text("[limits]\nresult_bytes = 1000\n")
    log = tmp_path / "log"
    with Client(config(redis_url), registry(do, slow, processors=PROCESSORS)) as client:
        job = client.enqueue(Do("job"), keep_completed=HOUR)
        words = ("--burst", "--log-format", "json", "--config", str(tmp_path / "our.toml"))
        worker = worker_process(*words, log=log)

        assert worker.wait(PATIENCE) == 0
        assert client.get(job.id).state == JobState.COMPLETED
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [line] = [line for line in lines if line["event"] == "looked"]
    assert line["data"]["jobId"] == job.id


def test_a_signal_to_all_processes_of_a_service_lets_an_isolated_job_end(
    site: Path, redis_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    (tmp_path / "cgjobs.toml").write_text('[worker]\ngrace = "1s"\n')
    with Client(config(redis_url), registry(do, wait, processors=PROCESSORS)) as client:
        job = client.enqueue(Wait(str(file)))
        worker = worker_process(log=tmp_path / "log")
        asyncio.run(until(lambda: file.exists() and file.read_text()))
        for pid in (*children(worker.pid), worker.pid):
            os.kill(pid, signal.SIGTERM)

        assert worker.wait(PATIENCE) == 0
        found = client.get(job.id)
    assert (file.read_text(), found.state, found.attempt) == ("cancelled", JobState.WAITING, 1)

"""RQ's own package reads our jobs, and a stock ``rq worker`` runs them; both against the real rq."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
import redis
import rq
import rq.registry
from rq.exceptions import NoSuchJobError
from rq.results import Result
from rq.serializers import JSONSerializer

import cgjobs
from cgjobs import Backoff, Client, Config, JobNotFound, JobState, Priority, plugins
from cgjobs.config import RedisConfig, WorkerConfig
from cgjobs.plugins import Registry
from cgjobs.worker import Worker
from tests.cli import install

PROBE = Path(__file__).with_name("rq_probe.py")
PATIENCE = 20.0
KEPT = timedelta(minutes=5)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with our probe installed in it, on the path of this process and of its children."""
    site = tmp_path / "site"
    installed = site / "rq_probe-1.0.dist-info"
    installed.mkdir(parents=True)
    shutil.copy(PROBE, site)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: rq-probe\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[cgjobs]\nprobe = rq_probe\n")
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture
def environment(site: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a stock rq worker that finds our probe and its settings."""
    settings = tmp_path / "cgjobs.toml"
    settings.write_text('[plugins.probe]\ngreeting = "good day"\n')
    return {**os.environ, "PYTHONPATH": str(site), "CGJOBS_CONFIG": str(settings), "NO_COLOR": "1"}


@pytest.fixture
def config(redis_url: str) -> Config:
    port = urlsplit(redis_url).port
    assert port is not None
    worker = WorkerConfig(grace=timedelta(seconds=5))
    return Config(redis=RedisConfig(host="127.0.0.1", port=port), worker=worker)


@pytest.fixture
def registry(site: Path) -> Registry:
    return plugins.load(only=["probe"])


@pytest.fixture
def client(config: Config, registry: Registry) -> Iterator[Client]:
    with Client(config, registry) as client:
        yield client


@pytest.fixture
def connection(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


def fetch(connection: redis.Redis, job: cgjobs.Job) -> Any:
    """The job as RQ sees it."""
    return rq.job.Job.fetch(job.id, connection=connection, serializer=JSONSerializer)


def rq_queue(connection: redis.Redis, name: str = "probe") -> Any:
    return rq.Queue(name, connection=connection, serializer=JSONSerializer)


def work(config: Config, registry: Registry) -> None:
    """Let a worker of ours do what is ready now."""
    worker = Worker(config, registry, burst=True)
    asyncio.run(asyncio.wait_for(worker.run(), PATIENCE))


@contextmanager
def running_worker(config: Config, registry: Registry) -> Iterator[Worker]:
    """A worker of ours that serves until the end of the block."""
    worker = Worker(config, registry)
    started: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        started.append(asyncio.get_running_loop())
        await worker.run()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield worker
    finally:
        started[0].call_soon_threadsafe(worker.stop)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def rq_command(
    environment: dict[str, str], command: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("rq")
    return subprocess.run(
        [script, command, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rq_worker(environment: dict[str, str], redis_url: str, queue: str = "probe") -> str:
    """Let a stock RQ worker do what is ready now; gives what it logged."""
    done = rq_command(environment, "worker", "--burst", "--serializer", "json", "--url", redis_url, queue)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def just_now(moment: datetime) -> bool:
    return abs(datetime.now(UTC) - moment) < timedelta(seconds=30)


# What RQ's classes see of our jobs.


@pytest.mark.parametrize(
    ("level", "queue"),
    [
        (Priority.CRITICAL, "probe:critical"),
        (Priority.HIGH, "probe:high"),
        (Priority.NORMAL, "probe"),
        (Priority.LOW, "probe:low"),
    ],
)
def test_rq_sees_a_waiting_job_of_each_level(
    client: Client, connection: redis.Redis, level: Priority, queue: str
) -> None:
    job = client.enqueue_data("probe.echo", {"text": "hi"}, priority=level, correlation_id="c-1", attempts=4)

    seen = fetch(connection, job)
    assert seen.get_status() == "queued"
    assert seen.func_name == "cgjobs.perform"
    assert seen.func is cgjobs.perform
    payload = {"type": "echo", "text": "hi"}
    assert seen.args == [{"v": 1, "name": "probe.echo", "payload": payload, "correlationId": "c-1"}]
    assert seen.kwargs == {}
    assert seen.description == "probe.echo(text='hi')"
    assert seen.origin == "probe"
    assert (seen.timeout, seen.retries_left, seen.result_ttl, seen.failure_ttl) == (30, 3, 0, 30 * 86400)
    assert just_now(seen.created_at)
    assert just_now(seen.enqueued_at)
    assert seen.started_at is seen.ended_at is None
    assert seen.meta == {}
    assert seen.latest_result() is None
    assert rq_queue(connection, queue).job_ids == [job.id]
    assert rq_queue(connection, queue).count == 1
    assert queue in {found.name for found in rq.Queue.all(connection=connection)}


def test_rq_sees_a_running_job_and_the_worker_that_has_it(
    client: Client, config: Config, registry: Registry, connection: redis.Redis, tmp_path: Path
) -> None:
    config = attrs.evolve(config, worker=WorkerConfig(lease=timedelta(seconds=3)))  # renewed every second
    job = client.enqueue_data("probe.hold", {"path": str(tmp_path / "go")})

    with running_worker(config, registry) as worker:
        until(lambda: fetch(connection, job).meta)
        seen, registered = fetch(connection, job), rq_queue(connection).started_job_registry
        assert seen.get_status() == "started"
        assert seen.meta == {"progress": {"done": 3, "total": 4, "message": "holding"}}
        assert just_now(seen.started_at)
        assert seen.worker_name == worker.name
        assert registered.get_job_ids() == [job.id]
        assert registered.count == 1
        assert job.id in registered
        assert rq_queue(connection).job_ids == []

        until(lambda: [found.get_state() for found in rq.Worker.all(connection=connection)] == ["busy"])
        [found] = rq.Worker.all(queue=rq_queue(connection))
        assert found.name == worker.name
        assert found.queue_names() == ["probe"]
        assert found.pid == os.getpid()
        assert just_now(found.birth_date)
        assert just_now(found.last_heartbeat)
        (tmp_path / "go").touch()

    assert rq.Worker.all(connection=connection) == []
    assert registered.count == 0


def test_rq_sees_a_delayed_job_and_when_it_is_due(client: Client, connection: redis.Redis) -> None:
    job = client.enqueue_data("probe.echo", {"text": "hi"}, delay=timedelta(hours=1))

    registered = rq_queue(connection).scheduled_job_registry
    assert fetch(connection, job).get_status() == "scheduled"
    assert registered.get_job_ids() == [job.id]
    assert registered.count == 1
    assert just_now(registered.get_scheduled_time(job.id) - timedelta(hours=1))
    assert rq_queue(connection).job_ids == []


def test_rq_sees_a_job_that_waits_for_its_next_attempt(
    client: Client, config: Config, registry: Registry, connection: redis.Redis, tmp_path: Path
) -> None:
    hour = Backoff.fixed(timedelta(hours=1))
    job = client.enqueue_data("probe.flaky", {"path": str(tmp_path / "go")}, attempts=3, backoff=hour)

    work(config, registry)

    seen = fetch(connection, job)
    assert seen.get_status() == "scheduled"
    assert (seen.number_of_retries, seen.retries_left) == (1, 1)
    assert seen.latest_result().type is Result.Type.FAILED
    assert "ValueError: go is not there yet" in seen.latest_result().exc_string
    assert rq_queue(connection).scheduled_job_registry.get_job_ids() == [job.id]


def test_rq_sees_a_completed_job_and_its_result(
    client: Client, config: Config, registry: Registry, connection: redis.Redis
) -> None:
    job = client.enqueue_data("probe.later", {"text": "hi"}, keep_completed=KEPT)

    work(config, registry)

    seen = fetch(connection, job)
    assert seen.get_status() == "finished"
    assert just_now(seen.ended_at)
    assert seen.return_value() == {"text": "hi", "wrapped": True}
    assert seen.latest_result().type is Result.Type.SUCCESSFUL
    assert rq_queue(connection).finished_job_registry.get_job_ids() == [job.id]
    assert rq_queue(connection).finished_job_registry.count == 1


def test_rq_sees_a_failed_job_and_each_of_its_errors(
    client: Client, config: Config, registry: Registry, connection: redis.Redis, tmp_path: Path
) -> None:
    at_once = Backoff.fixed(timedelta(0))
    job = client.enqueue_data("probe.flaky", {"path": str(tmp_path / "go")}, attempts=2, backoff=at_once)

    def has_failed() -> bool:
        work(config, registry)
        return client.get(job.id).state is JobState.FAILED

    until(has_failed)

    seen = fetch(connection, job)
    assert seen.get_status() == "failed"
    assert seen.retries_left == 0
    assert [result.type for result in seen.results()] == [Result.Type.FAILED] * 2
    assert all("ValueError: go is not there yet" in result.exc_string for result in seen.results())
    assert rq_queue(connection).failed_job_registry.get_job_ids() == [job.id]
    assert rq_queue(connection).failed_job_registry.count == 1


@pytest.mark.parametrize("delay", [None, timedelta(hours=1)], ids=["waiting", "delayed"])
def test_a_removed_job_is_gone_for_rq_as_well(
    client: Client, connection: redis.Redis, delay: timedelta | None
) -> None:
    job = client.enqueue_data("probe.echo", {"text": "hi"}, delay=delay)

    client.queue("probe").remove(job.id)

    with pytest.raises(NoSuchJobError):
        fetch(connection, job)
    assert rq_queue(connection).job_ids == []
    assert rq_queue(connection).scheduled_job_registry.count == 0


def what_rq_reads(connection: redis.Redis) -> dict[bytes, bytes]:
    """Its keys but the entry of the worker, who writes a heartbeat now and then."""
    keys = (key for key in connection.scan_iter("rq:*") if not key.startswith(b"rq:worker:"))
    return {key: connection.dump(key) for key in keys}


def test_nothing_that_rq_reads_is_changed_by_reading(
    client: Client,
    config: Config,
    registry: Registry,
    connection: redis.Redis,
    environment: dict[str, str],
    redis_url: str,
    tmp_path: Path,
) -> None:
    client.enqueue_data("probe.flaky", {"path": str(tmp_path / "never")}, attempts=1)
    client.enqueue_data("probe.later", {"text": "hi"}, keep_completed=KEPT)
    work(config, registry)
    running = client.enqueue_data("probe.hold", {"path": str(tmp_path / "go")}, keep_completed=KEPT)
    client.enqueue_data("probe.echo", {"text": "later"}, delay=timedelta(hours=1))
    with running_worker(config, registry):
        until(lambda: fetch(connection, running).meta)
        client.queue("probe").pause()
        client.enqueue_data("probe.echo", {"text": "hi"}, priority="high")
        client.enqueue_data("probe.echo", {"text": "hi"})
        until(lambda: not connection.exists("cgjobs:wake:probe"))  # the last that the worker takes by itself
        before = what_rq_reads(connection)

        far_away = time.time() + 50 * 365 * 86400
        for queue in rq.Queue.all(connection=connection, serializer=JSONSerializer):
            assert queue.count == len(queue.job_ids)
            queue.get_jobs()
            queue.started_job_registry.cleanup(timestamp=far_away)
            for registered in (
                queue.started_job_registry,
                queue.scheduled_job_registry,
                queue.deferred_job_registry,
                queue.failed_job_registry,
                queue.finished_job_registry,
                queue.canceled_job_registry,
            ):
                assert registered.count == len(registered.get_job_ids())
        assert len(rq.Worker.all(connection=connection)) == 1
        shown = rq_command(environment, "info", "--url", redis_url, "--raw", "--serializer", "json")

        after = what_rq_reads(connection)
        (tmp_path / "go").touch()

    assert shown.returncode == 0, shown.stderr
    assert "queue probe 1, 1 executing, 1 finished, 1 failed" in shown.stdout
    assert "queue probe:high 1, 0 executing, 0 finished, 0 failed" in shown.stdout
    assert " probe. jobs: 0 finished, 0 failed" in shown.stdout
    assert after == before
    assert client.get(running.id).state is JobState.COMPLETED


# A stock rq worker runs our jobs.


def test_a_stock_rq_worker_completes_our_jobs(
    client: Client, connection: redis.Redis, environment: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    echo = client.enqueue_data("probe.echo", {"text": "hi"}, keep_completed=KEPT, correlation_id="c-1")
    later = client.enqueue_data("probe.later", {"text": "hi"}, keep_completed=KEPT)
    opened = client.enqueue_data("probe.open", {"path": str(tmp_path / "ledger")}, keep_completed=KEPT)
    forgotten = client.enqueue_data("probe.later", {"text": "hi"})

    log = rq_worker(environment, redis_url)

    seen = client.get(echo.id)
    assert seen.state is JobState.COMPLETED, log
    assert seen.result == {
        "text": "hi",
        "greeting": "good day",
        "id": echo.id,
        "queue": "probe",
        "attempts": [1, 2],
        "correlationId": "c-1",
    }
    assert seen.progress == cgjobs.Progress(1, 2, "half")
    assert client.wait(later) == {"text": "hi", "wrapped": True}
    assert client.wait(opened) == "opened"
    assert (tmp_path / "ledger").read_text() == "opened, closed"
    with pytest.raises(JobNotFound):
        client.get(forgotten.id)
    stats = client.queue("probe").stats()
    assert (stats.waiting, stats.active, stats.failed, stats.delayed) == (0, 0, 0, 0)
    assert len(client.queue("probe").jobs(JobState.COMPLETED)) == 3
    assert rq_queue(connection).finished_job_registry.count == 3


def test_a_job_that_failed_under_a_stock_rq_worker_is_retried_by_ours(
    client: Client,
    config: Config,
    registry: Registry,
    connection: redis.Redis,
    environment: dict[str, str],
    redis_url: str,
    tmp_path: Path,
) -> None:
    job = client.enqueue_data("probe.flaky", {"path": str(tmp_path / "go")}, attempts=1, keep_completed=KEPT)

    rq_worker(environment, redis_url)

    assert rq_queue(connection).failed_job_registry.get_job_ids() == [job.id]
    failed = client.get(job.id)
    assert failed.state is JobState.FAILED
    assert [error.error for error in failed.errors] == ["ValueError: go is not there yet"]
    assert [found.id for found in client.queue("probe").jobs(JobState.FAILED)] == [job.id]
    assert client.queue("probe").stats().failed == 1

    (tmp_path / "go").touch()
    client.queue("probe").retry(job.id)
    work(config, registry)

    assert client.wait(job) == "mended"
    assert rq_queue(connection).failed_job_registry.count == 0


def test_a_stock_rq_worker_ends_our_jobs_as_they_ask(
    client: Client, connection: redis.Redis, environment: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    snoozed = client.enqueue_data("probe.end", {"how": "snooze"}, attempts=3)
    retried = client.enqueue_data("probe.end", {"how": "retry"}, attempts=3)
    discarded = client.enqueue_data("probe.end", {"how": "discard"}, attempts=3)
    hung = client.enqueue_data("probe.end", {"how": "hang"}, attempts=1, timeout=timedelta(seconds=1))

    log = rq_worker(environment, redis_url)

    jobs = [client.get(job.id) for job in (snoozed, retried, discarded, hung)]
    assert [job.state for job in jobs] == [
        JobState.DELAYED,
        JobState.DELAYED,
        JobState.FAILED,
        JobState.FAILED,
    ], log
    assert [(job.attempt, job.attempts) for job in jobs[:2]] == [(1, 3), (2, 3)]
    assert [job.attempts for job in jobs] == [3, 3, 3, 1]
    due = rq_queue(connection).scheduled_job_registry.get_scheduled_time
    assert just_now(due(snoozed.id) - timedelta(minutes=1))
    assert just_now(due(retried.id) - timedelta(minutes=2))
    assert jobs[0].errors == ()
    assert "Retry: not now" in jobs[1].errors[0].traceback
    assert "Discard: never" in jobs[2].errors[0].error
    assert "JobTimeoutException" in jobs[3].errors[0].error


def test_rqs_alarm_ends_a_job_also_when_it_rings_while_plugins_load(
    client: Client, environment: dict[str, str], redis_url: str, site: Path
) -> None:
    install(site, "slow", "import time\n\ntime.sleep(1.5)  # longer than the job may run\n")
    hung = client.enqueue_data("probe.end", {"how": "hang"}, attempts=1, timeout=timedelta(seconds=1))

    rq_worker(environment, redis_url)

    assert "JobTimeoutException" in client.get(hung.id).errors[0].error


def test_a_stock_rq_worker_executes_nothing_that_no_plugin_announces(
    client: Client, connection: redis.Redis, environment: dict[str, str], redis_url: str
) -> None:
    good = {"v": 1, "name": "probe.echo", "payload": {"text": "hi"}, "correlationId": "c-1"}
    wrong = {
        "no job type named 'os'": {**good, "name": "os.system"},
        "no subtype named 'probe.no'": {**good, "name": "probe.no"},
        "Unreadable": {**good, "v": 2},
        "InvalidPayload": {**good, "payload": {"text": 5}},
    }
    queue, retry = rq_queue(connection), rq.Retry(max=3)
    ids = {reason: queue.enqueue("cgjobs.perform", bad, retry=retry).id for reason, bad in wrong.items()}

    rq_worker(environment, redis_url)

    for reason, job_id in ids.items():
        job = client.get(job_id)
        assert job.state is JobState.FAILED
        assert len(job.errors) == 1, "trying again cannot mend it"
        assert reason in job.errors[0].traceback


def test_perform_refuses_to_run_outside_of_rq() -> None:
    with pytest.raises(RuntimeError, match="called by `rq worker` alone"):
        cgjobs.perform({})


def test_a_stock_rq_worker_sends_a_mail_of_the_notification_plugin(
    config: Config, environment: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    Path(environment["CGJOBS_CONFIG"]).write_text(
        f'[plugins.notification]\nallow_direct_addresses = true\noutbox = "{tmp_path / "outbox"}"\n'
    )
    with Client(config, plugins.load(only=["notification"], read_settings=lambda name, cls: None)) as client:
        data = {"to": "ada@example.com", "message": {"subject": "Tea", "text": "At five."}}
        job = client.enqueue_data("notification.email", data, keep_completed=KEPT)

        log = rq_worker(environment, redis_url, "notification")

        assert client.get(job.id).state is JobState.COMPLETED, log
        assert client.wait(job)["outcome"] == "sent"
    [file] = (tmp_path / "outbox" / "new").iterdir()
    mail = message_from_bytes(file.read_bytes(), EmailMessage, policy=policy.default)
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Tea")
    assert mail.get_content().strip() == "At five."


# And the other way round.


def test_a_job_that_a_stock_rq_client_enqueued_is_run_by_our_worker(
    client: Client, config: Config, registry: Registry, connection: redis.Redis
) -> None:
    envelope = {
        "v": 1,
        "name": "probe.later",
        "payload": {"type": "later", "text": "hi"},
        "correlationId": "c-1",
    }
    job = rq_queue(connection).enqueue("cgjobs.perform", envelope)
    stored: Any = connection.hget(job.key, "data")
    assert zlib.decompress(stored) == job.data, "RQ compresses it"

    work(config, registry)

    job.refresh()
    assert job.get_status() == "finished"
    assert job.return_value() == {"text": "hi", "wrapped": True}
    assert client.get(job.id).correlation_id == "c-1"


def test_rq_sees_what_a_job_waits_for_and_what_waits_for_it(
    client: Client, config: Config, registry: Registry, connection: redis.Redis
) -> None:
    first, second = (
        client.enqueue_data("probe.echo", {"text": "1"}),
        client.enqueue_data("probe.echo", {"text": "2"}, delay=timedelta(hours=1)),
    )
    last = client.enqueue_data(
        "probe.echo", {"text": "3"}, depends_on=[first, second], on_dependency_failure="ignore"
    )
    deferred = rq.registry.DeferredJobRegistry("probe", connection=connection, serializer=JSONSerializer)

    seen = fetch(connection, last)

    assert seen.get_status() == "deferred"
    assert sorted(seen.dependency_ids) == sorted([first.id, second.id])
    assert [job.id for job in seen.fetch_dependencies()] == [first.id, second.id]
    assert seen.allow_dependency_failures is True
    assert seen.dependency.id == first.id
    assert fetch(connection, first).dependent_ids == [last.id]
    assert deferred.get_job_ids() == [last.id]
    assert not seen.dependencies_are_met()
    client.queue("probe").cancel(second.id)
    work(config, registry)
    assert deferred.count == 0

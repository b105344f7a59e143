"""What outlives a worker that ends: checkpoints, effects that happen once, jobs that run once."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cgjobs import Client, Job, JobState
from tests.crashing_jobs import WRITTEN, Batch, Charge, IsolatedBatch, Sms, provided
from tests.jobs import config

ROOT = Path(__file__).parent.parent.parent
MAIN = "from tests.crashing_jobs import main; main()"
HOUR = timedelta(hours=1)
PATIENCE = 40.0


@contextlib.contextmanager
def worker(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", MAIN, url], cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(config(redis_url), provided()) as found:
        yield found


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.02)


def ended(client: Client, job: Job) -> Job:
    until(lambda: client.queue("work").get(job.id).state.final)
    return client.queue("work").get(job.id)


def lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines() if ledger.exists() else []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_the_next_worker_goes_on_from_the_last_checkpoint(
    redis_url: str, client: Client, ledger: Path, how: signal.Signals
) -> None:
    job = client.enqueue(Batch(str(ledger), stop_at=4), keep_completed=HOUR)
    with worker(redis_url) as first:
        until(lambda: "stopped at 4" in lines(ledger))
        if how == signal.SIGKILL:
            until(lambda: client.queue("work").get(job.id).checkpoint == 4)
        first.send_signal(how)
        first.wait(PATIENCE)

        with worker(redis_url):
            done = ended(client, job)

    assert lines(ledger) == ["from 0", "stopped at 4", "from 4"]
    assert (done.state, done.result, done.attempt) == (JobState.COMPLETED, 6, 1)
    assert done.checkpoint is None, "a completed job has no use for it"


def test_a_checkpoint_is_written_within_its_time(redis_url: str, client: Client, ledger: Path) -> None:
    job = client.enqueue(Batch(str(ledger), stop_at=3))
    with worker(redis_url):
        until(lambda: "stopped at 3" in lines(ledger))
        began = time.monotonic()
        until(lambda: client.queue("work").get(job.id).checkpoint == 3)

        assert time.monotonic() - began < WRITTEN


def test_a_child_process_that_is_killed_loses_no_checkpoint(
    redis_url: str, client: Client, ledger: Path
) -> None:
    job = client.enqueue(IsolatedBatch(str(ledger), stop_at=5), keep_completed=HOUR)
    with worker(redis_url):
        done = ended(client, job)

    assert lines(ledger) == ["from 0", "from 5"]
    assert (done.state, done.result) == (JobState.COMPLETED, 6)


@pytest.mark.parametrize(
    ("unknown", "kill", "charges", "end"),
    [
        ("fail", "after", 1, "done=True unknown=False"),
        ("again", "after", 1, "done=True unknown=False"),
        ("again", "inside", 2, "done=False unknown=True"),
        ("skip", "inside", 1, "done=False unknown=True"),
        (
            "fail",
            "inside",
            1,
            "Outcome unknown: an earlier attempt began 'charge' and did not say that it was done",
        ),
    ],
)
def test_an_effect_whose_worker_was_killed_happens_as_its_author_chose(
    redis_url: str, client: Client, ledger: Path, unknown: str, kill: str, charges: int, end: str
) -> None:
    job = client.enqueue(Charge(str(ledger), unknown, kill), keep_completed=HOUR)
    with worker(redis_url) as first:
        first.wait(PATIENCE)
    with worker(redis_url):
        done = ended(client, job)

    assert lines(ledger) == ["charged"] * charges
    assert done.recoveries == 1
    if unknown == "fail" and kill == "inside":
        assert (done.state, done.outcome_unknown) == (JobState.FAILED, True)
        assert done.errors[-1].error == end
    else:
        assert (done.state, done.result) == (JobState.COMPLETED, end)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_job_that_may_not_run_twice_does_not_and_says_that_nobody_knows(
    redis_url: str, client: Client, ledger: Path, how: str
) -> None:
    job = client.enqueue(Sms(str(ledger), "die" if how == "killed" else "hang"))
    with worker(redis_url) as first:
        until(lambda: lines(ledger))
        if how == "stopped":
            first.send_signal(signal.SIGTERM)
        first.wait(PATIENCE)
        with worker(redis_url):
            done = ended(client, job)

    assert lines(ledger) == ["sent"]
    assert (done.state, done.outcome_unknown) == (JobState.FAILED, True)
    assert done.errors[-1].error.startswith("Outcome unknown: its worker ")

    again = client.queue("work").retry(job.id)

    assert (again.state, again.outcome_unknown) == (JobState.WAITING, False)

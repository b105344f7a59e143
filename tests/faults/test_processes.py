"""Rows 1 to 12: worker processes that are killed, stopped and frozen at exact points, judged by a ledger.

The point is chosen from outside: a proxy keeps a reply or a request back, a job's line says how far it is.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from cgjobs import JobState
from tests.cli import until
from tests.faults.stage import LEASE, Stage
from tests.jobs import PATIENCE, raw
from tests.proxy import Proxy

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def stage(tmp_path: Path, redis_url: str) -> Stage:
    return Stage(tmp_path, redis_url)


def test_an_idle_worker_that_is_killed_is_gone_from_the_list_when_its_entry_ends(stage: Stage) -> None:
    """Row 1."""
    with stage.worker() as worker, raw(stage.url) as behind:
        [entry] = stage.client.workers()
        worker.kill()

        assert 0 < behind.pttl(f"rq:worker:{entry.name}") <= 10_000


def test_a_worker_killed_between_claim_and_start_costs_no_run_and_no_attempt(stage: Stage) -> None:
    """Row 2: the reply to its claim is kept from it."""
    with Proxy(stage.url) as proxy:
        with stage.worker(proxy.url) as worker:
            proxy.hold_reply(b"cgjobs1_claim")
            job_id = stage.enqueue()
            stage.await_state(active=1)
            worker.kill()
        with stage.worker():
            stage.await_state(completed=1)

    assert stage.did("start") == {job_id: 1}
    assert stage.counted("retried") == 0


def test_a_job_whose_worker_is_killed_while_it_runs_is_run_once_more_after_its_lease(stage: Stage) -> None:
    """Row 3."""
    with stage.worker() as worker:
        job_id = stage.enqueue("never")
        until(lambda: stage.did("start"))
        worker.kill()
        killed = time.monotonic()
        with stage.worker():
            stage.await_state(completed=1)
        took = time.monotonic() - killed

    assert stage.did("start") == {job_id: 2}
    assert stage.did("effect") == {job_id: 1}
    assert took < LEASE + PATIENCE


def test_a_worker_killed_after_the_effect_and_before_the_ack_repeats_it_once_under_the_same_id(
    stage: Stage,
) -> None:
    """Row 4: nothing gets through from it any more when its job goes on."""
    with Proxy(stage.url) as proxy, stage.worker(proxy.url) as worker:
        job_id = stage.enqueue("go")
        until(lambda: stage.did("start"))
        proxy.hold()
        stage.open("go")
        until(lambda: stage.did("effect"))
        worker.kill()
        with stage.worker():
            stage.await_state(completed=1)

    assert stage.did("effect") == {job_id: 2}


def test_a_worker_killed_after_the_ack_leaves_a_completed_job_and_no_event(stage: Stage) -> None:
    """Row 5: events are told at most once."""
    with Proxy(stage.url) as proxy, stage.worker(proxy.url) as worker:
        job_id = stage.enqueue("go")
        until(lambda: stage.did("start"))
        proxy.hold_reply(b"cgjobs1_settle")
        stage.open("go")
        stage.await_state(completed=1)
        worker.kill()
        with stage.worker():
            time.sleep(LEASE + 0.5)  # when it would be taken back

    assert stage.did("start") == {job_id: 1}
    assert "job_completed" not in stage.log.read_text()
    assert stage.counted("recovered") == 0


@pytest.mark.parametrize("twice", [False, True], ids=["one signal", "two signals"])
def test_a_longer_job_is_handed_back_and_the_worker_gone_within_the_grace_period(
    stage: Stage, twice: bool
) -> None:
    """Rows 6 and 7: exit 0 within grace + 1 s, the job in front, its attempt not counted."""
    with stage.worker() as worker:
        job_id = stage.enqueue("never")
        until(lambda: stage.did("start"))
        told = time.monotonic()
        worker.terminate()
        if twice:
            time.sleep(0.1)
            worker.terminate()
        code = worker.wait(PATIENCE)
        took = time.monotonic() - told
        [waiting] = stage.client.queue("work").jobs(JobState.WAITING)

    assert code == 0
    assert took < 4  # 2 s on a machine of its own
    assert (waiting.id, waiting.attempt, waiting.recoveries) == (job_id, 1, 0)


def test_a_frozen_worker_that_comes_back_is_refused_and_counted(stage: Stage) -> None:
    """Row 12: stopped for longer than its lease."""
    with stage.worker() as frozen:
        job_id = stage.enqueue("go")
        until(lambda: stage.did("start"))
        frozen.send_signal(signal.SIGSTOP)
        with stage.worker():
            stage.await_state(completed=1)
            stage.open("go")
            frozen.send_signal(signal.SIGCONT)
            until(lambda: stage.counted("stale") == 1)
            stats = stage.client.queue("work").stats()

    assert stage.did("start") == {job_id: 2}
    assert (stats.completed, stats.active, stats.waiting) == (1, 0, 0)
    assert '"job_stale"' in stage.log.read_text()

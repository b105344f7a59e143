"""``cgjobs worker --processes N``: worker processes that are started, watched and stopped together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgjobs import InvalidOption
from cgjobs.cli import processes
from tests.cli import until
from tests.faults.stage import ROOT, Stage
from tests.jobs import PATIENCE

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def stage(tmp_path: Path, redis_url: str) -> Stage:
    return Stage(tmp_path, redis_url)


@contextlib.contextmanager
def supervised(stage: Stage, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join([str(stage.directory / "site"), str(ROOT)])
    environ = os.environ | {"PYTHONPATH": path, "STAGE": str(stage.directory), "REDIS_URL": stage.url}
    command = [sys.executable, "-m", "cgjobs", "worker", "--plugins", "stage", "--no-scheduler", *words]
    with stage.log.open("ab") as log:
        process = subprocess.Popen(command, cwd=stage.directory, env=environ, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        until(lambda: stage.client.workers() == [])  # they end with it


def pids(stage: Stage) -> set[int]:
    return {worker.pid for worker in stage.client.workers()}


def test_two_processes_share_a_queue_and_end_together(stage: Stage) -> None:
    with supervised(stage, "--processes", "2") as both:
        until(lambda: len(pids(stage)) == 2)
        ids = [stage.enqueue("go") for _ in range(8)]
        until(lambda: len(stage.did("start")) == 8)
        lines = (stage.directory / "ledger").read_text().splitlines()
        workers = {line.split()[2] for line in lines}
        stage.open("go")
        stage.await_state(completed=8)
        both.terminate()

        assert both.wait(PATIENCE) == 0
    assert len(workers) == 2
    assert stage.did("effect") == dict.fromkeys(ids, 1)


def test_one_that_is_killed_is_started_again_and_its_job_run(stage: Stage) -> None:
    with supervised(stage, "--processes", "2") as both:
        until(lambda: len(pids(stage)) == 2)
        before = pids(stage)
        job_id = stage.enqueue("never")
        until(lambda: stage.did("start"))
        victim = int((stage.directory / "ledger").read_text().split()[2])
        os.kill(victim, signal.SIGKILL)
        until(lambda: pids(stage) - before)
        stage.await_state(completed=1)
        both.terminate()

        assert both.wait(PATIENCE) == 0
    assert stage.did("effect") == {job_id: 1}
    assert '"code":137' in stage.log.read_text()


def test_the_workers_end_when_their_parent_is_killed(stage: Stage) -> None:
    with supervised(stage, "--processes", "2") as both:
        until(lambda: len(pids(stage)) == 2)
        workers = pids(stage)
        both.kill()
        both.wait(PATIENCE)

        until(lambda: not any(map(alive, workers)))


def test_a_second_signal_hands_jobs_back_at_once(stage: Stage) -> None:
    (stage.directory / "cgjobs.toml").write_text('[worker]\ngrace = "1h"\n')
    with supervised(stage, "--processes", "1") as one:
        stage.enqueue("never")
        until(lambda: stage.did("start"))
        one.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            one.wait(1)
        one.send_signal(signal.SIGINT)

        assert one.wait(PATIENCE) == 0
    stage.await_state(waiting=1)


def test_what_a_worker_is_refused_ends_all_with_its_exit_code(stage: Stage) -> None:
    with supervised(stage, "--processes", "2", "--queues", "wrk") as both:
        assert both.wait(PATIENCE) == 4


def test_a_burst_of_several_processes_ends(stage: Stage) -> None:
    for _ in range(5):
        stage.enqueue()
    with supervised(stage, "--processes", "2", "--burst") as both:
        assert both.wait(PATIENCE) == 0
    stage.await_state(completed=5)


def test_there_is_one_process_for_each_core_when_asked() -> None:
    assert processes.count("auto") == len(os.sched_getaffinity(0))
    assert processes.count("3") == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "1001", "²"])
def test_a_wrong_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match="--processes"):
        processes.count(text)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except OSError:
        return False

"""``cgjobs worker``, ``scheduler`` and ``dev`` as processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli import Cli, command_line, install, until
from tests.jobs import PATIENCE

CGJOBS = [sys.executable, "-c", "import sys; from cgjobs.cli import main; sys.exit(main())"]
ORDER = ("enqueue", "shop.order", "--customer", "eve", "--amount", "5")


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


@contextmanager
def process(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file, subprocess.Popen([*CGJOBS, *words], stdout=file, stderr=file) as running:
        try:
            yield running
        finally:
            running.kill()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CGJOBS, *words], capture_output=True, text=True, timeout=60, check=False)


def test_a_burst_runs_what_there_is_and_ends(cgjobs: Cli) -> None:
    cgjobs(*ORDER, "--keep-completed", "1h", "--job-id", "mine")

    ended = run("worker", "--burst", "--plugins", "shop", "--concurrency", "shop=2", "--log-format", "json")

    events = [json.loads(line)["event"] for line in ended.stderr.splitlines()]
    assert (ended.returncode, ended.stdout) == (0, "")
    assert events == ["worker_started", "job_started", "job_completed", "worker_stopped"]
    assert cgjobs("job", "show", "mine", "--json").json["state"] == "completed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_exits_with_0(cgjobs: Cli, number: signal.Signals) -> None:
    log = cgjobs.directory / "log"
    with process("worker", log=log) as worker:
        until(lambda: len(cgjobs("workers", "--json").json) == 1)
        worker.send_signal(number)

        assert worker.wait(PATIENCE) == 0
    assert cgjobs("workers", "--json").json == []
    assert "Traceback" not in log.read_text()


def test_a_scheduler_that_is_told_to_stop_exits_with_0(cgjobs: Cli) -> None:
    with process("scheduler", "--log-level", "debug", log=cgjobs.directory / "log") as scheduler:
        until(lambda: _catches(scheduler.pid, signal.SIGTERM))
        scheduler.terminate()

        assert scheduler.wait(PATIENCE) == 0


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught & 1 << (number - 1))


def test_a_broken_plugin_is_told_at_the_start_and_strictly_refused(cgjobs: Cli) -> None:
    install(cgjobs.directory / "site", "broken", "raise ImportError('no such luck')")

    lenient, strict = run("worker", "--burst"), run("worker", "--burst", "--strict-plugins")

    assert lenient.returncode == 0
    assert "plugin_quarantined" in lenient.stderr
    assert strict.returncode == 2
    assert strict.stderr.startswith("cgjobs: plugin 'broken'")
    assert strict.stderr.endswith("is broken: ImportError: no such luck\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--plugins", "shp"), 2, "no plugin named 'shp' is installed; did you mean 'shop'?"),
        (("--queues", "shp"), 4, "no queue named 'shp'. Did you mean 'shop'?"),
        (("--concurrency", "shp=2"), 2, "this worker does not serve 'shp'; did you mean 'shop'?"),
        (("--concurrency", "shop=0"), 2, "'shop=0' is not queue=number, the number from 1"),
        (("--metrics-port", "70000"), 2, "--metrics-port: metrics_port is 70000"),
        (("--log-format", "xml"), 2, "xml"),
    ],
)
def test_a_worker_refuses_wrong_options_before_it_takes_a_job(
    cgjobs: Cli, words: tuple[str, ...], code: int, message: str
) -> None:
    ended = run("worker", "--burst", *words)

    assert ended.returncode == code
    assert message in ended.stderr


def test_dev_runs_a_broker_that_the_other_commands_find(cgjobs: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL")
    log = cgjobs.directory / "log"
    with process("dev", "--no-scheduler", log=log) as dev:
        until(lambda: "worker_started" in log.read_text())
        ended = cgjobs(*ORDER, "--wait")
        dev.terminate()

        assert dev.wait(PATIENCE) == 0
    assert ended.json == {"charged": 5}
    assert "using the broker of `cgjobs dev`" in ended.err
    assert "export REDIS_URL=unix://" in log.read_text()
    assert cgjobs("queues").code == 3

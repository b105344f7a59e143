"""``cgjobs watch``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import Cli, a_worker, command_line, until

ORDER = ("enqueue", "shop.order", "--amount", "5")


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


def test_a_job_is_watched_to_its_result(cgjobs: Cli) -> None:
    cgjobs(*ORDER, "--customer", "eve", "--job-id", "j")
    with a_worker():
        ended = cgjobs("watch", "j", "--json")

    assert ended.code == 0
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert lines[-1] == {"jobId": "j", "state": "completed", "result": {"charged": 5}}


def test_a_job_that_fails_is_watched_to_its_error(cgjobs: Cli) -> None:
    cgjobs(*ORDER, "--customer", "nobody", "--job-id", "bad")
    with a_worker():
        ended = cgjobs("watch", "bad")

    assert ended.code == 1
    assert "nobody has no account" in ended.err


def test_an_unknown_job_is_not_watched(cgjobs: Cli) -> None:
    assert cgjobs("watch", "nope").code == 4


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_events_are_shown_as_they_happen(cgjobs: Cli, form: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "cgjobs", "watch", "--queue", "shop", *form]
    environment = os.environ | {"PYTHONPATH": str(cgjobs.directory)}
    shown = cgjobs.directory / "shown"
    with shown.open("w") as out, subprocess.Popen(command, stdout=out, env=environment) as watching:
        try:

            def seen() -> bool:
                # It listens from some moment on: pause and resume until it has seen one of them.
                cgjobs("queue", "pause", "shop")
                cgjobs("queue", "resume", "shop")
                return "paused" in shown.read_text() and shown.read_text().endswith("\n")

            until(seen)
        finally:
            watching.kill()

    line = next(line for line in shown.read_text().splitlines() if "paused" in line)
    assert (json.loads(line) if form else line) == (
        {"event": "paused", "queue": "shop"} if form else "paused  shop"
    )

"""Who ends `make mutants` ends all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PATIENCE = 60.0

pytestmark = pytest.mark.timeout(3 * PATIENCE)


def test_a_hunt_that_is_ended_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.proof.mutants", "-n", "1", "settle ignores the token"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    hunt = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not [*tmp_path.glob("*/server.log")]:
        assert time.monotonic() < deadline, "no server was started"
        time.sleep(0.05)
    hunt.terminate()
    assert hunt.wait(PATIENCE) == -signal.SIGTERM
    while _some_run(hunt.pid):
        assert time.monotonic() < deadline, "what it started runs on"
        time.sleep(0.05)
    assert [*tmp_path.iterdir()] == []


def _some_run(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

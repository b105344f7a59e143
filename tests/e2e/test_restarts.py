"""Workers killed and stopped under load, in short; ``make chaos`` is the long form."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_restarts_under_load_lose_nothing_and_repeat_at_most_what_was_in_flight() -> None:
    command = [sys.executable, "-m", "tests.e2e.restarts", "--kills", "3", "--terms", "3", "--json"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    killed, stopped = (json.loads(done.stdout)[name] for name in ("SIGKILL", "SIGTERM"))
    assert killed["acknowledged"] > 100
    assert killed["lost"] == stopped["lost"] == 0
    assert killed["failed"] == stopped["failed"] == 0
    assert killed["extra_runs"] <= killed["in_flight"]
    assert stopped["extra_runs"] == 0
    assert stopped["bad_exits"] == 0

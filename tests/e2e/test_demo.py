"""``cgjobs demo``, as a stranger runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "CGJOBS_"))
}


def left_behind(directory: Path) -> list[str]:
    """Command lines of processes that were started for this directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(directory) in command and "pytest" not in command:
            found.append(command)
    return found


@pytest.mark.slow
def test_the_demo_runs_all_four_types_loses_nothing_and_leaves_no_process_behind(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    command = [sys.executable, "-m", "cgjobs", "demo", "--json", "--directory", str(directory)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=ENVIRONMENT)

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["completed"] == {"notification": 400, "cleanup": 1, "maintenance": 1, "report": 1}
    assert (outcome["lost"], outcome["failed"]) == (0, 0)
    assert outcome["mails"] == 400
    assert outcome["mailsRepeated"] <= outcome["killedInFlight"]
    assert outcome["filesDeleted"] == 400 - len(
        [p for p in (directory / "uploads").rglob("*") if p.is_file()]
    )
    assert outcome["filesDeleted"] > 0
    assert outcome["vacuumAfter"] < outcome["vacuumBefore"]
    assert Path(outcome["report"]).read_text("utf-8").startswith("<!")
    assert left_behind(directory) == []


@pytest.mark.slow
def test_piped_the_demo_tells_its_progress_in_plain_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cgjobs", "demo", "--directory", str(tmp_path / "demo")]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=ENVIRONMENT)

    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr
    assert "notification.email" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr

"""``cgjobs demo``, as a stranger runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MANY = {"notification.email": 400, "notification.push": 20, "notification.sms": 20}
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
@pytest.mark.timeout(240)
def test_the_demo_runs_all_twelve_subtypes_loses_nothing_and_leaves_no_process_behind(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    command = [sys.executable, "-m", "cgjobs", "demo", "--json", "--directory", str(directory)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, env=ENVIRONMENT)

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    results = outcome["results"]
    assert outcome["completed"] == {name: MANY.get(name, 1) for name in results}
    assert len(results) == 12
    assert (outcome["lost"], outcome["failed"]) == (0, 0)
    assert outcome["mails"] == 401  # one of them brings the report
    assert outcome["mailsRepeated"] <= outcome["killedInFlight"]
    left = [path for path in (directory / "uploads").rglob("*") if path.is_file()]
    assert results["cleanup.files"]["deleted"] == 400 - len(left) > 0
    assert results["cleanup.logs"]["compressed"] == len(list((directory / "logs").glob("*.gz"))) > 0
    assert results["cleanup.messages"]["deleted"] > 1_000
    assert results["maintenance.vacuum"]["bytesAfter"] < results["maintenance.vacuum"]["bytesBefore"]
    assert results["maintenance.cache"]["ttlSet"] == 2_000
    assert {file["format"] for file in results["report.usage"]["files"]} == {
        "html",
        "csv",
        "xlsx",
        "pdf",
        "json",
    }
    assert Path(outcome["report"]).read_text("utf-8").startswith("<!")
    assert left_behind(directory) == []


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_piped_the_demo_tells_its_progress_in_plain_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cgjobs", "demo", "--directory", str(tmp_path / "demo")]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, env=ENVIRONMENT)

    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr
    assert "notification.email" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr

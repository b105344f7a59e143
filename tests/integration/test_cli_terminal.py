"""What only a terminal sees: questions, colours and progress bars."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import Cli, a_worker, command_line

CGJOBS = [sys.executable, "-c", "import sys; from cgjobs.cli import main; sys.exit(main())"]
ORDER = ("enqueue", "shop.order", "--customer", "eve", "--amount", "5")


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    monkeypatch.setenv("TERM", "xterm")
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


def on_terminal(*words: str, answer: str = "") -> tuple[int, str]:
    """Run a command on a terminal of its own; gives the exit code and all that is seen."""
    terminal, inner = pty.openpty()
    with subprocess.Popen([*CGJOBS, *words], stdin=inner, stdout=inner, stderr=inner) as process:
        os.close(inner)
        os.write(terminal, answer.encode())
        seen = b""
        while True:
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # so Linux says that nobody has the other end any more
                break
    os.close(terminal)
    return process.returncode, seen.decode()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 5), ("\n", 5)])
def test_destroying_asks_first(cgjobs: Cli, answer: str, code: int) -> None:
    cgjobs(*ORDER, "--job-id", "mine")

    ended, seen = on_terminal("job", "remove", "mine", answer=answer)

    assert ended == code
    assert "This removes a job for good. Go on? [y/N]" in seen
    assert cgjobs("job", "show", "mine").code == (4 if code == 0 else 0)


def test_waiting_shows_a_bar_and_leaves_the_result(cgjobs: Cli) -> None:
    with a_worker():
        code, seen = on_terminal(*ORDER, "--wait")

    assert code == 0
    assert "shop.order" in seen
    assert '{"charged":5}' in seen


def test_colours_can_be_switched_off(cgjobs: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[32m" in on_terminal("doctor")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in on_terminal("doctor")[1]


def test_a_table_on_a_terminal_keeps_whole_ids(cgjobs: Cli) -> None:
    cgjobs(*ORDER, "--job-id", "a" * 60)

    assert "".join(on_terminal("jobs")[1].split()).count("a" * 5) >= 10

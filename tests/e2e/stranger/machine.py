"""A stranger's machine: a fresh virtual environment with wheels in it, and nothing of this repository."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

ROOT = Path(__file__).parents[3]
_PATIENCE = 60
_NONE: Mapping[str, str] = {}
Ended = subprocess.CompletedProcess[str]
_HIDDEN = ("CGJOBS_", "COV", "PYTEST", "PYTHON", "REDIS_", "UV_PROJECT", "VIRTUAL_ENV", "XDG_")
"""Variables by which something of the machine that runs the tests would be found."""


def wheels(factory: pytest.TempPathFactory) -> Path:
    """The directory of our wheels, the example's and the stranger's; built once per run of the tests."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    directory, done = base / "wheels", base / "wheels.done"
    with (base / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            build = ("build", "--quiet", "--wheel", "--out-dir", str(directory))
            _uv(*build, "--all-packages", str(ROOT))
            _uv(*build, str(ROOT / "examples" / "slack"))
            _uv(*build, str(Path(__file__).parent / "acme-jobs"))
            done.touch()
    return directory


@attrs.frozen
class Machine:
    """One virtual environment, and a directory of its own in which its programs run.

    Args:
        directory: Where both are.
        wheels: Where our distributions come from; all others come from the registry.
    """

    directory: Path
    wheels: Path

    @classmethod
    def new(cls, directory: Path, wheels: Path, *distributions: str) -> Machine:
        """A machine on which these were installed, by name."""
        machine = cls(directory, wheels)
        (directory / "home").mkdir()
        _uv("venv", "--quiet", "--python", sys.executable, str(directory / "venv"))
        machine.install(*distributions)
        return machine

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.directory / "venv" / "bin" / "python"

    def install(self, *distributions: str) -> None:
        """Install by name, as a stranger does."""
        _uv(*self._pip("install"), "--find-links", str(self.wheels), *distributions)

    def uninstall(self, distribution: str) -> None:
        """Remove one distribution; what it needed stays."""
        _uv(*self._pip("uninstall"), distribution)

    def run(
        self, *command: str, code: int = 0, env: Mapping[str, str] = _NONE
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; the test fails when it ends with another exit code than this one."""
        done = subprocess.run(
            self._command(command),
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
            cwd=self.directory / "home",
            env=self._environment(env),
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def cgjobs(self, *words: str, env: Mapping[str, str] = _NONE) -> Any:
        """Run ``cgjobs`` and give the JSON that it prints."""
        return json.loads(self.run("cgjobs", *words, env=env).stdout)

    @contextmanager
    def worker(self, *words: str, env: Mapping[str, str] = _NONE) -> Iterator[Path]:
        """A worker beside the test, which has to end well when told to; gives the file that it logs to."""
        log = self.directory / "worker.log"
        with log.open("w") as stream:
            worker = subprocess.Popen(
                self._command(("cgjobs", "worker", *words)),
                stderr=stream,
                cwd=self.directory / "home",
                env=self._environment(env),
            )
            try:
                yield log
                worker.send_signal(signal.SIGTERM)
                assert worker.wait(_PATIENCE) == 0, log.read_text()
            finally:
                worker.kill()
                worker.wait()

    def _command(self, command: Sequence[str]) -> list[str]:
        return [str(self.python.parent / command[0]), *command[1:]]

    def _pip(self, command: str) -> tuple[str, ...]:
        return ("pip", command, "--quiet", "--python", str(self.python))

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)}
        return {**kept, "HOME": str(self.directory / "home"), **variables}


def _uv(*words: str) -> None:
    # `uv run` names itself; the Makefile's own copy is in .uv when the machine has none.
    uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    done = subprocess.run([uv, *words], capture_output=True, text=True, check=False, timeout=_PATIENCE)
    assert done.returncode == 0, f"uv {' '.join(words)} failed:\n{done.stderr}"

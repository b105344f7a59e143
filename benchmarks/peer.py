"""The peers: where each one's environment is, how it gets there, and how its adapter is run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from benchmarks import job

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / ".bench"
HERE = ROOT / "benchmarks"
_STOP_PATIENCE = 5.0
_LONGEST_CALL = 300.0

# Peer -> environment: saq and arq hold redis-py back, so they have one of their own.
PEERS: Mapping[str, str] = {
    "ours": "own",
    "rq": "peers",
    "rq_simple": "peers",
    "celery": "peers",
    "dramatiq": "peers",
    "huey": "peers",
    "arq": "arq",
    "saq": "saq",
    "taskiq": "peers",
    "streaq": "peers",
    "bullmq": "node",
}


class Unavailable(Exception):
    """A peer cannot be installed, or failed; the message says why."""


@attrs.frozen
class Peer:
    """One adapter, ready to run.

    Args:
        name: As in `PEERS`.
        about: What it says of itself: the fields of `adapter.About`, and ``version``.
    """

    name: str
    about: Mapping[str, Any]

    def ask(self, words: list[str], environment: Mapping[str, str]) -> Any:
        """Run the adapter with these words; gives what it printed, read as JSON."""
        return _ask(self.name, words, environment)

    @contextlib.contextmanager
    def worker(self, kind: str, concurrency: int, environment: Mapping[str, str]) -> Iterator[Worker]:
        """A worker process, stopped at the end."""
        with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile(dir=_memory()) as notes:
            extra = {**environment, "BENCH_NOTES": notes.name}
            process = subprocess.Popen(
                [*_command(self.name), "worker", kind, str(concurrency)],
                cwd=ROOT,
                env=os.environ | extra,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield Worker(process, notes.name, said)
            finally:
                _stop(process)


@attrs.frozen
class Worker:
    """A running worker process.

    Args:
        process: It.
        notes: The file of its jobs' notes.
        said: What it prints.
    """

    process: subprocess.Popen[bytes]
    notes: str
    said: Any

    def check(self) -> None:
        """Raise `Unavailable` with its last words when it has ended."""
        if self.process.poll() is not None:
            raise Unavailable(f"its worker ended: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what it printed."""
        self.said.seek(0)
        return _end(self.said.read().decode(errors="replace"))


def find(name: str) -> Peer:
    """The peer, installed if need be.

    Raises:
        Unavailable: That did not work.
    """
    _install(PEERS[name])
    return Peer(name, _ask(name, ["describe"], {}))


def environment_python(environment: str) -> str:
    """The interpreter of an environment."""
    return sys.executable if environment == "own" else str(BENCH / environment / "bin" / "python")


def _command(name: str) -> list[str]:
    if PEERS[name] == "node":
        return ["node", str(HERE / name / "adapter.mjs")]
    return [environment_python(PEERS[name]), "-m", "benchmarks.adapter", name]


def _ask(name: str, words: list[str], environment: Mapping[str, str]) -> Any:
    try:
        done = subprocess.run(
            [*_command(name), *words],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_CALL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{' '.join(words)}: {error}") from error
    if done.returncode:
        raise Unavailable(f"{' '.join(words)}: {_end(done.stderr)}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _install(environment: str) -> None:
    if environment == "own":
        return
    place = BENCH / environment
    if environment == "node":
        wanted = [HERE / "bullmq" / file for file in ("package.json", "package-lock.json")]
    else:
        wanted = [HERE / "requirements" / f"{environment}.txt"]
    stamp, key = place / "installed", "".join(file.read_text() for file in wanted)
    if stamp.exists() and stamp.read_text() == key:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if environment == "node":
        for file in wanted:
            shutil.copy(file, place)
        # The lock file has the versions; `npm ci` refuses ones that were written without registry addresses.
        _run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"], place)
    else:
        uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
        python = environment_python(environment)
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)], ROOT)
        _run([uv, "pip", "install", "--quiet", "--python", python, "--requirement", str(wanted[0])], ROOT)
    stamp.write_text(key)


def _run(command: list[str], place: Path) -> None:
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unavailable(f"cannot be installed: {error}") from error
    if done.returncode:
        raise Unavailable(f"cannot be installed: {_end(done.stderr)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a worker with all its children: they are in a session of their own."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _memory() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None  # None: the usual place for temporary files


def _end(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines()]
    named = [line for line in lines if "Error" in line]  # Node.js writes its own version last
    return " | ".join((named or lines)[-3:])[-400:]


def wait_for(worker: Worker, jobs: int, patience: float) -> None:
    """Wait until a worker has made this many notes.

    Raises:
        Unavailable: It ended, or took too long.
    """
    wait_for_all([worker], jobs, patience)


def wait_for_all(workers: list[Worker], jobs: int, patience: float) -> None:
    """The same for the notes of several workers together."""
    deadline = time.monotonic() + patience
    while (done := sum(job.count(worker.notes) for worker in workers)) < jobs:
        for worker in workers:
            worker.check()
        if time.monotonic() > deadline:
            words = workers[0].last_words()
            raise Unavailable(f"{done} of {jobs} jobs had run after {patience:.0f} s. {words}")
        time.sleep(0.02)

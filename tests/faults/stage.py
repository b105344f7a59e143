"""Worker processes to be killed, stopped and frozen, and the ledger that judges: a file of what jobs did."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from cgjobs import Client
from cgjobs.broker import reads
from cgjobs.plugins import Registry
from tests.cli import install, until
from tests.jobs import PATIENCE, Note, config, registry

PLUGIN = """
import asyncio, os
from pathlib import Path
from tests.jobs import Note
from cgjobs import Backoff, Context, Processor, hookimpl, subtype

HERE = Path(os.environ["STAGE"])

def write(word, ctx):
    with open(HERE / "ledger", "a") as file:
        file.write(f"{word} {ctx.job.id} {os.getpid()}\\n")

@subtype("work.note")
async def note(payload: Note, ctx: Context) -> str:
    write("start", ctx)
    while payload.text and ctx.job.recoveries == 0 and not (HERE / payload.text).exists():
        await asyncio.sleep(0.005)
    write("effect", ctx)
    return "done"

@hookimpl
def cgjobs_processors():
    return [Processor("work", concurrency=5)]

@hookimpl
def cgjobs_subtypes():
    return [note]
"""
LEASE = 1.0
CONFIG = '[worker]\nlease = "1s"\nreap_interval = "200ms"\ngrace = "1s"\n[plugins]\nblock = ["shop"]\n'
ROOT = Path(__file__).parent.parent.parent


class Stage:
    """A broker's workers as processes, and what their jobs did.

    Args:
        directory: An empty directory.
        url: The broker.
        config_file: What stands in the workers' configuration file.
    """

    def __init__(self, directory: Path, url: str, config_file: str = CONFIG) -> None:
        self.directory, self.url = directory, url
        install(directory / "site", "stage", PLUGIN)
        (directory / "cgjobs.toml").write_text(config_file)
        (directory / "ledger").touch()
        self.registry: Registry = registry()
        self.client = Client(config(url), self.registry)

    @contextlib.contextmanager
    def worker(
        self, url: str = "", *words: str, within: Sequence[str] = ()
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process that has entered itself; killed at the end of the block.

        Args:
            url: Its way to the broker; ``""`` is that of the others.
            words: Further options of ``cgjobs worker``.
            within: A command that executes it.
        """
        path = os.pathsep.join([str(self.directory / "site"), str(ROOT)])
        environ = os.environ | {
            "PYTHONPATH": path,
            "STAGE": str(self.directory),
            "REDIS_URL": url or self.url,
        }
        options = ["--plugins", "stage", "--no-scheduler", *words]
        command = [*within, sys.executable, "-m", "cgjobs", "worker", *options]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, *words], cwd=self.directory, env=environ, stdout=log, stderr=log
            )
        try:
            until(lambda: any(item.pid == process.pid for item in self.client.workers()))
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(PATIENCE)

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def enqueue(self, gate: str = "") -> str:
        """A job that runs until the file ``gate`` is there; its second run does not wait."""
        return self.client.enqueue(Note(gate)).id

    def open(self, gate: str) -> None:
        """Let the jobs of this gate go on."""
        (self.directory / gate).touch()

    def did(self, word: str) -> Counter[str]:
        """How often each job did this."""
        lines = (line.split() for line in (self.directory / "ledger").read_text().splitlines())
        return Counter(job_id for what, job_id, _ in lines if what == word)

    def await_state(self, **numbers: int) -> None:
        """Wait until the queue has these numbers."""
        stats = self.client.queue("work").stats
        until(lambda: all(getattr(stats(), name) == value for name, value in numbers.items()))

    def counted(self, name: str) -> int:
        """One of the broker's counters over all queues and types."""
        found = self.client._sender.send(reads.metrics())
        return sum(value for key, value in found.items() if key.partition("|")[0] == name)

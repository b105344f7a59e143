"""Kill and stop workers under load, and count: what was lost, what ran more than once.

    make chaos                                        30 SIGKILLs and 30 SIGTERMs
    python -m tests.e2e.restarts --kills 5 --terms 5
    make chaos ARGS="--soak 120 --seed 7"             everything at random instead, for so many seconds

The judge is a ledger: the ids that the producer was told are enqueued, and a file to which each run of a job
appends its id when it begins.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import attrs

from cgjobs import plugins
from cgjobs.client import Client
from cgjobs.config import Config, RedisConfig
from cgjobs.embedded import EmbeddedBroker
from cgjobs.model import JobState
from tests.e2e import soak

QUEUES = ("alpha", "beta")

_PLUGIN = """
import asyncio, os, time
import attrs
from cgjobs import Context, Processor, hookimpl, subtype

LEDGER = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)

@attrs.frozen
class Note:
    ms: int

@attrs.frozen
class Pause:
    ms: int

@subtype("alpha.note")
async def note(payload: Note, ctx: Context) -> None:
    os.write(LEDGER, f"{ctx.job.id}\\n".encode())
    await asyncio.sleep(payload.ms / 1000)

@subtype("beta.pause")
def pause(payload: Pause, ctx: Context) -> None:
    os.write(LEDGER, f"{ctx.job.id}\\n".encode())
    time.sleep(payload.ms / 1000)

@hookimpl
def cgjobs_processors():
    return [Processor("alpha", concurrency=10, attempts=3), Processor("beta", concurrency=5, attempts=3)]

@hookimpl
def cgjobs_subtypes():
    return [note, pause]
"""


@attrs.frozen
class Tally:
    """What a round of restarts did.

    Args:
        restarts: How many workers were ended.
        acknowledged: Jobs whose enqueue was acknowledged.
        lost: Acknowledged jobs that never ran, or that nobody can see.
        extra_runs: Runs beyond the first of each job.
        in_flight: Jobs that the workers had when they were ended, in sum.
        recovered: Jobs taken back from a dead worker.
        failed: Jobs that failed.
        bad_exits: Workers that did not exit with 0 after SIGTERM.
        drain_seconds: From the last restart until nothing was left.
    """

    restarts: int
    acknowledged: int
    lost: int
    extra_runs: int
    in_flight: int
    recovered: int
    failed: int
    bad_exits: int
    drain_seconds: float


class Arena:
    """A broker, a plugin and workers to be ended.

    Args:
        directory: An empty directory.
        rng: Decides when a worker is ended.
    """

    def __init__(self, directory: Path, rng: random.Random) -> None:
        self._directory, self._rng = directory, rng
        self._site = directory / "site"
        self._ledger = directory / "ledger"
        self._ledger.touch()
        info = self._site / "cgjobs_arena-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cgjobs-arena\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[cgjobs]\narena = cgjobs_arena\n")
        (self._site / "cgjobs_arena.py").write_text(textwrap.dedent(_PLUGIN))
        self.acknowledged: list[str] = []

    def run(self, sig: signal.Signals, restarts: int, broker: RedisConfig) -> Tally:
        """End ``restarts`` workers with ``sig`` while jobs are enqueued, then let one worker finish all."""
        os.environ["LEDGER"] = str(self._ledger)
        sys.path.insert(0, str(self._site))
        import cgjobs_arena  # type: ignore[import-not-found]

        registry = plugins.load(found=[], extra=[("arena", cgjobs_arena)])
        config_file = self._directory / "cgjobs.toml"
        config_file.write_text(
            f'[redis]\nsocket = "{broker.socket}"\n'
            '[worker]\nlease = "1s"\nreap_interval = "200ms"\nmax_crashes = 1000\n'
        )
        with Client(attrs.evolve(Config.development(), redis=broker), registry) as client:
            stop = threading.Event()
            producer = threading.Thread(target=self._produce, args=(client, cgjobs_arena, stop))
            producer.start()
            in_flight, bad_exits = 0, 0
            try:
                for _ in range(restarts):
                    held, code = self._one_life(client, config_file, sig)
                    in_flight += held
                    bad_exits += sig is signal.SIGTERM and code != 0
            finally:
                stop.set()
                producer.join()
            began = time.monotonic()
            last = self._start(config_file)
            until(lambda: _left(client) == 0, 120)
            drain = time.monotonic() - began
            last.terminate()
            last.wait(20)
            failed = sum(client.queue(queue).stats().failed for queue in QUEUES)
        runs = Counter(self._ledger.read_text().split())
        return Tally(
            restarts=restarts,
            acknowledged=len(self.acknowledged),
            lost=sum(job_id not in runs for job_id in self.acknowledged),
            extra_runs=sum(runs.values()) - len(runs),
            in_flight=in_flight,
            recovered=(self._directory / "log").read_text().count('"job_recovered"'),
            failed=failed,
            bad_exits=bad_exits,
            drain_seconds=round(drain, 1),
        )

    def _produce(self, client: Client, arena: object, stop: threading.Event) -> None:
        rng = random.Random(self._rng.random())
        while not stop.is_set():
            note, pause = arena.Note(rng.randrange(40)), arena.Pause(rng.randrange(40))  # type: ignore[attr-defined]
            self.acknowledged += [job.id for job in client.enqueue_many([note, note, pause])]
            time.sleep(0.005)

    def _start(self, config_file: Path) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": str(self._site), "LEDGER": str(self._ledger)}
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "cgjobs", "--config", config_file, "worker", "--plugins", "arena"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def _one_life(self, client: Client, config_file: Path, sig: signal.Signals) -> tuple[int, int]:
        """Start a worker, end it at a random moment of its work; gives what it held, and its exit code."""
        worker = self._start(config_file)
        mark = f".{worker.pid}."
        until(lambda: any(mark in item.name for item in client.workers()), 30)
        time.sleep(self._rng.uniform(0.05, 0.8))
        held = 0
        if sig is signal.SIGKILL:
            worker.send_signal(signal.SIGSTOP)  # so that what it holds can be counted
            active = [
                job for queue in QUEUES for job in client.queue(queue).jobs(JobState.ACTIVE, limit=1000)
            ]
            held = sum(mark in job.worker for job in active)
        worker.send_signal(sig)
        return held, worker.wait(40)


def _left(client: Client) -> int:
    return sum(s.waiting + s.active + s.delayed for s in (client.queue(queue).stats() for queue in QUEUES))


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timedelta(seconds=seconds)}")
        time.sleep(0.02)


def play(sig: signal.Signals, restarts: int, seed: int) -> Tally:
    """One round on a broker of its own."""
    with tempfile.TemporaryDirectory() as directory, EmbeddedBroker(Path(directory) / "broker") as broker:
        return Arena(Path(directory), random.Random(seed)).run(sig, restarts, broker)


def main() -> None:
    """Run both rounds in processes of their own and print what they did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--terms", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="every kind of fault, at random")
    args = parser.parse_args()
    print(f"seed {args.seed}", file=sys.stderr)
    if args.soak:
        found = soak.play(args.soak, args.seed)
        print(json.dumps(found, indent=None if args.json else 2))
        sys.exit(1 if any(found["wrong"].values()) else 0)
    tallies: dict[str, dict[str, float]] = {}
    for sig, restarts in ((signal.SIGKILL, args.kills), (signal.SIGTERM, args.terms)):
        tallies[sig.name] = attrs.asdict(play(sig, restarts, args.seed))
        if not args.json:
            print(sig.name, tallies[sig.name], flush=True)
    if args.json:
        print(json.dumps(tallies))


if __name__ == "__main__":
    main()

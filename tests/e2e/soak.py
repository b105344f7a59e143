"""Everything at random: workers and the broker killed, stopped and frozen, the network cut, held, slow.

    make chaos ARGS="--soak 120 --seed 7"

The seed decides which fault comes when, to whom and for how long, so a run can be played again; what a fault
meets is up to the machine. The judge is `tests.e2e.verdict`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cgjobs import BrokerError, Client, JobNotFound, JobState, JobStateError, WaitTimeout, plugins
from tests.cli import install
from tests.conftest import Server
from tests.e2e import verdict
from tests.e2e.soak_plan import LEASE, TIMEOUT, WORKERS, Fault, Producer, plan
from tests.e2e.verdict import Outage, Record
from tests.jobs import config, raw
from tests.proxy import Proxy

QUEUES = ("alpha", "beta")
PATIENCE = 60.0
ROOT = Path(__file__).parent.parent.parent
CONFIG = f"""
[redis]
timeout = "1s"
[worker]
lease = "{LEASE:g}s"
reap_interval = "300ms"
grace = "3s"
max_crashes = 1000
"""
PLUGIN = """
import asyncio, os, time
from datetime import timedelta
import attrs
from cgjobs import Backoff, Context, Processor, hookimpl, subtype

LEDGER = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def write(word, ctx):
    job = ctx.job
    os.write(LEDGER, f"{word} {job.id} {job.attempt} {os.getpid()} {time.monotonic()}\\n".encode())

@attrs.frozen
class Note:
    ms: int
    fails: bool = False

@attrs.frozen
class Block:
    ms: int

@subtype("alpha.note")
async def note(payload: Note, ctx: Context) -> None:
    write("start", ctx)
    await asyncio.sleep(payload.ms / 1000)
    if payload.fails and ctx.job.attempt == 1:
        raise OSError("the first time")
    write("end", ctx)

@subtype("beta.block")
def block(payload: Block, ctx: Context) -> None:
    write("start", ctx)
    time.sleep(payload.ms / 1000)
    write("end", ctx)

@hookimpl
def cgjobs_processors():
    backoff = Backoff.fixed(timedelta(seconds=0.2), jitter=0)
    return [Processor(name, concurrency=5, attempts=5, backoff=backoff) for name in ("alpha", "beta")]

@hookimpl
def cgjobs_subtypes():
    return [note, block]
"""


class Soak:
    """A broker, workers and producers, to each of which anything may happen.

    Args:
        directory: An empty directory.
        memory: One for the broker's files; on a slow disk ``everysec`` loses what Redis has not written.
        seed: Decides everything that is ours to decide.
    """

    def __init__(self, directory: Path, memory: Path, seed: int) -> None:
        self._directory, self._rng, self._seed = directory, random.Random(seed), seed
        install(directory / "site", "soak", PLUGIN)
        (directory / "cgjobs.toml").write_text(CONFIG)
        (directory / "ledger").touch()
        os.environ["LEDGER"] = str(directory / "ledger")
        sys.path.insert(0, str(directory / "site"))
        import cgjobs_soak  # type: ignore[import-not-found]

        self._payloads: Any = cgjobs_soak
        self._registry = plugins.load(found=[], extra=[("soak", cgjobs_soak)])
        self._server = Server(memory, appendonly="yes", appendfsync="everysec")
        self._record = Record()
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._frozen: set[int] = set()
        self._leaving: list[tuple[subprocess.Popen[bytes], int, float]] = []
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._pausing: list[threading.Thread] = []
        self._away = False
        self._done: Counter[str] = Counter()

    def run(self, seconds: float) -> dict[str, Any]:
        """Do what the seed says, then let everything end; gives what the judge found."""
        self._server.start()
        with contextlib.ExitStack() as stack:
            stack.callback(self._server.kill)
            self._proxies = [stack.enter_context(Proxy(self._server.url)) for _ in range(WORKERS)]
            self._way = stack.enter_context(Proxy(self._server.url))
            settings = config(self._server.url, broker={"timeout": TIMEOUT})
            self._client = stack.enter_context(Client(settings, self._registry))
            stack.callback(self._kill_all)
            for place in range(WORKERS):
                self._start(place)
            _until(self._all_here)
            makers = [
                Producer(queue, self._way.url, self._registry, self._payloads, self._seed + n, self._record)
                for n, queue in enumerate(QUEUES)
            ]
            for maker in makers:
                maker.start()
            self._act(plan(self._rng, seconds))
            for maker in makers:
                maker.ended.set()
            for maker in makers:
                maker.join(PATIENCE)
            return self._judge(self._drain())

    def _act(self, faults: list[Fault]) -> None:
        began = time.monotonic()
        for fault in faults:
            self._wait_until(began + fault.at)
            self._done[fault.kind] += 1
            print(
                f"{fault.at:8.3f} {fault.kind} {fault.place} {fault.seconds:g} s", file=sys.stderr, flush=True
            )
            getattr(self, "_" + fault.kind.replace(" ", "_"))(fault)
        self._wait_until(float("inf"))

    def _wait_until(self, moment: float) -> None:
        """Undo meanwhile what is due to be undone; with no end: undo everything."""
        while self._later and (self._later[0][0] <= moment):
            due, _, undo = heapq.heappop(self._later)
            time.sleep(max(0.0, due - time.monotonic()))
            undo()
        if moment != float("inf"):
            time.sleep(max(0.0, moment - time.monotonic()))

    def _after(self, seconds: float, undo: Callable[[], object]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), undo))

    def _outage(self, place: int | None, seconds: float, undo: Callable[[], object]) -> None:
        begin = time.monotonic()

        def over() -> None:
            undo()
            self._record.outages.append(Outage(place, begin, time.monotonic()))

        self._after(seconds, over)

    # Workers

    def _start(self, place: int) -> None:
        path = os.pathsep.join([str(self._directory / "site"), str(ROOT)])
        environ = os.environ | {"PYTHONPATH": path, "REDIS_URL": self._proxies[place].url}
        command = [sys.executable, "-m", "cgjobs", "worker", "--plugins", "soak", "--no-scheduler"]
        with (self._directory / "log").open("ab") as log:
            worker = subprocess.Popen(command, cwd=self._directory, env=environ, stdout=log, stderr=log)
        self._workers[place], self._record.places[worker.pid] = worker, place

    def _kill(self, fault: Fault) -> None:
        worker = self._workers[fault.place]
        worker.kill()
        worker.wait(PATIENCE)
        self._record.killed[worker.pid] = time.monotonic()
        self._start(fault.place)

    def _stop(self, fault: Fault) -> None:
        worker = self._workers[fault.place]
        if worker.pid in self._frozen:
            return self._kill(fault)
        worker.terminate()
        self._leaving.append((worker, fault.place, time.monotonic()))
        self._start(fault.place)
        return None

    def _freeze(self, fault: Fault) -> None:
        worker = self._workers[fault.place]
        worker.send_signal(signal.SIGSTOP)
        self._frozen.add(worker.pid)

        def go_on() -> None:
            self._frozen.discard(worker.pid)
            worker.send_signal(signal.SIGCONT)

        self._outage(fault.place, fault.seconds, go_on)

    def _kill_all(self) -> None:
        for worker in [*self._workers.values(), *(left for left, _, _ in self._leaving)]:
            worker.kill()
            worker.wait(PATIENCE)

    # The broker and the network

    def _broker(self, fault: Fault) -> None:
        if self._away:
            return
        self._away = True
        self._server.kill_written()
        self._record.broker_killed.append(time.monotonic())

        def back() -> None:
            self._server.start()
            self._away = False

        self._outage(None, fault.seconds, back)

    def _cut(self, fault: Fault) -> None:
        self._proxies[fault.place].cut()

    def _cut_producers(self, fault: Fault) -> None:
        self._way.cut()

    def _delay(self, fault: Fault) -> None:
        proxy = self._proxies[fault.place]
        proxy.delay(0.1 * fault.seconds)
        self._outage(fault.place, fault.seconds, lambda: proxy.delay(0.0))

    def _hold(self, fault: Fault) -> None:
        proxy = self._proxies[fault.place]
        proxy.hold()
        self._outage(fault.place, fault.seconds, proxy.release)

    def _lose_claim(self, fault: Fault) -> None:
        self._proxies[fault.place].drop_reply(b"cgjobs1_claim")

    def _lose_settle(self, fault: Fault) -> None:
        self._proxies[fault.place].drop_reply(b"cgjobs1_settle")

    def _lose_renew(self, fault: Fault) -> None:
        self._proxies[fault.place].drop_reply(b"cgjobs1_renew")

    def _lose_enqueue(self, fault: Fault) -> None:
        self._way.drop_reply(b"cgjobs1_enqueue")

    # Operators

    def _pause(self, fault: Fault) -> None:
        """On a thread: it waits for the workers."""

        def pause() -> None:
            with contextlib.suppress(BrokerError, WaitTimeout):
                self._client.queue("alpha").pause()
                told = time.monotonic()
                time.sleep(fault.seconds)
                self._record.pauses.append((told, time.monotonic()))
            _until(lambda: self._says(lambda: self._client.queue("alpha").resume()))

        if not any(thread.is_alive() for thread in self._pausing):
            self._pausing.append(threading.Thread(target=pause, daemon=True))
            self._pausing[-1].start()

    def _cancel(self, fault: Fault) -> None:
        for job_id in list(self._record.acknowledged)[-20::3]:
            with contextlib.suppress(BrokerError, JobNotFound, JobStateError):
                queue = self._client.queue(job_id.partition("-")[0])
                if queue.cancel(job_id) is not JobState.ACTIVE:  # it had not begun, or waited for its retry
                    self._record.cancelled.setdefault(job_id, time.monotonic())

    # The end

    def _says(self, ask: Callable[[], object]) -> bool:
        """Ask, and gives whether there was an answer."""
        with contextlib.suppress(BrokerError):
            ask()
            return True
        return False

    def _all_here(self) -> bool:
        with contextlib.suppress(BrokerError):
            return len(self._client.workers()) == WORKERS
        return False

    def _idle(self) -> bool:
        """Whether nothing is left to be done; not known when a busy machine answers late."""
        with contextlib.suppress(BrokerError):
            found = [self._client.queue(name).stats() for name in QUEUES]
            return not sum(stats.waiting + stats.active + stats.delayed for stats in found)
        return False

    def _drain(self) -> float:
        began = time.monotonic()
        for thread in self._pausing:
            thread.join(PATIENCE)
        _until(self._idle, 2 * PATIENCE)
        drained = time.monotonic() - began
        for place, worker in self._workers.items():
            worker.terminate()
            self._leaving.append((worker, place, time.monotonic()))
        for worker, place, told in self._leaving:
            code = worker.wait(PATIENCE)
            if code == -signal.SIGTERM and worker.pid not in self._begun():
                continue  # Python was still loading: nobody listened to signals yet
            if code and not self._record.away(place, told - 1, told + PATIENCE):
                self._record.bad_exits.append(f"{worker.pid}: {code}")
        return drained

    def _begun(self) -> set[int]:
        """The workers that said so."""
        log = (self._directory / "log").read_text()
        return {int(pid) for pid in re.findall(r'"worker_started".*?\.(\d+)\.[0-9a-f]{6}"', log)}

    def _judge(self, drained: float) -> dict[str, Any]:
        record, ledger = self._record, self._directory / "ledger"
        started, ended = verdict.runs(ledger, "start"), verdict.runs(ledger, "end")
        with raw(self._server.url) as behind:
            ends = {
                kind: [
                    str(job_id) for queue in QUEUES for job_id in behind.zrange(f"rq:{kind}:{queue}", 0, -1)
                ]
                for kind in ("finished", "canceled", "failed")
            }
            remains = {key: behind.zcard(key) for key in ("cgjobs:leases", "rq:wip:alpha", "rq:wip:beta")}
            remains["cgjobs:quarantine"] = behind.xlen("cgjobs:quarantine")
        pairs = verdict.extra(started)
        return {
            "seed": self._seed,
            "faults": dict(sorted(self._done.items())),
            "acknowledged": len(record.acknowledged),
            "unknown": len(record.unknown),
            "cancelled": len(record.cancelled),
            "runs": len(started),
            "recovered": (self._directory / "log").read_text().count('"job_recovered"'),
            "extra_runs": len(pairs),
            "drain_seconds": round(drained, 1),
            "wrong": {
                "lost": verdict.misplaced(record, ends, (run.job_id for run in ended)),
                "unexplained runs": verdict.unexplained(record, pairs, LEASE),
                "resurrected": verdict.resurrected(record, started),
                "begun while paused": verdict.begun_while_paused(record, started, LEASE, "alpha"),
                "failed": ends["failed"],
                "bad exits": record.bad_exits,
                "remains": [f"{count} in {key}" for key, count in remains.items() if count],
            },
        }


def _until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.05)


@contextlib.contextmanager
def _directories() -> Iterator[tuple[Path, Path]]:
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory() as directory,
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as fast,
    ):
        yield Path(directory), Path(fast)


def play(seconds: float, seed: int) -> dict[str, Any]:
    """One soak on a broker of its own."""
    with _directories() as (directory, memory):
        try:
            return Soak(directory, memory, seed).run(seconds)
        except TimeoutError:
            print((directory / "log").read_text()[-4000:], file=sys.stderr)
            raise

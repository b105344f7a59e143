"""Rows 13 and 24: the server's process is killed under load, and comes back; what it loads takes a while."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from cgjobs import BrokerUnavailable, Client
from tests.cli import until
from tests.conftest import Server
from tests.faults.stage import Stage
from tests.jobs import PATIENCE, Note, config, raw

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]
LEASE = 20  # longer than the server is away: nothing may run twice
CONFIG = f'[redis]\ntimeout = "500ms"\n[worker]\nlease = "{LEASE}s"\n[plugins]\nblock = ["shop"]\n'
KEYS = 6000
BACK = 10.0
"""Seconds until work goes on after the server does: a worker's longest pause, twice for a busy machine."""


@pytest.fixture
def server() -> Iterator[Server]:
    """Append-only everysec, in memory where it can be: see `Server.kill_written`."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        made = Server(Path(directory), appendonly="yes", appendfsync="everysec")
        made.start()
        yield made
        made.kill()


@pytest.fixture
def stage(tmp_path: Path, server: Server) -> Iterator[Stage]:
    made = Stage(tmp_path, server.url, CONFIG)
    yield made
    made.client.close()


class Producer(threading.Thread):
    """Enqueues one job after the other, and keeps apart what was acknowledged and what nobody knows."""

    def __init__(self, stage: Stage, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._stage, self._ended = stage, threading.Event()
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []

    def run(self) -> None:
        """Enqueue until `end`."""
        settings = config(self._stage.url, broker={"timeout": timedelta(seconds=0.5)})
        with Client(settings, self._stage.registry) as client:
            number = 0
            while not self._ended.is_set():
                number += 1
                job_id = f"{self.name}-{number}"
                try:
                    client.enqueue(Note(), job_id=job_id, keep_completed=timedelta(hours=1))
                except BrokerUnavailable:
                    self.unknown.append(job_id)
                else:
                    self.acknowledged.append(job_id)
                self._ended.wait(0.002)

    def end(self) -> None:
        self._ended.set()
        self.join(PATIENCE)


@contextlib.contextmanager
def producers(stage: Stage) -> Iterator[list[Producer]]:
    """Two of them at work."""
    both = [Producer(stage, name) for name in ("one", "two")]
    for producer in both:
        producer.start()
    try:
        yield both
    finally:
        for producer in both:
            producer.end()


def away(stage: Stage, server: Server, number: int) -> float:
    """Kill the server while jobs run and start it again.

    Returns:
        Seconds from the server's first answer until a job that was enqueued then has run.
    """
    gate = f"gate{number}"
    running = [stage.enqueue(gate) for _ in range(3)]
    until(lambda: all(stage.did("start")[job_id] for job_id in running))
    server.kill_written()
    stage.open(gate)  # they end while nobody can be told
    until(lambda: all(stage.did("effect")[job_id] for job_id in running))
    server.start()
    began = time.monotonic()
    probe = stage.enqueue()
    until(lambda: stage.did("effect")[probe])
    return time.monotonic() - began


def test_a_broker_killed_under_load_loses_nothing_and_no_job_runs_twice(stage: Stage, server: Server) -> None:
    """Row 13: append-only everysec, three times; the workers' leases outlast it."""
    with stage.worker(), stage.worker(), producers(stage) as both:
        until(lambda: all(producer.acknowledged for producer in both))
        took = []
        for number in range(3):
            before = [len(producer.acknowledged) for producer in both]
            until(lambda n=before: all(len(p.acknowledged) > c + 40 for p, c in zip(both, n, strict=True)))
            took.append(away(stage, server, number))
        for producer in both:
            producer.end()
        stage.await_state(waiting=0, active=0)
        stats = stage.client.queue("work").stats()

    acknowledged = [job_id for producer in both for job_id in producer.acknowledged]
    unknown = {job_id for producer in both for job_id in producer.unknown}
    runs = stage.did("start")
    assert len(acknowledged) > 240
    assert [job_id for job_id in acknowledged if job_id not in runs] == []
    assert {job_id: count for job_id, count in runs.items() if count > 1} == {}
    assert {job_id for job_id in runs if job_id.startswith(("one-", "two-"))} <= {*acknowledged, *unknown}
    assert (stats.completed, stats.failed) == (len(runs), 0)
    assert stage.counted("recovered") == stage.counted("stale") == 0
    assert max(took) < BACK, took


def test_a_broker_that_loads_its_data_fails_no_job(stage: Stage, server: Server) -> None:
    """Row 24: it answers LOADING to all, for some seconds."""
    with raw(server.url) as admin:
        admin.mset({f"other:{number}": "x" * 100 for number in range(KEYS)})
        admin.bgrewriteaof()  # a snapshot: while it is read the server answers
        until(lambda: not admin.info("persistence")["aof_rewrite_in_progress"])
        assert admin.info("persistence")["aof_last_bgrewrite_status"] == "ok"
    with stage.worker(), producers(stage) as both:
        until(lambda: all(producer.acknowledged for producer in both))
        job_id = stage.enqueue("go")
        until(lambda: stage.did("start")[job_id])
        server.kill_written()
        # Half a millisecond a key, and a look at the connections after each KiB: as with many gigabytes.
        server.options |= {"key_load_delay": 500, "loading_process_events_interval_bytes": 1024}
        # The server ends with the thread that started it, so what happens meanwhile is another one's.
        with ThreadPoolExecutor(1) as pool:
            refused = pool.submit(while_loading, stage, server, job_id, both)
            server.start()
        assert refused.result()
        began = time.monotonic()
        probe = stage.enqueue()
        until(lambda: stage.did("effect")[probe])
        took = time.monotonic() - began
        for producer in both:
            producer.end()
        stage.await_state(waiting=0, active=0)
        stats = stage.client.queue("work").stats()

    runs = stage.did("start")
    assert [p for producer in both for p in producer.acknowledged if runs[p] != 1] == []
    assert (stats.completed, stats.failed) == (len(runs), 0)
    assert set(runs.values()) == {1}
    assert '"broker_lost"' in stage.log.read_text()
    assert took < BACK


def while_loading(stage: Stage, server: Server, job_id: str, both: Sequence[Producer]) -> bool:
    """Let the running job end and both producers be refused; gives whether all that came in time."""
    until(lambda: loading(server))
    stage.open("go")
    before = [len(producer.unknown) for producer in both]
    until(lambda: stage.did("effect")[job_id])
    until(lambda: all(len(p.unknown) > count for p, count in zip(both, before, strict=True)))
    return loading(server)


def loading(server: Server) -> bool:
    """Whether the server says that it is still reading its data."""
    with raw(server.url) as client:
        try:
            client.get("other:1")
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            return False
    return False

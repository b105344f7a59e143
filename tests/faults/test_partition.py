"""Row 20: the network between worker and broker is gone: a dead cable, in network namespaces of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import redis

from cgjobs import Client
from cgjobs.config import RedisConfig
from cgjobs.embedded import find_server
from tests.cli import until
from tests.conftest import WRAPPER
from tests.faults.stage import CONFIG, Stage
from tests.jobs import PATIENCE, config

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]
ADDRESSES = {"broker": "192.0.2.1", "worker": "192.0.2.2"}
OVER_CABLE = f"redis://{ADDRESSES['broker']}:6379/0"
ROOT_ONLY = "needs root, Linux namespaces and `ip` (Debian: iproute2) for a network of its own"


class Network:
    """Two network namespaces with a cable between them. Nothing of the machine's own network is touched."""

    def __init__(self) -> None:
        self._names = {side: f"cgjobs-{os.getpid()}-{side}" for side in ADDRESSES}

    def within(self, side: str) -> list[str]:
        """The words before a command that is to run there."""
        return ["ip", "netns", "exec", self._names[side]]

    def cable(self, side: str, state: str) -> None:
        """Switch this end ``up`` or ``down``."""
        _run(*self.within(side), "ip", "link", "set", "cable", state)

    @contextlib.contextmanager
    def laid(self) -> Iterator[None]:
        """The network, for the length of the block; skips the test where it may not be made."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip(ROOT_ONLY)
        try:
            for name in self._names.values():
                _run("ip", "netns", "add", name)
            broker, worker = self._names.values()
            peer = ("type", "veth", "peer", "name", "cable", "netns", worker)
            _run("ip", "-n", broker, "link", "add", "cable", *peer)
            for side, address in ADDRESSES.items():
                _run(*self.within(side), "ip", "address", "add", f"{address}/30", "dev", "cable")
                self.cable(side, "up")
        except subprocess.CalledProcessError as error:
            self._remove()
            pytest.skip(f"{ROOT_ONLY}: {error.stderr.decode().strip()}")
        try:
            yield
        finally:
            self._remove()

    def _remove(self) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE)


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    with made.laid():
        yield made


@pytest.fixture
def stage(tmp_path: Path, network: Network) -> Iterator[Stage]:
    """A broker at its end of the cable. Others reach it by a socket, which knows no network."""
    with tempfile.TemporaryDirectory() as directory:  # the path of a socket is short
        path = Path(directory) / "socket"
        options = {"bind": ADDRESSES["broker"], "port": 6379, "unixsocket": path, "dir": directory}
        options |= {"protected-mode": "no", "save": "", "logfile": Path(directory) / "log"}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        binary = os.environ.get("CGJOBS_TEST_SERVER") or str(find_server())
        server = subprocess.Popen([*network.within("broker"), *WRAPPER, binary, *words])
        made = Stage(
            tmp_path, f"redis://{ADDRESSES['broker']}:6379/0", CONFIG + '[redis]\ntimeout = "300ms"\n'
        )
        made.client.close()
        made.url = f"unix://{path}"
        made.client = Client(attrs.evolve(config(OVER_CABLE), redis=RedisConfig(socket=path)), made.registry)
        try:
            until(lambda: answers(path))
            yield made
        finally:
            made.client.close()
            server.kill()
            server.wait(PATIENCE)


def answers(path: Path) -> bool:
    with redis.Redis(unix_socket_path=str(path)) as client, contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


@pytest.mark.parametrize("side", ["worker", "broker"])
def test_a_worker_behind_a_dead_cable_starts_nothing_and_its_job_goes_to_another(
    stage: Stage, network: Network, side: str
) -> None:
    """At the worker's end the cable is known to be dead; at the broker's the worker hears nothing at all."""
    with stage.worker(OVER_CABLE, within=network.within("worker")) as lonely:
        job_id = stage.enqueue("never")
        until(lambda: stage.did("start"))
        network.cable(side, "down")
        with stage.worker() as other:
            came = time.monotonic()
            until(lambda: stage.did("start")[job_id] == 2)
            recovered = time.monotonic() - came
            meanwhile = [stage.enqueue() for _ in range(20)]
            stage.await_state(completed=21)
            other.terminate()
            other.wait(PATIENCE)
        started = [int(line.split()[2]) for line in (stage.directory / "ledger").read_text().splitlines()]
        network.cable(side, "up")
        mended = time.monotonic()
        until(lambda: stage.counted("stale") == 1)
        later = stage.enqueue()
        until(lambda: stage.did("effect")[later])
        back = time.monotonic() - mended
        stage.await_state(active=0, waiting=0)

    assert started.count(lonely.pid) == 1, "its one start, before the cable was cut"
    assert stage.did("start") == {job_id: 2, later: 1} | dict.fromkeys(meanwhile, 1)
    assert stage.did("effect") == dict.fromkeys([job_id, later, *meanwhile], 1)
    assert recovered < 10
    assert back < 10

"""Real servers for the tests: one shared by a whole run (by one xdist worker), or one of a test's own.

``CGJOBS_TEST_SERVER`` names another server binary, to run the same tests on Redis.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import pytest
import redis

from cgjobs.embedded import find_server

_PATIENCE = 60.0
# A server also ends when the test run is killed. The tests run in the main thread, which the signal follows.
WRAPPER = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()


class Server:
    """A server on a free loopback port that keeps its port and its directory over restarts.

    Args:
        directory: Where it runs; append-only files go there.
        options: Its options, as in ``--appendonly yes``: names with ``_`` for ``-``.
    """

    def __init__(self, directory: Path, **options: object) -> None:
        self.directory = directory
        self.options = {"save": "", "appendonly": "no", **options}
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        password = self.options.get("requirepass")
        login = f":{quote(str(password), safe='')}@" if password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers; the first start chooses a port."""
        chosen = self.port
        for _ in range(5):  # Another process may take the free port before the server does.
            self.port = chosen or _free_port()
            (self.directory / "server.log").unlink(missing_ok=True)
            self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL)
            if self._answers():
                return
            self.kill()
        raise RuntimeError(
            f"the server does not start: {(self.directory / 'server.log').read_text()[-2000:]}"
        )

    def stop(self) -> None:
        """Shut it down in order; nothing when it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE)
            self._process = None

    def kill(self) -> None:
        """End it as a crash would (SIGKILL); nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
            self._process = None

    def kill_written(self) -> None:
        """The same, once all that was acknowledged is written.

        With ``everysec`` Redis acknowledges what it has not written while an fsync is under way, and a kill
        then loses that: on a slow disk, or where the thread for it waits for a processor.
        """
        with redis.Redis(port=self.port) as client:
            deadline = time.monotonic() + _PATIENCE
            while client.info("persistence")["aof_pending_bio_fsync"] and time.monotonic() < deadline:
                pass  # at once after the answer: the next fsync is a second away at most
        self.kill()

    def restart(self) -> None:
        """Stop it if it runs and start it on the same port and directory."""
        self.stop()
        self.start()

    def _command(self) -> list[str]:
        binary = os.environ.get("CGJOBS_TEST_SERVER") or str(find_server())
        command = [*WRAPPER, binary, "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.directory), "--logfile", str(self.directory / "server.log")]
        for name, value in self.options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        return command

    def _answers(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    # What answers may be another server that took the port: ours has to say so as well.
                    if connection.recv(64).startswith((b"+PONG", b"-NOAUTH")) and "eady to" in self._log():
                        return True
            except OSError:
                pass
            time.sleep(0.01)
        return False

    def _log(self) -> str:
        log = self.directory / "server.log"
        return log.read_text(errors="replace") if log.exists() else ""


class ServerFactory(Protocol):
    """What the fixture `own_server` gives: call it with the server's options."""

    def __call__(self, **options: object) -> Server: ...


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the tests of this process share; use `redis_url` to have it empty."""
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """The shared server, emptied: data and functions."""
    with socket.create_connection(("127.0.0.1", redis_server.port), timeout=_PATIENCE) as connection:
        for command in (b"FLUSHALL SYNC\r\n", b"FUNCTION FLUSH SYNC\r\n"):
            connection.sendall(command)
            assert connection.recv(64) == b"+OK\r\n"
    return redis_server.url


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFactory]:
    """Start servers of the test's own: ``own_server(appendonly="yes", requirepass="secret")``."""
    servers: list[Server] = []

    def start(**options: object) -> Server:
        server = Server(tmp_path_factory.mktemp("server"), **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port

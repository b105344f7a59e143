"""One mutant before one state machine, on a server of its own."""

from __future__ import annotations

import io
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from multiprocessing import parent_process
from pathlib import Path

import pytest
from hypothesis import Phase

from tests.conftest import Server
from tests.proof.play import loaded, play

_servers: list[Server] = []
_starting = threading.Lock()  # held while a server starts, and for good once this process shall end


def begin(nice: int) -> None:
    """In a process of the pool, before its first mutant: let others go first, and end with the parent."""
    os.nice(nice)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """However it ended: what runs here would otherwise go on for ever, with its server."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    _starting.acquire()
    try:
        for server in _servers[-1:]:
            server.kill()
            shutil.rmtree(server.directory, ignore_errors=True)
    finally:
        os._exit(1)


def killed_by(source: str, machine: str, examples: int) -> tuple[str, float]:
    """What a machine said about this library, empty when it found nothing, and how many seconds that took."""
    began = time.monotonic()
    found = ""
    with _own_server() as server, loaded(source), redirect_stdout(io.StringIO()):
        try:
            play(
                server.url,
                machine,
                examples=examples,
                phases=[Phase.generate],
                database=None,
                derandomize=True,
            )
        except (Exception, pytest.fail.Exception) as error:
            found = type(error).__name__
    return found, time.monotonic() - began


@contextmanager
def _own_server() -> Iterator[Server]:
    with _starting:
        server = Server(Path(tempfile.mkdtemp()))
        _servers.append(server)
        server.start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.directory)

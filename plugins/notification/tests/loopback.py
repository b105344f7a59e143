"""Real servers on loopback: HTTP that replies what it is told, and what is written for Node."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest

PATIENCE = 30.0


@attrs.frozen
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.define
class Replies:
    """An HTTP server that keeps what it gets and replies what it is told to, first reply first.

    A reply is (status, headers, body); ``None`` hangs up without one. Without any it replies 200 and ``{}``.
    """

    url: str = ""
    seen: list[Seen] = attrs.field(factory=list)
    replies: deque[tuple[int, dict[str, str], Any] | None] = attrs.field(factory=deque)
    connections: int = 0
    answer: Callable[[Seen], tuple[int, dict[str, str], Any] | None] | None = None

    def next(self, seen: Seen) -> tuple[int, dict[str, str], Any] | None:
        self.seen.append(seen)
        if self.answer is not None:
            return self.answer(seen)
        return self.replies.popleft() if self.replies else (200, {}, {})


def needs_node() -> str:
    """The path of Node; a skip where it is missing."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("this test speaks with a server written for Node, which is not installed here")
    return node


class NodeServer:
    """A program for Node that prints its port first and then a line of JSON for each thing that it saw.

    Args:
        command: Node and its arguments.
        cwd: Where it runs.
    """

    def __init__(self, command: list[str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._lines: list[Any] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self._lines.append(json.loads(line))
                self._more.notify_all()

    def tell(self, value: Any) -> None:
        """Send it a line of JSON, and wait until it says that it has read it."""
        assert self._process.stdin is not None
        before = self.count("told")
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()
        self.wait("told", before + 1)

    def count(self, what: str) -> int:
        """How many things of this kind it saw."""
        with self._more:
            return sum(line["what"] == what for line in self._lines)

    def wait(self, what: str, count: int) -> list[Any]:
        """Wait until it saw so many of a kind; gives all of them."""
        deadline = time.monotonic() + PATIENCE
        with self._more:
            while True:
                found = [line for line in self._lines if line["what"] == what]
                if len(found) >= count:
                    return found
                assert time.monotonic() < deadline, f"{len(found)} of {count} {what}"
                self._more.wait(deadline - time.monotonic())

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@contextlib.contextmanager
def http_server() -> Iterator[Replies]:
    """Run an HTTP server."""
    replies = Replies()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet: else Nagle and a delayed ACK cost 40 ms each

        def setup(self) -> None:
            replies.connections += 1
            super().setup()

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = replies.next(Seen(self.command, self.path, headers, body))
            if reply is None:
                self.close_connection = True
                return
            status, headers, content = reply
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # nobody has to read all of it
                self.wfile.write(data)
                self.wfile.flush()

        do_GET = do_POST = handle_one  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            pass  # clients that hang up are part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    replies.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield replies
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)

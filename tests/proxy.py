"""A TCP proxy between a client and the broker that makes the network fail on command."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import attrs


@attrs.define
class _Rule:
    """What happens to the reply of the n-th request that contains ``match``."""

    match: bytes
    nth: int
    keep: bool
    left: int


class Proxy:
    """Passes everything until told otherwise. Use it as a context manager.

    Args:
        url: The ``redis://`` address of the broker.

    Attributes:
        lost: How many replies were lost or held back so far.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 0))
        self._login = f":{parts.password}@" if parts.password else ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = threading.Event()
        self._open.set()
        self._taking = threading.Event()
        self._taking.set()
        self._seconds = 0.0
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._closed = False
        self.lost = 0

    @property
    def url(self) -> str:
        """The address of the broker through this proxy."""
        return f"redis://{self._login}127.0.0.1:{self._listener.getsockname()[1]}/0"

    def hold(self) -> None:
        """Let nothing through, in no direction; connections stay."""
        self._open.clear()

    def hold_requests(self) -> None:
        """Let no request through any more, only replies; connections stay."""
        self._taking.clear()

    def release(self) -> None:
        """Let everything through again, also what was held."""
        self._open.set()
        self._taking.set()

    def delay(self, seconds: float) -> None:
        """Let each piece of a reply wait this long."""
        self._seconds = seconds

    def cut(self) -> None:
        """End all connections."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def drop_reply(self, match: bytes, nth: int = 1, times: int = 1) -> None:
        """Lose the reply of the n-th request with ``match`` in it: the broker acts, the client is cut off."""
        self._rules.append(_Rule(match, nth, keep=False, left=times))

    def hold_reply(self, match: bytes, nth: int = 1) -> None:
        """Keep the reply of the n-th such request, and all after it, until `release`."""
        self._rules.append(_Rule(match, nth, keep=True, left=1))

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()
        self.cut()
        self.release()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._links.add(_Link(self, client, server))

    def _seen(self, data: bytes) -> _Rule | None:
        with self._lock:
            for rule in self._rules:
                if rule.left and rule.match in data:
                    rule.nth -= 1
                    if rule.nth <= 0:
                        rule.left -= 1
                        self.lost += 1
                        return rule
        return None

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)
        self._open.wait()

    def _gone(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)


class _Link:
    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._rule: _Rule | None = None
        for pump in (self._requests, self._replies):
            threading.Thread(target=self._run, args=(pump,), daemon=True).start()

    def _run(self, pump: object) -> None:
        assert callable(pump)
        with contextlib.suppress(OSError):
            pump()
        self.close()

    def _requests(self) -> None:
        while data := self._client.recv(1 << 20):
            self._proxy._wait(0)
            self._proxy._taking.wait()
            if rule := self._proxy._seen(data):
                self._rule = rule
            self._server.sendall(data)

    def _replies(self) -> None:
        while data := self._server.recv(1 << 20):
            if (rule := self._rule) is not None:
                self._rule = None
                if not rule.keep:
                    return
                self._proxy.hold()
            self._proxy._wait(self._proxy._seconds)
            self._client.sendall(data)

    def close(self) -> None:
        self._proxy._gone(self)
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

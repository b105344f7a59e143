"""A worker's own HTTP endpoint: ``/metrics``, ``/healthz/live`` and ``/healthz/ready``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Answer = tuple[HTTPStatus, str, bytes]


class Endpoint:
    """Serves from a thread until closed.

    Args:
        host, port: Where to listen; port 0 takes a free one.
        collector: The metrics; it is closed with the endpoint.
        ready: Gives whether the worker can take jobs.
        alive: Gives whether the worker's loop turns.
        trouble: Gives why the worker is not ready.

    Raises:
        OSError: The port is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        collector: Any,
        *,
        ready: Callable[[], bool],
        alive: Callable[[], bool],
        trouble: Callable[[], str],
    ) -> None:
        self._collector = collector
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        routes: dict[str, Callable[[], Answer]] = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
            "/healthz/live": lambda: _health(alive()),
            "/healthz/ready": lambda: _health(ready(), trouble()),
        }

        class Handler(_Handler):
            answers = routes

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="cgjobs-http", daemon=True
        )
        self._thread.start()
        structlog.get_logger().info("metrics_served", url=f"http://{host}:{self.port}/metrics")

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._collector.close()


def _health(good: bool, reason: str = "") -> Answer:
    if good:
        return HTTPStatus.OK, "text/plain", b"ok\n"
    return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"not ok {reason}".rstrip().encode() + b"\n"


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, Callable[[], Answer]] = {}
    timeout = 10  # seconds for a client to send its request
    server_version = "cgjobs"
    sys_version = ""

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.partition("?")[0])
        status, kind, body = answer() if answer else (HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Scrapes are not worth a line."""

"""A child process of a worker: runs isolated handlers, one job after the other, and ends with its worker.

``python -P -m cgjobs.child SOCKET OWNER`` is started by `isolation` and by nobody else. The handler runs in
the main thread, where a signal can raise `JobTimeout`; one thread listens to the worker, one tells progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pkgutil
import queue
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import structlog

from cgjobs import lifeline, loading, logs, plugins
from cgjobs.broker.values import Claimed
from cgjobs.child_run import ChildMarks, ChildRun
from cgjobs.client import Client
from cgjobs.codec import Codec, Envelope
from cgjobs.config import Config, LimitConfig
from cgjobs.errors import InvalidPayload, PluginError
from cgjobs.executor import shown_traceback
from cgjobs.isolation import HEADER
from cgjobs.outcomes import Discard, JobTimeout, OutcomeUnknown, RateLimited, Retry, Snooze
from cgjobs.plugins import Registry
from cgjobs.redaction import redact
from cgjobs.resources import Resources
from cgjobs.retry_rules import asked_wait
from cgjobs.running import Run, RunContext
from cgjobs.subtype import Subtype
from cgjobs.verdict import MESSAGE_CHARACTERS, one_line
from cgjobs.wrapping import Wrappers

_PROGRESS = 0.25  # seconds between two reports
_STATUS = Path("/proc/self/status")
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "warn": "warning", "msg": "info"}


class Link:
    """The socket to the worker, and the alarm, which must not break a message in two.

    Args:
        connection: The socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._armed = self._sending = False
        self.rang, self.seconds = False, 0.0

    def receive(self) -> dict[str, Any]:
        """The next message.

        Raises:
            EOFError: The worker has closed the connection, or is gone.
        """
        [size] = HEADER.unpack(self._read(HEADER.size))
        message: dict[str, Any] = orjson.loads(self._read(size))
        return message

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message, whole."""
        data = orjson.dumps(message, default=repr)
        frame = HEADER.pack(len(data)) + data
        in_main = threading.current_thread() is threading.main_thread()
        self._sending = self._sending or in_main
        try:
            with self._lock:
                self._connection.sendall(frame)
        except OSError:  # the worker is gone, or the handler closed the socket: nothing can be said any more
            os._exit(1)
        if in_main:
            self._sending = False
            if self.rang and self._armed:
                self._armed = False
                raise JobTimeout

    @contextlib.contextmanager
    def alarm(self, seconds: float | None) -> Iterator[None]:
        """Raise `JobTimeout` in the main thread after this time."""
        self.rang = False
        if seconds is None:
            yield
            return
        self.seconds = seconds
        signal.signal(signal.SIGALRM, self._ring)
        self._armed = True
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, *_: object) -> None:
        if self._armed:
            self.rang = True
            if not self._sending:
                self._armed = False
                raise JobTimeout


class Child:
    """Runs what the worker sends.

    Args:
        link: The way to the worker.
        registry: The plugins.
        codec: Payloads from the wire, results to it.
        config: Reads the configuration, when a job wants a client.
    """

    def __init__(self, link: Link, registry: Registry, codec: Codec, config: Callable[[], Config]) -> None:
        self._known: queue.SimpleQueue[tuple[str, str, str]] = queue.SimpleQueue()
        self._link, self._registry, self._codec = link, registry, codec
        self._wrappers, self._resources = Wrappers(registry), Resources()
        self._open_client = lambda: Client(config(), registry)
        self._orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._run: Run | None = None
        self._pid, self._home = os.getpid(), os.open(".", os.O_RDONLY | os.O_DIRECTORY)

    def serve(self) -> None:
        """Run jobs until the worker closes the connection; then close what they opened."""
        for work in (self._listen, self._report_now_and_then):
            threading.Thread(target=work, name=f"cgjobs-child{work.__name__}", daemon=True).start()
        while (order := self._orders.get()) is not None:
            end = self._attempt(order)
            if os.getpid() != self._pid:
                os._exit(1)  # a fork of the handler's that came back
            self._link.send(end)
        asyncio.run(self._close())

    async def _close(self) -> None:
        for fault in await self._resources.close():
            sys.stderr.write(f"cgjobs: not closed: {fault!r}\n")

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                message = self._link.receive()
                if "mark" in message:
                    self._known.put(message["mark"])
                    continue
                if "cancel" not in message:
                    self._orders.put(message)
                    continue
                if run := self._run:
                    run.taken_away = True
                self._orders.put(None)
        if self._run is not None:
            os._exit(1)  # nobody would take the result
        self._orders.put(None)

    def _report_now_and_then(self) -> None:
        pause = threading.Event()
        while not pause.wait(_PROGRESS):
            if run := self._run:
                self._report(run)

    def _report(self, run: Run) -> None:
        report, run.report = run.report, None
        if report is not None:
            self._link.send({"progress": (report.done, report.total, report.message)})

    def _attempt(self, order: Mapping[str, Any]) -> dict[str, Any]:
        subtype = self._registry.subtypes[order["name"]]
        envelope = Envelope(
            order["name"], order["payload"], order["correlationId"], payload_version=subtype.version
        )
        checkpoint = order["checkpoint"].encode()
        claimed = Claimed(**order["job"], data=b"", timeout_ms="", backoff="", checkpoint=checkpoint)
        run = self._run = ChildRun(
            claimed, subtype=subtype.name, correlation_id=envelope.correlation_id, send=self._link.send
        )
        seconds = order["timeout"]
        timeout = None if seconds is None else timedelta(seconds=seconds)
        settings = self._registry.settings
        marks = ChildMarks(self._link.send, self._known)
        before, opened = set(threading.enumerate()), self._resources.opened
        payload, spent = None, False
        try:
            payload = self._codec.load(subtype, envelope.payload)
            ctx = RunContext(
                run,
                envelope,
                timeout,
                structlog.get_logger,
                settings,
                self._resources,
                lambda: marks,
                self._open_client,
                self._codec.limits,
                (payload, *settings.values()),
            )
            with self._link.alarm(seconds), _memory(subtype.memory):
                result = self._wrappers.run(subtype, payload, ctx)
            data = self._codec.dump_result(result, f"the result of {subtype.name}")
            end: dict[str, Any] = {"result": orjson.Fragment(data)}
        except BaseException as error:  # sys.exit() in a handler ends its attempt, not the process
            spent = self._link.rang or isinstance(error, MemoryError)
            end = self._told(error, subtype, payload, run)
        self._report(run)
        self._run = None
        # Threads that came with what ctx.use opened belong to that; others are left behind by the handler.
        left = set(threading.enumerate()) - before if self._resources.opened == opened else set()
        end["spent"] = spent or bool(left) or not _streams_are_open()
        try:
            os.fchdir(self._home)
        except OSError:  # the handler closed what is not its own, the socket with it
            os._exit(1)
        return end

    def _told(
        self, error: BaseException, subtype: Subtype[Any, Any], payload: object, run: Run
    ) -> dict[str, Any]:
        """An error as it is told the worker, without secrets."""
        if isinstance(error, JobTimeout) and self._link.rang:
            error = JobTimeout(f"ran longer than {self._link.seconds:g} s")
        if isinstance(error, MemoryError) and subtype.memory is not None:
            error = MemoryError(f"it needed more than its {subtype.memory:,} bytes").with_traceback(
                error.__traceback__
            )
        secrets = (payload, *self._registry.settings.values())
        kind, after = "error" if subtype.rules.allow(error) else "discard", None
        match error:
            case Retry():
                kind, after = "retry", error.after
            case RateLimited():
                kind, after = f"limited {error.scope}", error.after
            case Snooze():
                kind, after = "snooze", error.after
            case OutcomeUnknown():
                kind = "unknown"
            case JobTimeout():
                kind = "timeout"
            case Discard() | InvalidPayload():
                kind = "discard"
        plain = isinstance(error, (Snooze, Discard, JobTimeout))
        wait = asked_wait(
            subtype.backoff, run.claimed.retries_made + 1, error, structlog.get_logger().warning
        )
        trace = "" if plain else shown_traceback(secrets, error)
        return {
            "line": redact(secrets, one_line(error))[:MESSAGE_CHARACTERS],
            "trace": trace.encode("utf-8", "backslashreplace").decode(),
            "kind": kind,
            "after": None if after is None else after.total_seconds(),
            "wait": None if wait is None else wait.total_seconds(),
        }


def main() -> None:
    """Be a child: the arguments are the number of the socket and the worker's process id."""
    number, owner = map(int, sys.argv[1:])
    if sys.platform == "linux" and not lifeline.follow(owner, signal.SIGKILL):
        return
    for stop in (signal.SIGTERM, signal.SIGINT):
        # They are for the worker, which decides what becomes of us. Not SIG_IGN: programs would inherit that.
        signal.signal(stop, lambda *_: None)
    link = Link(socket.socket(fileno=number))
    try:
        hello = link.receive()
    except EOFError:
        return
    sys.path[:] = hello["path"]
    _log_to(link, hello["logLevel"])
    try:
        registry = _registry(hello)
    except Exception as error:
        link.send({"refused": one_line(error)[:MESSAGE_CHARACTERS]})
        return
    link.send({"ready": os.getpid()})
    Child(link, registry, Codec(LimitConfig(**hello["limits"])), partial(_config, hello)).serve()


def _config(hello: Mapping[str, Any]) -> Config:
    return loading.load(None if hello["config"] is None else Path(hello["config"]))


def _registry(hello: Mapping[str, Any]) -> Registry:
    if hello["factory"]:
        registry: Registry = pkgutil.resolve_name(hello["factory"])()
    else:
        config = _config(hello)
        read_settings = loading.settings_reader(config)
        registry = plugins.load(hello["plugins"], block=config.plugins.block, read_settings=read_settings)
    for name, (location, version) in hello["subtypes"].items():
        if (found := registry.subtype(name)).location != location:
            raise PluginError(f"{name!r} is {found.location} here and {location} in the worker")
        if found.version != version:  # its plugin was installed anew while the worker ran
            raise PluginError(
                f"{name!r} has payload version {found.version} here and {version} in the worker"
            )
    return registry


def _log_to(link: Link, level: int) -> None:
    """Have the worker log what is logged here, by its own configuration."""

    def send(logger: object, method: str, fields: Any) -> Any:
        event = str(fields.pop("event", "")).encode("utf-8", "backslashreplace").decode()
        try:
            link.send({"log": (_LEVELS.get(method, "error"), event, fields)})
        except TypeError:  # something in it has no JSON
            shown = {str(name): _with_json(value) for name, value in fields.items()}
            link.send({"log": (_LEVELS.get(method, "error"), event, shown)})
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.processors.format_exc_info, send],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logs.forward_libraries(level)


def _with_json(value: object) -> object:
    """The value, or how Python writes it when it has no JSON: a huge integer, half a surrogate pair."""
    try:
        orjson.dumps(value, default=repr)
    except TypeError:
        return ascii(value)
    return value


@contextlib.contextmanager
def _memory(limit: int | None) -> Iterator[None]:
    """Let the process have at most so much more memory than it has now, in writable mappings of its own.

    RLIMIT_DATA, not RLIMIT_AS: that would count address space that is only reserved and costs nothing, such
    as the allocator's for each thread. Linux alone tells how much there is now; elsewhere there is no limit.
    """
    if limit is None or not _STATUS.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    now = next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith("VmData"))
    wanted = now * 1024 + limit
    resource.setrlimit(
        resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _streams_are_open() -> bool:
    try:
        os.fstat(1)
        os.fstat(2)
    except OSError:
        return False
    return not (sys.stdout.closed or sys.stderr.closed)


if __name__ == "__main__":
    main()

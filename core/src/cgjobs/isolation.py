"""Handlers in child processes, seen from the worker: a pool of them, hard timeouts, and what their ends mean.

A child runs one job at a time and is used again for the next one. It has a session of its own and one socket
to us, on which both sides send JSON with its length in front; `child` is the other end. Nothing is pickled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import attrs
import orjson

from cgjobs.codec import Envelope
from cgjobs.config import LimitConfig
from cgjobs.marks import WorkerMarks
from cgjobs.model import Progress
from cgjobs.outcomes import Discard, JobTimeout, OutcomeUnknown, RateLimited, Retry, Snooze
from cgjobs.plugins import Registry
from cgjobs.running import Run
from cgjobs.subtype import Subtype

HEADER = struct.Struct("!I")
"""Before each message: its length in bytes."""
GRACE = 1.0
"""Seconds between the `JobTimeout` inside a handler and the end of its process."""

_START_PATIENCE = 60.0  # for importing the plugins
_CANCEL_PATIENCE = 0.5  # for a handler that was told to stop
_END_PATIENCE = 2.0  # for the exit code of one that closed its socket
_CLOSE_PATIENCE = 2.0  # for closing what an idle child has opened
_LONGEST_MESSAGE = 64 * 2**20
_FACTS = (
    "queue",
    "id",
    "token",
    "retries_made",
    "retries_left",
    "recoveries",
    "created_at",
    "priority",
    "dependencies",
)


@attrs.frozen
class ChildSetup:
    """How a child gets its plugins: as ``cgjobs worker`` does, unless a function is named.

    Args:
        factory: ``module:function`` that gives the `Registry`, for workers whose registry is built in code.
        config_file: The configuration file, as ``--config`` names it.
        plugins: Names of the plugins to load; None for all.
    """

    factory: str = ""
    config_file: Path | None = None
    plugins: Sequence[str] | None = None


class Crashed(Exception):
    """The process of a job ended before the job did."""


class NotStarted(Exception):
    """No process could be had for a job: a fault of the worker's, which makes no job poison."""


class Reported(Exception):
    """What a handler in a child raised.

    Args:
        cause: `Retry`, `Snooze`, `RateLimited`, `Discard` or `JobTimeout` as the handler ended, `Discard`
            also for what the subtype's rules say is final, or any other exception.
        line: Class and message of the error, without secrets.
        trace: The traceback, without secrets; ``""`` for an end that needs none.
        wait: What the subtype's backoff function asked for, or None.
    """

    def __init__(self, cause: BaseException, line: str, trace: str, wait: timedelta | None) -> None:
        self.cause, self.line, self.trace, self.wait = cause, line, trace, wait
        super().__init__(line)


class Children:
    """The child processes of a worker, started when first needed.

    There are at most as many as isolated jobs run at once, which the queues' concurrency bounds.

    Args:
        setup: How a child gets its plugins.
        registry: The worker's plugins; a child must have the same isolated subtypes.
        limits: What a payload and a result may be.
        log: Gives the logger that takes what children log.
    """

    def __init__(
        self, setup: ChildSetup, registry: Registry, limits: LimitConfig, log: Callable[[], Any]
    ) -> None:
        self._setup, self._registry, self._limits, self._log = setup, registry, limits, log
        self._idle: list[_Child] = []
        self._open: set[_Child] = set()
        self._ending: dict[_Child, asyncio.Task[None]] = {}

    async def run(
        self,
        run: Run,
        subtype: Subtype[Any, Any],
        envelope: Envelope,
        timeout: timedelta | None,
        marks: WorkerMarks,
    ) -> Any:
        """Run one attempt in a child and give its result in wire form.

        Raises:
            JobTimeout: It did not stop when told; its process was killed.
            Crashed: Its process ended before it did.
            NotStarted: There is no process for it.
            Reported: The handler raised.
        """
        child = await self._take()
        try:
            end = await self._attempt(child, run, subtype, envelope, timeout, marks)
        except asyncio.CancelledError:
            self._dismiss(child, cancel=True)
            raise
        except BaseException:
            self._dismiss(child)
            raise
        if end["spent"]:
            self._dismiss(child)
        else:
            self._idle.append(child)
        if "line" in end:
            wait = None if end["wait"] is None else timedelta(seconds=end["wait"])
            raise Reported(_cause(end), end["line"], end["trace"], wait)
        return end["result"]

    async def _attempt(
        self,
        child: _Child,
        run: Run,
        subtype: Subtype[Any, Any],
        envelope: Envelope,
        timeout: timedelta | None,
        marks: WorkerMarks,
    ) -> Mapping[str, Any]:
        seconds = None if timeout is None else timeout.total_seconds()
        child.send(
            {
                "name": subtype.name,
                "payload": envelope.payload,
                "correlationId": envelope.correlation_id,
                "job": {name: getattr(run.claimed, name) for name in _FACTS},
                "timeout": seconds,
                "checkpoint": run.claimed.checkpoint.decode("utf-8", "replace"),
            }
        )
        overran = None
        if seconds is not None:
            overran = asyncio.get_running_loop().call_later(seconds + GRACE, child.overrun)
        try:
            while True:
                message = await child.receive()
                if "log" in message:
                    self._relay(*message["log"])
                elif "progress" in message:
                    run.report = Progress(*message["progress"])
                elif "kept" in message:
                    run.keep(message["kept"])
                elif "checkpoint" in message:
                    run.save(message["checkpoint"].encode())
                elif "mark" in message:
                    key, nonce, move = message["mark"]
                    child.send({"mark": (nonce, move, await marks.send_mark(key, nonce, move))})
                else:
                    return message
        except (EOFError, OSError, ValueError):
            code = await child.end(_END_PATIENCE)
            if child.overran:
                raise JobTimeout(f"ran longer than {seconds:g} s; its process had to be killed") from None
            raise Crashed(_how_it_ended(code, killed_by_us=child.killed)) from None
        finally:
            if overran is not None:
                overran.cancel()

    def _relay(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        getattr(self._log(), level)(event, **fields)

    async def _take(self) -> _Child:
        while self._idle:
            child = self._idle.pop()  # the one used last: its memory is warm
            if child.alive:
                return child
            self._dismiss(child)
        try:
            child = await _Child.start()
        except OSError as error:
            raise NotStarted(f"its process could not be started: {error}") from error
        self._open.add(child)
        try:
            child.send(self._hello())
            answer = await asyncio.wait_for(self._answer(child), _START_PATIENCE)
        except (EOFError, OSError, ValueError):
            self._dismiss(child)
            code = await child.end()
            raise NotStarted(f"its process ended with {code} while it started") from None
        except BaseException as error:
            self._dismiss(child)
            if isinstance(error, TimeoutError):
                raise NotStarted("its process did not start in time") from None
            raise
        if "refused" in answer:
            self._dismiss(child)
            raise NotStarted(f"its process could not load its plugin: {answer['refused']}")
        return child

    async def _answer(self, child: _Child) -> Mapping[str, Any]:
        while "log" in (message := await child.receive()):
            self._relay(*message["log"])
        return message

    def _hello(self) -> dict[str, Any]:
        subtypes = self._registry.subtypes.values()
        return {
            "path": sys.path,
            "factory": self._setup.factory,
            "config": None if self._setup.config_file is None else str(self._setup.config_file.absolute()),
            "plugins": None if self._setup.plugins is None else list(self._setup.plugins),
            "limits": attrs.asdict(self._limits),
            "logLevel": logging.getLogger().level,
            "subtypes": {
                item.name: (item.location, item.version) for item in subtypes if item.isolation == "process"
            },
        }

    def _dismiss(self, child: _Child, *, cancel: bool = False) -> None:
        if child not in self._ending:
            self._ending[child] = asyncio.create_task(self._end(child, cancel=cancel))

    async def _end(self, child: _Child, *, cancel: bool) -> None:
        if cancel:
            child.send({"cancel": True})
        else:
            child.close()
        await child.end(_CANCEL_PATIENCE if cancel else _CLOSE_PATIENCE)
        await child.closed()
        self._open.discard(child)
        self._ending.pop(child, None)

    async def close(self) -> None:
        """End all children, and wait for it: the idle ones close what they opened, the others are killed."""
        for child in self._open:
            self._dismiss(child)
        await asyncio.gather(*self._ending.values())


class _Child:
    """One child process and the socket to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self._ended = asyncio.create_task(self._wait())
        self.overran = self.killed = False

    @classmethod
    async def start(cls) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                reader, writer = await asyncio.open_unix_connection(sock=ours)
            except BaseException:
                ours.close()
                raise
            try:
                words = ["-P", "-m", "cgjobs.child", str(theirs.fileno()), str(os.getpid())]
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *words,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,  # Ctrl-C is for the worker, which lets its jobs end
                )
            except BaseException:
                writer.close()
                raise
        return cls(process, reader, writer)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._reader.at_eof()

    def send(self, message: Mapping[str, Any]) -> None:
        data = orjson.dumps(message)
        self._writer.write(HEADER.pack(len(data)) + data)

    async def receive(self) -> dict[str, Any]:
        """The next message; EOFError once the process is gone, ValueError for what is no message."""
        [size] = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        if size > _LONGEST_MESSAGE:
            raise ValueError(f"a message of {size} bytes")
        message: dict[str, Any] = orjson.loads(await self._reader.readexactly(size))
        return message

    def overrun(self) -> None:
        """Kill it, since its job did not stop when told."""
        self.overran = True
        self.kill()

    def kill(self) -> None:
        """Kill it and what it started, at once."""
        if self._process.returncode is None:
            self.killed = True
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Say that there are no more jobs: an idle child then ends by itself, a busy one at once."""
        self._writer.close()

    async def closed(self) -> None:
        """Let go of the socket, of a child that has ended."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def end(self, patience: float = 0.1) -> int:
        """Wait for its end, kill it if that takes longer, and give its exit code."""
        done, _ = await asyncio.wait((self._ended,), timeout=patience)
        if not done:
            self.kill()
        return await asyncio.shield(self._ended)

    async def _wait(self) -> int:
        code = await self._process.wait()
        self._kill_group()  # what a job left behind has no worker any more
        # A process that left the group may hold the other end of the socket, which then never ends by itself.
        asyncio.get_running_loop().call_later(0.2, self._writer.transport.abort)
        return code


def _cause(end: Mapping[str, Any]) -> BaseException:
    after = None if end["after"] is None else timedelta(seconds=end["after"])
    match end["kind"]:
        case "retry":
            return Retry(end["line"], after=after)
        case "snooze":
            return Snooze(after or timedelta(0), end["line"].removeprefix("Snooze: "))
        case "limited queue" | "limited key":
            scope: Literal["queue", "key"] = "key" if end["kind"].endswith("key") else "queue"
            return RateLimited(after or timedelta(0), end["line"].removeprefix("RateLimited: "), scope=scope)
        case "discard":
            return Discard(end["line"])
        case "unknown":
            return OutcomeUnknown(end["line"].removeprefix("OutcomeUnknown: "))
        case "timeout":
            return JobTimeout(end["line"].removeprefix("JobTimeout: "))
    return Exception(end["line"])


def _how_it_ended(code: int, *, killed_by_us: bool) -> str:
    if killed_by_us:
        return "its process closed the connection to its worker and was killed"
    if code >= 0:
        return f"its process ended with exit code {code} before the job did"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "out of memory?" if -code == signal.SIGKILL else name
    return f"its process was killed by signal {-code} ({hint})"

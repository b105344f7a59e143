"""``cgjobs worker --processes N``: worker processes that are started, watched and stopped together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from cgjobs import lifeline
from cgjobs.cli.exits import FAILED, NOT_FOUND, OK, REFUSED, UNREACHABLE, USAGE
from cgjobs.errors import Fault, InvalidOption

_STOPS = (signal.SIGTERM, signal.SIGINT)
_FINAL = (USAGE, UNREACHABLE, NOT_FOUND, REFUSED)
"""Exit codes of a worker that was refused something: starting it again would not help."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds before one that died is started again
_LIVED = 60.0  # seconds after which the next pause is a short one again


def count(text: str) -> int:
    """How many processes ``--processes`` asks for: a number from 1, or ``auto`` for one for each core.

    Raises:
        InvalidOption: It is neither.
    """
    if text == "auto":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return cores or 1
    if text.isascii() and text.isdigit() and 0 < int(text) <= 1000:
        return int(text)
    fault = Fault("--processes", f"{text!r} is no number from 1 to 1000; write one, or auto for one per core")
    raise InvalidOption("the worker's options", [fault])


class Processes:
    """Worker processes, each a program of its own. One that dies is started again.

    They have sessions of their own, so that Ctrl-C reaches us alone, who pass it on. They are told to stop
    when we are killed.

    Args:
        commands: What follows ``cgjobs`` for each of them.
        again: Whether one that ended is started again; a burst is not.
    """

    def __init__(self, commands: Sequence[Sequence[str]], *, again: bool = True) -> None:
        self._commands, self._again = commands, again
        self._log = structlog.get_logger()
        self._stopping = asyncio.Event()
        self._running: set[asyncio.subprocess.Process] = set()

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until all have ended for good; a second signal is passed on, too.

        Returns:
            The worst of their exit codes.
        """
        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, self.stop)
        try:
            codes = await asyncio.gather(*(self._keep(*item) for item in enumerate(self._commands, 1)))
        finally:
            for number in _STOPS:
                loop.remove_signal_handler(number)
        return max(codes)

    def stop(self) -> None:
        """Tell all to stop; told again they do it at once."""
        self._stopping.set()
        for process in self._running:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    async def _keep(self, number: int, words: Sequence[str]) -> int:
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = await self._one(number, words)
            if code in _FINAL:
                self.stop()
            if self._stopping.is_set() or not self._again:
                return code
            pause = _FIRST_PAUSE if time.monotonic() - began > _LIVED else pause
            self._log.error("process_ended", process=number, code=code, detail=f"again in {pause:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return code
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _one(self, number: int, words: Sequence[str]) -> int:
        # With our own path: -P leaves out the working directory, which -m would add.
        program = [sys.executable, "-P", "-m", "cgjobs", *words]
        wrapper = [sys.executable, "-I", "-S", str(Path(lifeline.__file__)), str(os.getpid())]
        process = await asyncio.create_subprocess_exec(
            *wrapper, *program, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        self._running.add(process)
        if self._stopping.is_set():  # meanwhile
            process.terminate()
        self._log.info("process_started", process=number, pid=process.pid)
        try:
            code = await process.wait()
        finally:
            self._running.discard(process)
        if code == -signal.SIGTERM and self._stopping.is_set():
            return OK  # told so before it had a worker
        return code if code >= 0 else max(FAILED, 128 - code)


def run(commands: Sequence[Sequence[str]], *, again: bool) -> int:
    """Run worker processes until they are stopped; see `Processes`."""

    async def serve() -> int:
        return await Processes(commands, again=again).run()

    return asyncio.run(serve())

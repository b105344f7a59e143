"""``def`` handlers on threads, with a timeout that reaches into the thread."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cgjobs.outcomes import JobTimeout

_SPARE = 64  # threads beyond the concurrency, for handlers that overran their timeout and still run
_STUCK_AFTER = 5.0  # seconds a handler may take to end after its timeout before its slot is given away


class JobThreads:
    """Threads for handlers.

    A timeout raises `JobTimeout` inside the handler at its next Python instruction. A handler that sits in C
    code, or swallows the exception, is given up: its attempt counts as timed out, its thread goes on.

    Args:
        concurrency: How many handlers may run at once, those that were given up not counted.
    """

    def __init__(self, concurrency: int) -> None:
        self._places = asyncio.Semaphore(concurrency)
        self._pool = ThreadPoolExecutor(concurrency + _SPARE, thread_name_prefix="cgjobs-job")
        self.stuck = 0

    async def run(self, function: Callable[[], Any], timeout: float | None) -> Any:
        """Run ``function`` on a thread and give its result, or raise what it raised.

        Args:
            function: Called without arguments.
            timeout: Seconds, or None.

        Raises:
            JobTimeout: It ran longer than ``timeout``.
        """
        async with self._places:
            return await self._run(_Interruptible(function), timeout)

    async def _run(self, call: _Interruptible, timeout: float | None) -> Any:
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        if timeout is None:
            return await future
        done, _ = await asyncio.wait((future,), timeout=timeout)
        if not done:
            call.interrupt()
            done, _ = await asyncio.wait((future,), timeout=_STUCK_AFTER)
        if not done:
            self.stuck += 1
            future.add_done_callback(self._freed)
            raise JobTimeout(f"ran longer than {timeout:g} s, and still does: it does not stop when told")
        try:
            return future.result()
        except JobTimeout:
            if not call.interrupted:
                raise
            raise JobTimeout(f"ran longer than {timeout:g} s") from None

    def _freed(self, future: asyncio.Future[Any]) -> None:
        self.stuck -= 1
        future.exception()

    def close(self) -> None:
        """Take no more work; does not wait for threads that run."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Interruptible:
    """A call into which another thread can raise `JobTimeout`, but only while it runs."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._thread: int | None = None
        self.interrupted = False

    def __call__(self) -> Any:
        with self._lock:
            if self.interrupted:  # before there was a thread for it: its attempt is over and must not begin
                raise JobTimeout
            self._thread = threading.get_ident()
        try:
            return self._function()
        except StopIteration as error:  # no future can hold one: the job would never end
            raise RuntimeError("the handler raised StopIteration") from error
        finally:
            # Once we hold the lock nobody raises into this thread any more; an exception that was set just
            # before is delivered at one of the next instructions, still inside this call.
            with self._lock:
                self._thread = None

    def interrupt(self) -> None:
        """Raise `JobTimeout` inside the call when it has begun and not ended; else keep it from beginning."""
        with self._lock:
            self.interrupted = True
            if self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread), ctypes.py_object(JobTimeout)
                )

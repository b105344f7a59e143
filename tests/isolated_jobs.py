"""Isolated handlers of the tests, in a module that child processes can import."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

from cgjobs import Context, Discard, Processor, RateLimited, Retry, Snooze, hookimpl, subtype
from cgjobs.outcomes import JobCancelled
from cgjobs.plugins import Registry
from tests.jobs import AT_ONCE, registry

MEMORY = 64 * 2**20


@attrs.frozen
class Do:
    """What to do, to what."""

    what: str
    with_: str = ""


@attrs.frozen
class Slow:
    """What to do for too long."""

    what: str
    file: str = ""


@attrs.frozen
class Secret:
    """A payload with a secret."""

    password: str = attrs.field(repr=False)


class Opened:
    """Something to open once per process."""

    def __init__(self) -> None:
        self.users = 0

    def close(self) -> None:
        """Leave a mark."""
        if mark := MARK[0]:
            Path(mark).write_text(f"closed after {self.users}")


MARK = [""]


@subtype("work.do", isolation="process", memory=MEMORY)
def do(payload: Do, ctx: Context) -> Any:
    """Do one thing."""
    return getattr(Things, payload.what)(payload.with_, ctx)


class Things:
    """What `do` can do."""

    @staticmethod
    def echo(text: str, ctx: Context) -> str:
        return text

    @staticmethod
    def gather(_: str, ctx: Context) -> list[Any]:
        return [end.result for end in ctx.dependencies().values()]

    @staticmethod
    def pid(_: str, ctx: Context) -> list[int]:
        return [os.getpid(), os.getsid(0), os.getppid()]

    @staticmethod
    def job(_: str, ctx: Context) -> list[Any]:
        ctx.log.info("looked", number=2**70, path=Path("/x"))
        ctx.progress(1, 2, "half")
        return [ctx.job.id, ctx.job.attempt, ctx.job.attempts, ctx.job.correlation_id, ctx.job.queue]

    @staticmethod
    def exit(code: str, ctx: Context) -> None:
        os._exit(int(code))

    @staticmethod
    def polite_exit(code: str, ctx: Context) -> None:
        sys.exit(int(code))

    @staticmethod
    def signal(number: str, ctx: Context) -> None:
        ctx.log.info("last words")
        os.kill(os.getpid(), int(number))

    @staticmethod
    def signal_once(number: str, ctx: Context) -> int:
        if not ctx.job.recoveries:
            os.kill(os.getpid(), int(number))
        return ctx.job.recoveries

    @staticmethod
    def eat(_: str, ctx: Context) -> None:
        eaten = []
        while True:
            eaten.append(bytearray(2**20))

    @staticmethod
    def nibble(_: str, ctx: Context) -> int:
        return len(bytearray(MEMORY // 2))

    @staticmethod
    def retry(_: str, ctx: Context) -> None:
        raise Retry("busy", after=timedelta(hours=1))

    @staticmethod
    def snooze(_: str, ctx: Context) -> None:
        raise Snooze(timedelta(hours=2), "quiet hours")

    @staticmethod
    def limited(scope: str, ctx: Context) -> None:
        raise RateLimited(timedelta(hours=1), "429 from them", scope=scope)  # type: ignore[arg-type]

    @staticmethod
    def discard(_: str, ctx: Context) -> None:
        raise Discard("useless")

    @staticmethod
    def fail(text: str, ctx: Context) -> None:
        raise ValueError(text)

    @staticmethod
    def unwritable(_: str, ctx: Context) -> object:
        return object()

    @staticmethod
    def use(mark: str, ctx: Context) -> int:
        opened = ctx.use(Opened)
        opened.users += 1
        MARK[0] = mark
        return opened.users

    @staticmethod
    def leak(directory: str, ctx: Context) -> int:
        os.chdir(directory)
        os.environ["CGJOBS_TEST_LEAK"] = "leaked"
        os.umask(0o077)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return os.getpid()

    @staticmethod
    def close_streams(_: str, ctx: Context) -> int:
        sys.stdout.close()
        os.close(2)
        return os.getpid()

    @staticmethod
    def close_everything(_: str, ctx: Context) -> None:
        os.closerange(3, 1000)

    @staticmethod
    def leave_thread(_: str, ctx: Context) -> int:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return os.getpid()

    @staticmethod
    def leave_process(_: str, ctx: Context) -> int:
        return subprocess.Popen(["sleep", "60"]).pid

    @staticmethod
    def where(_: str, ctx: Context) -> list[Any]:
        return [os.getpid(), os.getcwd()]


@subtype("work.slow", timeout=timedelta(seconds=0.4), isolation="process")
def slow(payload: Slow, ctx: Context) -> None:
    """Take too long in one of several ways."""
    match payload.what:
        case "sleep":
            time.sleep(60)
        case "swallow":
            while True:
                with contextlib.suppress(BaseException):
                    time.sleep(60)
        case "regex":  # one call in C; looks for signals now and then
            re.match(r"(a+)+$", "a" * 40 + "b")
        case "sum":  # one call in C that holds the GIL and looks for nothing
            sum(range(10**14))
        case "log":
            while True:
                ctx.log.debug("busy", text="x" * 1000)


@attrs.frozen
class Wait:
    """Run until cancelled, telling a file how it went."""

    file: str
    how: str = ""


@subtype("work.wait", isolation="process")
def wait(payload: Wait, ctx: Context) -> None:
    """Report progress for ever."""
    file = Path(payload.file)
    file.write_text(str(os.getpid()))
    try:
        while True:
            if payload.how != "deaf":
                ctx.progress(1)
            time.sleep(0.01)
    except JobCancelled:
        file.write_text("cancelled")
        raise


@subtype("work.secret", isolation="process")
def secret(payload: Secret, ctx: Context) -> None:
    """Show a secret."""
    raise ValueError(f"cannot log in with {payload.password}")


PROCESSORS = (Processor("work", concurrency=2, attempts=5, backoff=AT_ONCE),)


@hookimpl
def cgjobs_subtypes() -> list[Any]:
    """The plugin's subtypes, when this module is one."""
    return [do, slow, wait, secret]


@hookimpl
def cgjobs_processors() -> list[Processor]:
    """The plugin's job type, when this module is one."""
    return list(PROCESSORS)


def provided() -> Registry:
    """What a child builds when a test's worker has a registry built in code."""
    return registry(do, slow, wait, secret, processors=PROCESSORS)


def without() -> Registry:
    """A registry without any of them."""
    return registry()

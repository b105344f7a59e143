"""What the tests of the command line share: running it in this process, and a plugin like a stranger's."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgjobs import cli, loading, logs, plugins
from cgjobs.worker import Worker
from tests.jobs import PATIENCE

SHOP = '''
"""A shop, as a stranger would write its plugin."""

from datetime import timedelta

import attrs

from cgjobs import Backoff, Context, Discard, Processor, hookimpl, subtype


@attrs.frozen
class Address:
    """Where to.

    Args:
        street: And number.
        city: Its name.
    """

    street: str
    city: str = "Berlin"


@attrs.frozen
class Order:
    """What somebody wants. Nothing is sent before it is paid.

    Args:
        customer: Who orders.
        amount: In cents; from 1.
        token: Of the bank; never shown.
        tags: Words to find it by.
        within: Deliver in this time.
        gift: Whether to wrap it.
        timeout: Not that of the job.
        address: Where to; None asks.
    """

    customer: str
    amount: int = attrs.field(validator=attrs.validators.ge(1))
    token: str = attrs.field(default="", repr=False)
    tags: tuple[str, ...] = ()
    within: timedelta = timedelta(days=3)
    gift: bool = False
    timeout: str = ""
    address: Address | None = None


@subtype("shop.order")
def order(payload: Order, ctx: Context) -> dict[str, int]:
    """Take one order."""
    if payload.customer == "nobody":
        raise Discard("nobody has no account")
    if payload.gift:
        ctx.log.info("wrapping", amount=payload.amount, paper="red")
    ctx.progress(1, 2, "half")
    return {"charged": payload.amount}


@hookimpl
def cgjobs_processors():
    return [Processor("shop", attempts=2, backoff=Backoff.fixed(timedelta(0), jitter=0))]


@hookimpl
def cgjobs_subtypes():
    return [order]
'''


def install(directory: Path, name: str, source: str) -> None:
    """Put a distribution with one plugin into a directory, as pip would."""
    info = directory / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cgjobs]\n{name} = cgjobs_{name}\n")
    (directory / f"cgjobs_{name}.py").write_text(source)


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@attrs.frozen
class Cli:
    """The command line, run in this process."""

    directory: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *words: str, stdin: str | None = None) -> Ended:
        """Run one command; without ``stdin`` there is nothing to read."""
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode())))
        self.capsys.readouterr()
        code = cli.main(words)
        out, err = self.capsys.readouterr()
        return Ended(code, out, err)


def command_line(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, url: str | None
) -> Cli:
    """A `Cli` at home in a directory of its own, with the plugin ``shop``."""
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(directory / name))
    monkeypatch.delenv("REDIS_URL", raising=False)
    if url is not None:
        monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.chdir(directory)
    install(directory / "site", "shop", SHOP)
    monkeypatch.syspath_prepend(directory / "site")
    monkeypatch.setenv("PYTHONPATH", str(directory / "site"))
    monkeypatch.delitem(sys.modules, "cgjobs_shop", raising=False)
    return Cli(directory, capsys, monkeypatch)


@contextlib.contextmanager
def a_worker() -> Iterator[None]:
    """A worker of the configured broker, on a thread."""
    config = loading.load()
    logs.configure("json", stream=io.StringIO())  # not to the standard output of the commands beside it
    worker = Worker(config, plugins.load(["shop"]))
    started: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        task = asyncio.create_task(worker.run())
        await asyncio.sleep(0)
        started.append(asyncio.get_running_loop())
        await task

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    until(lambda: bool(started))
    try:
        yield
    finally:
        started[0].call_soon_threadsafe(worker.stop)
        thread.join(PATIENCE)


def until(condition: Callable[[], object]) -> None:
    """Look again and again until ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not so within {PATIENCE:g} s"
        time.sleep(0.01)

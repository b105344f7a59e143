"""A plugin of the tests with rq. They install a copy of it, for themselves and for a stock rq worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

from cgjobs import Context, Discard, Processor, Retry, Snooze, Subtype, hookimpl, subtype


@attrs.frozen
class Settings:
    greeting: str = "hello"


@attrs.frozen
class Echo:
    text: str


@attrs.frozen
class EchoLater:
    text: str


@attrs.frozen
class Hold:
    """Runs until ``path`` exists, or the test must have failed."""

    path: Path


@attrs.frozen
class Flaky:
    """Fails until ``path`` exists."""

    path: Path


@attrs.frozen
class End:
    """Raises what ``how`` says: snooze, retry, discard or hang."""

    how: str


@attrs.frozen
class Open:
    path: Path


class Ledger:
    """Writes down when it is opened and closed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Ledger:
        self.path.write_text("opened")
        return self

    def __exit__(self, *error: object) -> None:
        self.path.write_text(f"{self.path.read_text()}, closed")


@subtype("probe.echo", timeout=timedelta(seconds=30))
def echo(payload: Echo, ctx: Context) -> dict[str, Any]:
    """Tell what it was given."""
    ctx.progress(1, 2, "half")
    job = ctx.job
    return {
        "text": payload.text,
        "greeting": ctx.settings(Settings).greeting,
        "id": job.id,
        "queue": job.queue,
        "attempts": [job.attempt, job.attempts],
        "correlationId": job.correlation_id,
    }


@subtype("probe.later")
async def later(payload: EchoLater, ctx: Context) -> dict[str, str]:
    """Tell what it was given, asynchronously."""
    await asyncio.sleep(0)
    return {"text": payload.text}


@subtype("probe.hold")
def hold(payload: Hold, ctx: Context) -> None:
    """Run until told to end."""
    ctx.progress(3, 4, "holding")
    deadline = time.monotonic() + 20
    while not payload.path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@subtype("probe.flaky")
def flaky(payload: Flaky, ctx: Context) -> str:
    """Fail until told not to."""
    if not payload.path.exists():
        raise ValueError(f"{payload.path.name} is not there yet")
    return "mended"


@subtype("probe.end")
def end(payload: End, ctx: Context) -> None:
    """End as told."""
    match payload.how:
        case "snooze":
            raise Snooze(timedelta(minutes=1))
        case "retry":
            raise Retry("not now", after=timedelta(minutes=2))
        case "discard":
            raise Discard("never")
        case "hang":
            time.sleep(60)


@subtype("probe.open")
def open_ledger(payload: Open, ctx: Context) -> str:
    """Use something that wants to be closed."""
    return ctx.use(Ledger, payload.path).path.read_text()


@hookimpl
def cgjobs_processors() -> list[Processor]:
    return [Processor("probe", concurrency=2, attempts=2)]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Any, Any]]:
    return [echo, later, hold, flaky, end, open_ledger]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    return Settings


@hookimpl(wrapper=True)
def cgjobs_run(payload: Any) -> Generator[None, Any, Any]:
    result = yield
    if isinstance(payload, EchoLater):
        return {**result, "wrapped": True}
    return result

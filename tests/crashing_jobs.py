"""Handlers whose worker is killed or stopped, in a module that processes of their own can import.

The handlers append to the file that their payload names.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import attrs

from cgjobs import Context, Processor, subtype
from cgjobs.isolation import ChildSetup
from cgjobs.plugins import Registry
from cgjobs.worker import Worker
from tests.jobs import AT_ONCE, config, registry

LEASE, REAP, GRACE = timedelta(seconds=1), timedelta(seconds=0.2), timedelta(seconds=0.3)
CAP = 3  # of the queue capped: so many run over all workers
WRITTEN = 1.5  # seconds after which a checkpoint is certainly written


@attrs.frozen
class Batch:
    """Which file to append to, and where to end the worker."""

    file: str
    stop_at: int = -1


@attrs.frozen
class Charge:
    """The same, and what to do when nobody knows."""

    file: str
    unknown: str
    kill: str = ""


@attrs.frozen
class Sms:
    """Which file to append to, and what happens then."""

    file: str
    then: str = ""


def note(file: str, text: object) -> None:
    """Append to the ledger, durably enough for a SIGKILL."""
    with Path(file).open("a") as ledger:
        ledger.write(f"{text}\n")


def _batch(payload: Batch, ctx: Context) -> int:
    start = ctx.resume(0)
    note(payload.file, f"from {start}")
    for at in range(start, 6):
        if at == payload.stop_at and ctx.job.recoveries == 0 and start == 0:
            note(payload.file, f"stopped at {at}")
            while True:
                time.sleep(0.05)
                ctx.progress(at)
        ctx.checkpoint(at + 1)
    return 6


@subtype("work.batch")
def batch(payload: Batch, ctx: Context) -> int:
    """Go on from the checkpoint."""
    return _batch(payload, ctx)


@attrs.frozen
class IsolatedBatch(Batch):
    """The same for an isolated handler."""


@subtype("work.isolated-batch", isolation="process")
def isolated_batch(payload: IsolatedBatch, ctx: Context) -> int:
    """Go on from the checkpoint; the process kills itself."""
    start = ctx.resume(0)
    note(payload.file, f"from {start}")
    for at in range(start, 6):
        if at == payload.stop_at and start == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        ctx.checkpoint(at + 1)
    return 6


@subtype("work.charge")
def charge(payload: Charge, ctx: Context) -> str:
    """Charge once."""
    with ctx.once("charge", unknown=payload.unknown) as effect:  # type: ignore[arg-type]
        if effect:
            note(payload.file, "charged")
            if payload.kill == "inside" and ctx.job.recoveries == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    if payload.kill == "after" and ctx.job.recoveries == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"done={effect.done} unknown={effect.unknown}"


@subtype("work.sms", at_most_once=True)
async def sms(payload: Sms, ctx: Context) -> None:
    """Send once, whatever happens."""
    note(payload.file, "sent")
    if payload.then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload.then == "hang":
        await asyncio.sleep(60)


@attrs.frozen
class Hold:
    """Which file to append to, and how long to run, in seconds."""

    file: str
    seconds: float


@subtype("capped.hold")
async def hold(payload: Hold, ctx: Context) -> None:
    """Say when it starts and when it ends."""
    note(payload.file, f"start {ctx.job.id} {time.monotonic()} {os.getpid()}")
    await asyncio.sleep(payload.seconds)
    note(payload.file, f"end {ctx.job.id} {time.monotonic()} {os.getpid()}")


def provided() -> Registry:
    """The plugins of workers and children."""
    processors = [
        Processor("work", concurrency=2, backoff=AT_ONCE),
        Processor("capped", concurrency=4, max_running=CAP),
    ]
    return registry(batch, isolated_batch, charge, sms, hold, processors=processors)


def main() -> None:
    """Be a worker until SIGTERM."""
    worker = Worker(
        config(sys.argv[1], lease=LEASE, reap_interval=REAP, grace=GRACE),
        provided(),
        children=ChildSetup("tests.crashing_jobs:provided"),
    )

    async def serve() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()

    asyncio.run(serve())

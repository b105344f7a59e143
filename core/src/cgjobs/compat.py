"""Our jobs under a stock ``rq worker``: what a job in RQ's layout calls. The only module that imports rq."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import attrs
import orjson
import rq
import structlog
from rq.results import Result

from cgjobs import loading, plugins
from cgjobs.broker.replies import text
from cgjobs.broker.values import Claimed
from cgjobs.client import Client
from cgjobs.codec import PERFORM, Codec
from cgjobs.config import Config
from cgjobs.model import Backoff
from cgjobs.once import Move
from cgjobs.plugins import Registry
from cgjobs.preparation import queue_config
from cgjobs.redaction import redact
from cgjobs.resources import Resources
from cgjobs.retry_rules import asked_wait
from cgjobs.running import Run, RunContext
from cgjobs.subtype import Subtype
from cgjobs.upcasting import upcast
from cgjobs.verdict import judge
from cgjobs.wrapping import Wrappers

_PROGRESS = 0.5  # seconds between two reports
_RQ_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def perform(envelope: Mapping[str, Any]) -> Any:
    """Run one job inside RQ's own worker: ``rq worker --serializer json notification``.

    The handler's end means what it means under our worker, said in RQ's terms:

    - it returns: completed, with the result in wire form;
    - `Snooze`: to RQ's scheduled registry, no attempt used up;
    - `Retry` and any other error: to the scheduled registry, after what it asks for or the queue's backoff,
      in whole seconds; without attempts left it is raised, and the job is in RQ's failed registry;
    - `Discard` and a payload that is not as its class says: failed, whatever attempts were left.

    What is scheduled starts when ``rq worker --with-scheduler`` or any worker of ours runs. There are also:
    timeouts (in whole seconds), progress, checkpoints, ``once``, results, how long ended jobs are kept,
    settings and ``cgjobs_run`` wrappers. What ``ctx.use`` opens is closed at the end of each job: RQ runs
    each in a process of its own.

    Not there: leases and recovery (RQ has its own), ``at_most_once``, kept log lines, paused queues, levels
        other than ``normal`` (unless RQ is
    told to serve ``<queue>:high`` as well), a backoff of the job's own, observers, our counters, and masked
    secrets in the traceback of the last attempt, which RQ writes.

    Args:
        envelope: What `Codec.pack` wrote.

    Returns:
        The result in wire form, or an `rq.Retry`.

    Raises:
        RuntimeError: Called outside of RQ's worker.
        Unreadable: It is no envelope of ours.
        ProcessorNotFound, SubtypeNotFound: No plugin of this process has its type. Nothing was imported.
        InvalidPayload: The payload is not as its class says.
        Exception: What the handler raised in its last attempt.
    """
    job = rq.get_current_job()
    if job is None:
        raise RuntimeError("cgjobs.perform is called by `rq worker` alone; enqueue jobs with cgjobs.Client")
    host, resources = _host(), Resources()
    try:
        read = host.codec.unpack(json.dumps([PERFORM, None, [envelope], {}]).encode())
        subtype = host.registry.subtype(read.name)
        read = upcast(subtype, read)
        payload = host.codec.load(subtype, read.payload)
    except Exception:  # every fault of a payload is final: trying again cannot mend it
        _use_up_attempts(job)
        raise
    run = Run(_claimed(job), subtype=subtype.name, correlation_id=read.correlation_id)
    settings = host.registry.settings
    ctx = RunContext(
        run,
        read,
        subtype.timeout,
        structlog.get_logger,
        settings,
        resources,
        lambda: _RqMarks(job),
        host.client,
        attrs.evolve(host.config.limits, log_lines=0),
        (payload, *settings.values()),
    )
    try:
        with _reporting(run, job):
            if subtype.is_async:
                result = asyncio.run(_run_async(host.wrappers, subtype, payload, ctx, resources))
            else:
                result = _run(host.wrappers, subtype, payload, ctx, resources)
        return orjson.loads(host.codec.dump_result(result))
    except Exception as error:
        return _go_on(host, job, subtype, payload, error)


@attrs.frozen
class _Host:
    config: Config
    registry: Registry
    codec: Codec
    wrappers: Wrappers

    def client(self) -> Client:
        return Client(self.config, self.registry)


@cache
def _host() -> _Host:
    # RQ's alarm rings after the job's timeout also while plugins load. One that is held back until they have
    # raises in the job; the loader would take it for the fault of the plugin that it interrupts.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        config = loading.load()
        registry = plugins.load(block=config.plugins.block, read_settings=loading.settings_reader(config))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return _Host(config, registry, Codec(config.limits), Wrappers(registry))


def _claimed(job: Any) -> Claimed:
    return Claimed(
        queue=job.origin,
        id=job.id,
        token="",
        data=b"",
        retries_made=job.number_of_retries or 0,
        retries_left=job.retries_left or 0,
        recoveries=0,
        created_at=job.created_at.strftime(_RQ_TIME),
        priority="",
        timeout_ms="",
        backoff="",
        checkpoint=job.connection.hget(job.key, "checkpoint") or b"",
    )


class _RqMarks:
    """The marks of ``ctx.once``; RQ's worker has no token by which the broker could tell a zombie."""

    def __init__(self, job: Any) -> None:
        self._key, self._redis = job.key, job.connection

    def mark(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark."""
        field, mine = f"once:{key}", f"begun:{nonce}"
        if move == "begin":
            if self._redis.hsetnx(self._key, field, mine):
                return "new"
            known = text(self._redis.hget(self._key, field))
            return "new" if known == mine else known.partition(":")[0]
        if move == "done":
            self._redis.hset(self._key, field, "done")
        elif self._redis.hget(self._key, field) == mine.encode():
            self._redis.hdel(self._key, field)
        return "ok"

    async def mark_async(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark; RQ's worker does nothing else meanwhile."""
        return self.mark(key, nonce, move)


def _run(
    wrappers: Wrappers, subtype: Subtype[Any, Any], payload: object, ctx: RunContext, resources: Resources
) -> Any:
    try:
        return wrappers.run(subtype, payload, ctx)
    finally:
        asyncio.run(_close(resources))


async def _run_async(
    wrappers: Wrappers, subtype: Subtype[Any, Any], payload: object, ctx: RunContext, resources: Resources
) -> Any:
    try:
        return await wrappers.run_async(subtype, payload, ctx, lambda: subtype.handler(payload, ctx))
    finally:
        await _close(resources)


async def _close(resources: Resources) -> None:
    for fault in await resources.close():
        structlog.get_logger().warning("resource_not_closed", error=repr(fault))


@contextlib.contextmanager
def _reporting(run: Run, job: Any) -> Iterator[None]:
    """Keep the last progress report in RQ's meta, and the last checkpoint: written twice a second at most."""
    ended = threading.Event()

    def write() -> None:
        report, run.report = run.report, None
        if report is not None:
            job.meta["progress"] = attrs.asdict(report)
            job.save_meta()
        checkpoint, run.unsaved = run.unsaved, None
        if checkpoint:
            job.connection.hset(job.key, "checkpoint", checkpoint)
        elif checkpoint is not None:
            job.connection.hdel(job.key, "checkpoint")

    def write_now_and_then() -> None:
        while not ended.wait(_PROGRESS):
            write()

    thread = threading.Thread(target=write_now_and_then, name="cgjobs-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        write()


def _go_on(host: _Host, job: Any, subtype: Subtype[Any, Any], payload: object, error: Exception) -> rq.Retry:
    """What becomes of a job that raised; RQ saves what is changed in ``job`` here."""
    made, left = job.number_of_retries or 0, job.retries_left or 0
    queue = queue_config(host.config, host.registry, subtype.job_type)
    verdict = judge(
        error,
        attempt=made + 1,
        attempts_left=left,
        backoff=subtype.backoff if isinstance(subtype.backoff, Backoff) else queue.backoff,
        rng=random.Random(),  # noqa: S311 - spreads retries, keeps no secret
        rules=subtype.rules,
        asked=asked_wait(subtype.backoff, made + 1, error, structlog.get_logger().warning),
    )
    if verdict.kind in ("failed", "unknown"):
        _use_up_attempts(job)
        raise error
    if verdict.kind == "retry":
        job.retries_left = left - 1
        secrets = (payload, *host.registry.settings.values())
        shown = redact(secrets, "".join(traceback.format_exception(error)))
        Result.create_failure(job, job.failure_ttl, exc_string=shown, worker_name=job.worker_name or "")
    else:
        job.number_of_retries = made - 1  # RQ adds one, and a snoozed attempt does not count
    return rq.Retry(max=made + 1, interval=math.ceil(verdict.delay.total_seconds()))


def _use_up_attempts(job: Any) -> None:
    """Leave RQ no attempt to make; their number in all stays what it was, for whoever retries the job."""
    job.number_of_retries = (job.number_of_retries or 0) + (job.retries_left or 0)
    job.retries_left = 0

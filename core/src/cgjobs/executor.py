"""One claimed job to its settlement: load, run, judge."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import os
import random
import time
import traceback
import zlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from cgjobs import hold
from cgjobs.broker import Send, moves
from cgjobs.broker.replies import duration
from cgjobs.broker.values import Claimed, OutcomeKind, Settlement
from cgjobs.client import Client
from cgjobs.codec import Codec, Envelope, Unreadable
from cgjobs.config import Config
from cgjobs.duration import parse_duration
from cgjobs.errors import BrokerError, QueueNotFound
from cgjobs.event import Event
from cgjobs.isolation import Children, Crashed, NotStarted, Reported
from cgjobs.marks import WorkerMarks
from cgjobs.model import Backoff
from cgjobs.outcomes import Discard, JobTimeout
from cgjobs.plugins import Registry
from cgjobs.preparation import queue_config
from cgjobs.redaction import redact
from cgjobs.resources import Resources
from cgjobs.retry_rules import NO_RULES, asked_wait
from cgjobs.running import Run, RunContext
from cgjobs.subtype import Subtype
from cgjobs.threads import JobThreads
from cgjobs.upcasting import upcast
from cgjobs.verdict import MESSAGE_CHARACTERS, Verdict, judge, one_line, outcome_unknown
from cgjobs.wrapping import Wrappers

_MILLISECOND = timedelta(milliseconds=1)
_TRACEBACK_CHARACTERS = 16_000
_OURS = (str(Path(__file__).parent) + os.sep, str(Path(concurrent.futures.__file__).parent) + os.sep)


class Executor:
    """Runs claimed jobs.

    Args:
        config: The configuration.
        registry: The plugins.
        codec: Payloads from the wire.
        threads: Where ``def`` handlers run.
        children: Where isolated handlers run.
        resources: What ``ctx.use`` opens.
        log: Gives the logger that handlers log with.
        send: Sends a call to the broker and waits until it is answered.
        rng: Source of the backoff's jitter.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        codec: Codec,
        threads: JobThreads,
        children: Children,
        resources: Resources,
        log: Callable[[], Any],
        send: Send,
        rng: random.Random | None = None,
    ) -> None:
        self._config, self._registry, self._codec = config, registry, codec
        self._threads, self._children, self._resources, self._log = threads, children, resources, log
        self._send = send
        self._open_client = lambda: Client(config, registry)
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, keeps no secret
        self._wrappers = Wrappers(registry)
        self._is_async = {name: subtype.is_async for name, subtype in registry.subtypes.items()}

    async def run(self, run: Run) -> Settlement:
        """Run one attempt and say how it ended. Never raises."""
        claimed = run.claimed
        try:
            envelope = self._codec.unpack(claimed.data)
            run.correlation_id = envelope.correlation_id
            subtype = self._registry.subtypes.get(envelope.name)
            if subtype is None:
                return self._held(
                    run, hold.for_type(envelope.name), self._registry.why_unknown(envelope.name)
                )
            run.subtype = subtype.name
            if envelope.payload_version > subtype.version:
                group = hold.for_version(subtype.name, envelope.payload_version)
                return self._held(
                    run,
                    group,
                    f"its payload has version {envelope.payload_version}, "
                    f"this worker knows {subtype.version}",
                )
            if envelope.payload_version < subtype.version:
                envelope = upcast(subtype, envelope)
            payload = self._codec.load(subtype, envelope.payload)
        except Unreadable as error:
            return self._ended(run, "quarantine", error=f"Unreadable: {error}")
        except Exception as error:  # every fault of a payload is final: trying again cannot mend it
            return self._ended(run, "failed", error=one_line(error)[:MESSAGE_CHARACTERS])
        if subtype.at_most_once and not await self._begin(run):
            return handed_back(run)
        self._tell("job_started", run)
        try:
            result = await self._call(run, subtype, payload, envelope)
            blob = b"" if result is None else self._dump(subtype, result)
        except BaseException as error:  # sys.exit() in a handler ends its attempt, not the worker
            if run.taken_away:
                return handed_back(run)
            return self._judged(run, subtype, payload, error)
        return self._ended(run, "completed", blob=blob)

    async def _begin(self, run: Run) -> bool:
        """Have the broker know that a job which may not run twice begins; False when it must not."""
        try:
            mine = await self._send(moves.begin(run.claimed.id, run.claimed.token))
        except BrokerError:  # no time left to ask: nothing has begun
            return False
        run.begun = mine and not run.taken_away
        return run.begun

    async def _call(self, run: Run, subtype: Subtype[Any, Any], payload: object, envelope: Envelope) -> Any:
        timeout = self._timeout(run.claimed, subtype)
        marks = partial(WorkerMarks, self._send, asyncio.get_running_loop(), run)
        if subtype.isolation == "process":
            run.cancellable = True
            return await self._children.run(run, subtype, envelope, timeout, marks())
        seconds = None if timeout is None else timeout.total_seconds()
        settings = self._registry.settings
        ctx = RunContext(
            run,
            envelope,
            timeout,
            self._log,
            settings,
            self._resources,
            marks,
            self._open_client,
            self._config.limits,
            (payload, *settings.values()),
        )
        run.cancellable = self._is_async[subtype.name]
        if not run.cancellable:
            return await self._threads.run(lambda: self._wrappers.run(subtype, payload, ctx), seconds)
        return await self._wrappers.run_async(
            subtype, payload, ctx, lambda: _limited(subtype.handler(payload, ctx), seconds)
        )

    def _dump(self, subtype: Subtype[Any, Any], result: object) -> bytes:
        return base64.b64encode(self._codec.dump_result(result, f"the result of {subtype.name}"))

    def _timeout(self, claimed: Claimed, subtype: Subtype[Any, Any]) -> timedelta | None:
        if claimed.timeout_ms and (timeout := duration(claimed.timeout_ms, _MILLISECOND)):
            return timeout
        if subtype.timeout is not None:
            return subtype.timeout
        queue = self._config.queues.get(claimed.queue)
        return queue.timeout if queue else None

    def _backoff(self, claimed: Claimed, subtype: Subtype[Any, Any]) -> Backoff:
        if claimed.backoff:
            try:
                rule = orjson.loads(claimed.backoff)
                delay, ceiling = parse_duration(rule["delay"]), parse_duration(rule["ceiling"])
                return Backoff(rule["kind"], delay, ceiling, float(rule["jitter"]))
            except (ValueError, KeyError, TypeError):
                pass  # garbage in a hash: the queue's rule is a safe one
        if isinstance(subtype.backoff, Backoff):
            return subtype.backoff
        try:
            return queue_config(self._config, self._registry, claimed.queue).backoff
        except QueueNotFound:
            return Backoff()

    def _judged(
        self, run: Run, subtype: Subtype[Any, Any], payload: object, error: BaseException
    ) -> Settlement:
        claimed = run.claimed
        if isinstance(error, Crashed):
            return self._crashed(run, subtype, error)
        if isinstance(error, Reported):
            verdict = self._verdict(claimed, subtype, error.cause, asked=error.wait)
            return self._ended(
                run,
                verdict.kind,
                delay=verdict.delay,
                error=verdict.error if verdict.kind == "unknown" else error.line,
                blob=_packed(error.trace),
                group=verdict.scope,
            )
        asked = asked_wait(subtype.backoff, claimed.retries_made + 1, error, self._log().warning)
        verdict = self._verdict(claimed, subtype, error, asked=asked)
        secrets = (payload, *self._registry.settings.values())
        trace = b""
        if verdict.kind not in ("snooze", "limited") and not isinstance(error, (Discard, JobTimeout)):
            trace = _packed(shown_traceback(secrets, error))
        message = redact(secrets, verdict.error)[:MESSAGE_CHARACTERS]
        return self._ended(
            run, verdict.kind, delay=verdict.delay, error=message, blob=trace, group=verdict.scope
        )

    def _crashed(self, run: Run, subtype: Subtype[Any, Any], error: Crashed) -> Settlement:
        """Its process ended: an attempt is used up, and the job is poison once that happened too often."""
        if run.begun:
            return self._ended(run, "unknown", error=outcome_unknown(error)[:MESSAGE_CHARACTERS])
        crashes, most = run.claimed.recoveries + 1, self._config.worker.max_crashes
        if crashes >= most:
            return self._ended(run, "failed", error=f"Poison: {error}; crash {crashes} of {most}")
        verdict = self._verdict(run.claimed, subtype, error)
        kind: OutcomeKind = "crashed" if verdict.kind == "retry" else verdict.kind
        return self._ended(run, kind, delay=verdict.delay, error=verdict.error[:MESSAGE_CHARACTERS])

    def _verdict(
        self,
        claimed: Claimed,
        subtype: Subtype[Any, Any],
        error: BaseException,
        *,
        asked: timedelta | None = None,
    ) -> Verdict:
        # What the worker itself could not do is no error of the handler's.
        rules = NO_RULES if isinstance(error, (Crashed, NotStarted)) else subtype.rules
        return judge(
            error,
            attempt=claimed.retries_made + 1,
            attempts_left=claimed.retries_left,
            backoff=self._backoff(claimed, subtype),
            rng=self._rng,
            rules=rules,
            asked=None if claimed.backoff else asked,
        )

    def _held(self, run: Run, group: str, reason: str) -> Settlement:
        return Settlement("hold", run.claimed, run.subtype, error=reason[:MESSAGE_CHARACTERS], group=group)

    def _ended(
        self,
        run: Run,
        kind: OutcomeKind,
        *,
        delay: timedelta = timedelta(0),
        error: str = "",
        blob: bytes = b"",
        group: str = "",
    ) -> Settlement:
        return Settlement(kind, run.claimed, run.subtype, _run_us(run), delay, error, blob, group)

    def _tell(self, name: Any, run: Run, *, error: str = "") -> None:
        claimed = run.claimed
        attempt = claimed.retries_made + 1
        self._registry.tell(
            Event(name, claimed.queue, claimed.id, run.subtype, run.correlation_id, attempt, error=error)
        )


def handed_back(run: Run) -> Settlement:
    """What becomes of a job whose worker cannot go on with it: another one's, unless it may not run twice."""
    if run.begun:
        error = "Outcome unknown: its worker stopped while it ran"
        return Settlement("unknown", run.claimed, run.subtype, _run_us(run), error=error)
    return Settlement("return", run.claimed, run.subtype, _run_us(run))


def _run_us(run: Run) -> int:
    return int((time.perf_counter() - run.started) * 1e6)


async def _limited(coroutine: Any, seconds: float | None) -> Any:
    if seconds is None:
        return await coroutine
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await coroutine
    except TimeoutError:
        if limit.expired():
            raise JobTimeout(f"ran longer than {seconds:g} s") from None
        raise


def shown_traceback(secrets: object, error: BaseException) -> str:
    """The traceback from the handler's first frame on, without frame locals or secrets, cut at its start.

    Args:
        secrets: Payload and settings, whose secret fields must not be seen.
        error: What the handler raised.
    """
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    shown = traceback.TracebackException(type(error), error, frames, capture_locals=False)
    text = redact(secrets, "".join(shown.format()))
    return text if len(text) <= _TRACEBACK_CHARACTERS else "[...]" + text[-_TRACEBACK_CHARACTERS:]


def _packed(trace: str) -> bytes:
    return base64.b64encode(zlib.compress(trace.encode("utf-8", "backslashreplace"), 1)) if trace else b""

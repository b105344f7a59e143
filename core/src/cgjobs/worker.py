"""The worker: claims jobs, runs them, settles them in batches, and stops without losing any."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import attrs
import structlog

from cgjobs import keys
from cgjobs.broker import AsyncSender, Call, moves
from cgjobs.broker.connection import connect_async, translated
from cgjobs.broker.moves import Settlement
from cgjobs.broker.presence import register, unregister
from cgjobs.codec import Codec
from cgjobs.config import Config
from cgjobs.duties import flush_progress, promote_due, reap_expired, write_progress
from cgjobs.errors import BrokerError, BrokerUnavailable, ConfigError, Fault
from cgjobs.event import Event, EventName
from cgjobs.executor import Executor
from cgjobs.leases import LeaseKeeper, entry_ttl
from cgjobs.operations import BATCH, queue_config
from cgjobs.plugins import Registry
from cgjobs.resources import Resources
from cgjobs.running import Run
from cgjobs.slots import Slots
from cgjobs.threads import JobThreads

VERSION = version("chatgenius-jobs")
_LISTEN = 5.0  # seconds; then we look without having been woken, for the token that a dying worker took along
_PROGRESS = 0.5
_LONGEST_PAUSE = 5.0  # between two tries to reach a broker that is away

_EVENTS: Mapping[str, EventName] = {
    "completed": "job_completed",
    "retry": "job_retrying",
    "failed": "job_failed",
    "snooze": "job_snoozed",
    "return": "job_returned",
}


@attrs.frozen
class WorkerHandle:
    """What ``cgjobs_worker_start`` and ``cgjobs_worker_stop`` see of a worker.

    Args:
        name: Its name.
        queues: The queues it serves, with their concurrency.
        config: The configuration.
        registry: The plugins.
        ready: Gives whether it has reached the broker and is not stopping.
        alive: Gives whether its loop turns.
    """

    name: str
    queues: Mapping[str, int]
    config: Config
    registry: Registry = attrs.field(repr=False)
    ready: Any = attrs.field(repr=False)
    alive: Any = attrs.field(repr=False)


class Worker:
    """Serves queues until told to stop. Nothing starts before `run`.

    Args:
        config: The configuration.
        registry: The plugins, with their settings.
        queues: The queues to serve; None serves one for each job type.
        concurrency: Places by queue, instead of the configured ones.
        burst: End when there is nothing left to do now.
        name: Unique among workers; None makes one of host, process and chance.
        rng: Source of jitter.

    Raises:
        QueueNotFound: A queue has neither configuration nor plugin.
        ConfigError: There is no queue to serve.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        *,
        queues: Sequence[str] | None = None,
        concurrency: Mapping[str, int] | None = None,
        burst: bool = False,
        name: str | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name or f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"
        names = sorted(registry.processors) if queues is None else list(dict.fromkeys(queues))
        if not names:
            fault = Fault(
                "plugins", "no plugin provides a job type; install one, or look at `cgjobs plugins`"
            )
            raise ConfigError("nothing to work on", [fault])
        places = {item: queue_config(config, registry, item).concurrency for item in names}
        self._places = places | {item: n for item, n in (concurrency or {}).items() if item in places}
        self._config, self._registry, self._burst = config, registry, burst
        self._rng = rng or random.Random()  # noqa: S311 - spreads reconnects, keeps no secret
        self._sender = AsyncSender(config.redis)
        self._resources = Resources()
        self._threads = JobThreads(config.worker.threads or sum(self._places.values()))
        self._executor = Executor(
            config, registry, Codec(config.limits), self._threads, self._resources, structlog.get_logger, rng
        )
        self._runs: dict[str, Run] = {}
        self._ended: list[tuple[Run, Settlement]] = []
        self._loop_seen = time.monotonic()
        self._connected = self._away = False
        self._last_moment = math.inf

    @property
    def stuck_threads(self) -> int:
        """Handlers that overran their timeout and still run; a process with some cannot end by itself."""
        return self._threads.stuck

    async def run(self) -> None:
        """Serve until `stop` is called, or in a burst until nothing is left.

        Raises:
            BrokerDenied, BrokerUnsupported: The broker refuses us; waiting would not help.
            Exception: What a plugin's ``cgjobs_worker_start`` raised.
        """
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._wake = asyncio.Event()
        self._slots = Slots(self._places)
        handle = WorkerHandle(self.name, self._places, self._config, self._registry, self._ready, self._alive)
        await self._connect()
        await self._send(
            register(self.name, list(self._places), VERSION, entry_ttl(self._config.worker.lease))
        )
        self._registry.hook.cgjobs_worker_start(worker=handle)
        keeper = self._keeper()
        keeper.start()
        self._tell(Event("worker_started", detail=self.name))
        try:
            await self._serve()
        finally:
            await self._hand_back()
            keeper.end()
            await self._leave(handle)

    def stop(self, *, at_once: bool = False) -> None:
        """Claim nothing more; let running jobs go on for the grace period, or hand them back at once."""
        grace = 0.0 if at_once else self._config.worker.grace.total_seconds()
        self._last_moment = min(self._last_moment, time.monotonic() + grace)
        self._stopping.set()
        if at_once:
            self._at_once.set()
        self._wake.set()

    # The turn: settle what ended, claim what there is room for, start it.

    async def _serve(self) -> None:
        duties = [
            asyncio.create_task(duty)
            for duty in (
                self._listen(),
                promote_due(self._send, list(self._places)),
                reap_expired(self._send, self._config, self._registry),
                write_progress(self._send, lambda: list(self._runs.values()), _seconds(_PROGRESS)),
                self._beat(),
            )
        ]
        try:
            while not self._stopping.is_set():
                _raise_ended(duties)
                wants = self._slots.wants()
                if self._ended or wants:
                    await self._turn(wants)
                elif self._burst and not self._runs:
                    return
                else:
                    await self._wake.wait()
                    self._wake.clear()
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)

    async def _turn(self, wants: Mapping[str, int]) -> None:
        batch, self._ended = self._ended[:BATCH], self._ended[BATCH:]
        call = moves.turn(
            self.name,
            [settlement for _, settlement in batch],
            wants,
            lease=self._config.worker.lease,
            largest=2 * self._config.limits.payload_bytes,
        )
        try:
            await flush_progress(self._send, [run for run, _ in batch])
            turn: moves.Turn = await self._send(call)
        except BaseException:
            self._ended[:0] = batch
            raise
        for claimed in turn.jobs:
            self._start(Run(claimed))
        self._slots.asked(wants, turn.left)
        refused = set(turn.refused)
        for run, settlement in batch:
            self._report(run, settlement, stale=run.claimed.id in refused)

    def _start(self, run: Run) -> None:
        if self._stopping.is_set():  # claimed by a call that was under way: back at once, nothing has begun
            self._ended.append((run, Settlement("return", run.claimed)))
            return
        self._runs[run.key] = run
        self._slots.take(run.claimed.queue)
        run.task = asyncio.create_task(self._executor.run(run))
        run.task.add_done_callback(lambda task: self._finish(run, task))

    def _finish(self, run: Run, task: asyncio.Task[Settlement]) -> None:
        if self._runs.pop(run.key, None) is None:
            return  # handed back meanwhile
        settlement = Settlement("return", run.claimed, run.subtype) if task.cancelled() else task.result()
        self._slots.give(run.claimed.queue)
        self._ended.append((run, settlement))
        self._wake.set()

    def _report(self, run: Run, settlement: Settlement, *, stale: bool) -> None:
        claimed = run.claimed
        self._tell(
            Event(
                "job_stale" if stale else _EVENTS[settlement.kind],
                claimed.queue,
                claimed.id,
                run.subtype,
                run.correlation_id,
                claimed.retries_made + 1,
                _seconds(settlement.run_us / 1e6),
                settlement.error,
            )
        )

    # Being woken.

    async def _listen(self) -> None:
        """Wait for the broker's wake-ups of the queues that have room and, as far as we know, no work."""
        client = connect_async(attrs.evolve(self._config.redis, timeout=_seconds(_LISTEN + 5)))
        try:
            while True:
                queues = self._slots.listenable()
                self._slots.changed.clear()
                if not queues:
                    await self._slots.changed.wait()
                    continue
                await self._wait_for_token(client, queues)
        finally:
            await client.aclose()

    async def _wait_for_token(self, client: Any, queues: Sequence[str]) -> None:
        try:
            with translated(self._config.redis):
                reply = await client.blpop([keys.wake(queue) for queue in queues], timeout=_LISTEN)
        except BrokerError:
            await asyncio.sleep(self._rng.uniform(0.1, 1.0))
            reply = None
        woken = queues if reply is None else [reply[0].decode().removeprefix(keys.wake(""))]
        self._slots.woken(woken)
        self._wake.set()

    # The broker may be away.

    async def _send(self, call: Call[Any]) -> Any:
        """Send a call until it is answered, or the worker's time to stop is over.

        Whatever the broker answers that is no reply is waited out: what is sent again is known by its nonce.
        """
        pause = 0.1
        while True:
            try:
                reply = await self._sender.send(call)
            except BrokerError as error:
                if time.monotonic() > self._last_moment:
                    raise
                self._lost(error)
                call = attrs.evolve(call, commands=call.again)
                await asyncio.sleep(self._rng.uniform(0.5, 1.0) * pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)
            else:
                self._reached()
                return reply

    async def _connect(self) -> None:
        """Reach the broker for the first time, however long it takes; being refused ends the worker."""
        pause = 0.1
        while not self._stopping.is_set():
            try:
                await self._sender.load_functions()
            except BrokerUnavailable as error:
                self._lost(error)
                await asyncio.sleep(self._rng.uniform(0.5, 1.0) * pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)
            else:
                self._reached()
                return

    def _lost(self, error: BrokerError) -> None:
        if not self._away:
            self._tell(Event("broker_lost", error=str(error)))
        self._connected, self._away = False, True

    def _reached(self) -> None:
        if self._away:
            self._tell(Event("broker_back"))
        self._connected, self._away = True, False

    # Leases, liveness and the end.

    def _keeper(self) -> LeaseKeeper:
        loop = asyncio.get_running_loop()
        return LeaseKeeper(
            self.name,
            list(self._places),
            VERSION,
            self._config,
            running=lambda: [
                (run.claimed.queue, run.claimed.id, run.claimed.token) for run in list(self._runs.values())
            ],
            loop_seen=lambda: self._loop_seen,
            lost=lambda ids: loop.call_soon_threadsafe(self._lose, frozenset(ids)),
        )

    def _lose(self, ids: frozenset[str]) -> None:
        for run in list(self._runs.values()):
            if run.claimed.id in ids:
                run.take_away()

    async def _beat(self) -> None:
        while True:
            self._loop_seen = time.monotonic()
            await asyncio.sleep(1)

    def _alive(self) -> bool:
        return time.monotonic() - self._loop_seen < self._config.worker.loop_stall.total_seconds()

    def _ready(self) -> bool:
        return self._connected and not self._stopping.is_set()

    async def _hand_back(self) -> None:
        """Let running jobs end within the grace period; give the others back, their attempts uncounted."""
        self.stop()
        while (
            self._runs and not self._at_once.is_set() and (left := self._last_moment - time.monotonic()) > 0
        ):
            if self._ended:
                await self._turn_within(self._last_moment)
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)
        for run in list(self._runs.values()):
            self._ended.append((run, Settlement("return", run.claimed, run.subtype)))
            run.take_away()
        self._runs.clear()
        while self._ended and await self._turn_within(time.monotonic() + _LONGEST_PAUSE):
            pass

    async def _turn_within(self, deadline: float) -> bool:
        try:
            await asyncio.wait_for(self._turn({}), max(0.0, deadline - time.monotonic()))
        except (TimeoutError, BrokerError):
            return False
        return True

    async def _leave(self, handle: WorkerHandle) -> None:
        log = structlog.get_logger()
        with contextlib.suppress(TimeoutError, BrokerError):
            await asyncio.wait_for(self._sender.send(unregister(self.name, list(self._places))), 2)
        try:
            self._registry.hook.cgjobs_worker_stop(worker=handle)
        except Exception as error:
            log.warning("worker_stop_hook_failed", error=repr(error))
        for fault in await self._resources.close():
            log.warning("resource_not_closed", error=repr(fault))
        self._threads.close()
        self._tell(Event("worker_stopped", detail=self.name))
        await self._sender.close()

    def _tell(self, event: Event) -> None:
        self._registry.tell(event)


def _raise_ended(duties: Sequence[asyncio.Task[None]]) -> None:
    """A duty runs for ever; one that ended did so by an error that nobody foresaw."""
    for duty in duties:
        if duty.done():
            duty.result()


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)

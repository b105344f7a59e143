"""The worker: serves its queues until told to stop, and stops without losing a job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version

import structlog

from cgjobs import hold
from cgjobs.broker import moves, values
from cgjobs.broker.presence import register, unregister
from cgjobs.codec import Codec
from cgjobs.config import Config
from cgjobs.duties import Promoter, cancel_asked, reap_expired
from cgjobs.errors import BrokerError, ConfigError, Fault, InvalidOption
from cgjobs.event import Event
from cgjobs.executor import Executor
from cgjobs.handle import WorkerHandle as WorkerHandle
from cgjobs.isolation import Children, ChildSetup
from cgjobs.leases import LeaseKeeper, entry_ttl
from cgjobs.link import LONGEST_PAUSE, Link
from cgjobs.listener import Listener, end
from cgjobs.plugins import Registry
from cgjobs.preparation import queue_config
from cgjobs.recorder import Recorder
from cgjobs.reports import Reports
from cgjobs.resources import Resources
from cgjobs.running import Run
from cgjobs.slots import Slots
from cgjobs.threads import JobThreads
from cgjobs.turns import Turns

VERSION = version("chatgenius-jobs")
_LOSS = (
    "the broker has lost what it knew (restarted without appendonly, flushed, or another server?): jobs that "
    "waited are gone, and so are pauses"
)
_REPORTS = timedelta(seconds=0.5)
_GOODBYE = timedelta(seconds=2)  # for taking our entry out; it goes by itself a little later


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
        children: How the processes of isolated handlers get their plugins.

    Raises:
        QueueNotFound: A queue has neither configuration nor plugin.
        ConfigError: There is no queue to serve.
        InvalidOption: A queue has no place.
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
        children: ChildSetup = ChildSetup(),  # noqa: B008 - frozen
    ) -> None:
        self.name = name or f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"
        names = sorted(registry.processors) if queues is None else list(dict.fromkeys(queues))
        if not names:
            fault = Fault(
                "plugins", "no plugin provides a job type; install one, or look at `cgjobs plugins`"
            )
            raise ConfigError("nothing to work on", [fault])
        chosen = {item: queue_config(config, registry, item) for item in names}
        places = {item: queue.concurrency for item, queue in chosen.items()}
        limits = {item: values.claim_limits(queue) for item, queue in chosen.items() if queue.is_limited}
        self._places = places | {item: n for item, n in (concurrency or {}).items() if item in places}
        if faults := [
            Fault(f"concurrency.{item}", f"{n} is below 1") for item, n in self._places.items() if n < 1
        ]:
            raise InvalidOption("the worker's options", faults)
        self._config, self._registry, self._burst = config, registry, burst
        self._rng = rng or random.Random()  # noqa: S311 - spreads reconnects, keeps no secret
        self._link = Link(config.redis, registry.tell, self._rng)
        self._resources = Resources()
        self._threads = JobThreads(config.worker.threads or sum(self._places.values()))
        self._children = Children(children, registry, config.limits, structlog.get_logger)
        codec, log = Codec(config.limits), structlog.get_logger
        executor = Executor(
            config, registry, codec, self._threads, self._children, self._resources, log, self._link.send, rng
        )
        self._stopping, self._at_once, self._wake = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._reports = Reports(self._link.send, registry.tell, config.limits.log_lines)
        self._recorder = Recorder(self._link.send, self._places, self._runs, config.worker.history)
        self._slots = Slots(self._places, limits)
        self._turns = Turns(
            self.name,
            config,
            self._slots,
            executor,
            self._link.send,
            self._reports,
            self._recorder,
            self._tell,
            self._wake.set,
        )
        self._loop_seen = time.monotonic()
        self._listener = Listener(
            config.redis,
            self._slots,
            self._turns.claim,
            self._link.send,
            self._wake.set,
            self._rng,
            config.worker.lease,
        )

    async def run(self) -> None:
        """Serve until `stop` is called, or in a burst until nothing is left.

        Raises:
            BrokerDenied, BrokerUnsupported, FunctionsMissing: The broker refuses us; waiting would not help.
            Exception: What a plugin's ``cgjobs_worker_start`` raised.
        """
        handle = WorkerHandle(
            self.name, self._places, self._config, self._registry, self._ready, self._alive, self._trouble
        )
        beat = asyncio.create_task(self._beat())
        try:
            # Before the broker is reached: a worker that waits for it is alive, and probes must see that.
            self._registry.hook.cgjobs_worker_start(worker=handle)
            await self._link.connect(self._stopping)
            if not self._stopping.is_set():
                await self._work()
        finally:
            beat.cancel()
            await self._leave(handle)

    async def _work(self) -> None:
        queues, keeper = list(self._places), None
        promoter = Promoter(self._link.send, queues, self._can_run, self._tell, self._hear)
        # Goes on while we stop: who pauses a queue is told by it that nothing more of it begins here.
        promoting: list[asyncio.Task[None]] = []
        try:
            ttl = entry_ttl(self._config.worker.lease)
            epoch = await self._link.send(register(self.name, queues, VERSION, ttl))
            keeper = self._keeper(epoch)
            keeper.start()
            self._tell(Event("worker_started", detail=self.name))
            if self._burst:  # what is due or held for this worker is work that it has now
                await promoter.look()
            promoting.append(asyncio.create_task(promoter.run()))
            await self._serve(promoting)
        finally:
            await self._hand_back()
            await end(promoting)
            if keeper is not None:
                keeper.end()
            with contextlib.suppress(TimeoutError, BrokerError):
                await self._link.send_once(unregister(self.name, queues), _GOODBYE)
                if self._recorder.on:
                    await self._link.send_once(self._recorder.taken(), _GOODBYE)
            self._tell(Event("worker_stopped", detail=self.name))

    def stop(self, *, at_once: bool = False) -> None:
        """Claim nothing more; let running jobs go on for the grace period, or hand them back at once."""
        grace = 0.0 if at_once else self._config.worker.grace.total_seconds()
        self._link.give_up_after(grace)
        self._stopping.set()
        self._turns.closed = True
        if at_once:
            self._at_once.set()
        self._wake.set()

    async def _serve(self, others: Sequence[asyncio.Task[None]]) -> None:
        duties = [
            asyncio.create_task(duty)
            for duty in (
                self._listener.run(),
                cancel_asked(self._link.send, self.name, self._turns.cancel),
                reap_expired(self._link.send, self._config.worker, self._tell),
                self._reports.write_regularly(self._runs, _REPORTS),
                self._recorder.write_regularly(),
            )
        ]
        for duty in (*others, *duties):
            duty.add_done_callback(lambda _: self._wake.set())
        try:
            while not self._stopping.is_set():
                _raise_ended([*others, *duties, *self._turns.under_way])
                if await self._turns.begin():
                    continue
                if self._burst and self._turns.idle:
                    if not await self._finds_more():
                        break
                else:
                    await self._wake.wait()
                    self._wake.clear()
            await asyncio.gather(*self._turns.under_way)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._listener.pause(), _GOODBYE.total_seconds())
        finally:
            await end([*duties, *self._turns.under_way])

    async def _finds_more(self) -> bool:
        """Ask all queues once more: what ended last may have made something ready."""
        await self._listener.pause()
        try:
            self._slots.woken(self._places)
            await self._turns.take(self._slots.wants())
        finally:
            self._listener.resume()
        return not self._turns.idle or bool(self._slots.wants())

    async def _hear(self, pauses: Mapping[str, str]) -> None:
        """Say that we know of pauses, once the jobs of the claims that are under way have begun."""
        if self._turns.under_way:
            await asyncio.wait(self._turns.under_way)
        await self._listener.pause()
        try:
            await self._link.send(moves.heard(self.name, pauses))
        finally:
            self._listener.resume()

    # Leases, liveness and the end.

    def _keeper(self, epoch: str) -> LeaseKeeper:
        loop = asyncio.get_running_loop()
        return LeaseKeeper(
            self.name,
            list(self._places),
            VERSION,
            self._config,
            running=lambda: [
                (run.claimed.queue, run.claimed.id, run.claimed.token)
                for run in self._runs()
                if not run.taken_away
            ],
            loop_seen=lambda: self._loop_seen,
            lost=lambda attempts: loop.call_soon_threadsafe(self._turns.lose, frozenset(attempts)),
            data_lost=lambda: loop.call_soon_threadsafe(
                self._tell, Event("data_loss_suspected", error=_LOSS)
            ),
            epoch=epoch,
        )

    async def _beat(self) -> None:
        while True:
            self._loop_seen = time.monotonic()
            await asyncio.sleep(1)

    def _alive(self) -> bool:
        return time.monotonic() - self._loop_seen < self._config.worker.loop_stall.total_seconds()

    def _ready(self) -> bool:
        return not self._trouble()

    def _trouble(self) -> str:
        return "it is stopping" if self._stopping.is_set() else self._link.trouble

    async def _hand_back(self) -> None:
        """Let running jobs end within the grace period; give the others back, their attempts uncounted."""
        self.stop()
        while self._turns.runs and not self._at_once.is_set() and (left := self._link.time_left) > 0:
            if self._turns.ended:
                await self._turn_within(left)
                continue
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(left, _REPORTS.total_seconds()))
            with contextlib.suppress(TimeoutError, BrokerError):
                await asyncio.wait_for(self._reports.write(self._runs()), left)
        self._turns.hand_back()
        while self._turns.ended and await self._turn_within(LONGEST_PAUSE):
            pass

    async def _turn_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._turns.take({}), max(0.0, seconds))
        except (TimeoutError, BrokerError):
            return False
        return True

    async def _leave(self, handle: WorkerHandle) -> None:
        log = structlog.get_logger()
        try:
            self._registry.hook.cgjobs_worker_stop(worker=handle)
        except Exception as error:
            log.warning("worker_stop_hook_failed", error=repr(error))
        await self._children.close()
        for fault in await self._resources.close():
            log.warning("resource_not_closed", error=repr(fault))
        self._threads.close()
        await self._link.close()

    def _runs(self) -> list[Run]:
        return list(self._turns.runs.values())

    def _can_run(self, group: str) -> bool:
        return hold.can_run(group, self._registry.subtypes)

    def _tell(self, event: Event) -> None:
        self._recorder.heard(event)
        self._registry.tell(event)


def _raise_ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Raise what ended a task; a duty runs for ever unless an error that nobody foresaw ends it."""
    for task in tasks:
        if task.done():
            task.result()

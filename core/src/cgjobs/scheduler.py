"""The clock: at each slot of a schedule, its payloads are enqueued once, however many schedulers run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import attrs
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from cgjobs.broker import AsyncSender, hours, moves, reads, replies
from cgjobs.broker.values import NewJob
from cgjobs.codec import Codec
from cgjobs.config import Config
from cgjobs.cron import next_fires, previous_fire
from cgjobs.errors import BrokerError, QueueFull
from cgjobs.event import Event
from cgjobs.listener import end
from cgjobs.model import Cron, Job
from cgjobs.operations import BATCH, Operations, batches
from cgjobs.options import JobOptions
from cgjobs.outcomes import Discard
from cgjobs.plugins import Registry
from cgjobs.recorder import bucket
from cgjobs.redaction import redact
from cgjobs.trigger import CronTrigger
from cgjobs.verdict import one_line

T = TypeVar("T")

CATCH_UP = timedelta(days=1)
"""A slot that nobody fired is made up for when a scheduler starts within this time: once, the latest one."""
_RETRY = timedelta(seconds=5)
_GRACE = timedelta(seconds=5)
"""For a slot that is being fired when it is time to stop; what is left of it the next fire completes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC) - _EPOCH  # somebody may have written a slot of any size


@attrs.frozen
class ScheduleView:
    """A schedule as ``cgjobs schedules`` shows it.

    Args:
        name: Its job type.
        cron: When it fires.
        next_fires: The next five times, aware UTC.
        last_slot: The slot that was fired last, or None.
        fired_at: When that was, by the server's clock.
        jobs: How many jobs it enqueued then.
        note: Why it enqueued none, or ``""``.
    """

    name: str
    cron: Cron
    next_fires: tuple[datetime, ...]
    last_slot: datetime | None = None
    fired_at: datetime | None = None
    jobs: int = 0
    note: str = ""


@attrs.frozen
class _Slot:
    at: datetime
    _settings: Mapping[type, object]

    def settings(self, cls: type[T]) -> T:
        try:
            return self._settings[cls]  # type: ignore[return-value]
        except KeyError:
            raise LookupError(f"no plugin announced {cls.__qualname__} with cgjobs_settings") from None


def schedules(config: Config, registry: Registry) -> dict[str, Cron]:
    """The schedules that are on, by job type: the configured one, else the processor's own."""
    found: dict[str, Cron] = {}
    for name, processor in sorted(registry.processors.items()):
        cron = config.schedules.get(name, processor.schedule)
        if cron is not None and processor.on_schedule is not None and name not in config.unscheduled:
            found[name] = cron
    return found


def view(name: str, cron: Cron, record: Mapping[str, str], now: datetime) -> ScheduleView:
    """A schedule with what the broker knows of it (`reads.schedule`)."""
    slot = replies.duration(record.get("slot", ""), timedelta(milliseconds=1))
    return ScheduleView(
        name,
        cron,
        tuple(next_fires(cron, now, 5)),
        None if slot is None or slot > _LATEST else _EPOCH + slot,
        reads.time(record.get("fired_at", "").encode()),
        replies.number(record.get("jobs", "0")),
        record.get("note", ""),
    )


class Scheduler:
    """Fires the schedules until told to stop. Nothing starts before `run`.

    Each fire is one atomic call, keyed by schedule and slot: any number of schedulers may run. When a slot is
    due is decided by the broker's clock.

    Args:
        config: The configuration.
        registry: The plugins, with their settings.
        clock: Gives the time, aware UTC.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._registry, self._clock = registry, clock
        self._schedules = schedules(config, registry)
        self._operations = Operations(config, registry, Codec(config.limits))
        self._sender = AsyncSender(config.redis)
        self._stopped = asyncio.Event()
        self._ticking: set[asyncio.Task[Any]] = set()
        self._away = False
        self._keep = config.worker.history

    async def run(self) -> None:
        """Make up for a slot that nobody fired, then fire each slot when it is due, until `stop`."""
        # Late ticks are one tick, and never too late to count: APScheduler would drop them after 1 s.
        ticks = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        )
        for name, cron in self._schedules.items():
            ticks.add_job(self._tick, CronTrigger(cron), args=[name], id=name)
        ticks.start()
        try:
            await asyncio.gather(*(self._catch_up(name) for name in self._schedules))
            await self._stopped.wait()
            ticks.pause()
            if self._ticking:
                await asyncio.wait(self._ticking, timeout=_GRACE.total_seconds())
        finally:
            await end(self._ticking)
            ticks.shutdown(wait=False)
            await self.close()

    async def close(self) -> None:
        """Close the connection to the broker; `run` does it at its end."""
        await self._sender.close()

    def stop(self) -> None:
        """Fire nothing more."""
        self._stopped.set()

    async def _tick(self, name: str) -> None:
        # The tick is for the latest slot that is due. Half a second of tolerance: a loop may wake early.
        slot = previous_fire(self._schedules[name], self._clock() + timedelta(seconds=0.5))
        if slot is None:
            return
        tick = asyncio.current_task()
        assert tick is not None
        self._ticking.add(tick)
        tick.add_done_callback(self._ticking.discard)
        with contextlib.suppress(asyncio.CancelledError):  # APScheduler would log it as a fault
            await self._persist(lambda: self.fire(name, slot))

    async def _catch_up(self, name: str) -> None:
        async def missed() -> bool:
            record = await self._sender.send(reads.schedule(name))
            now = self._clock()
            slot = previous_fire(self._schedules[name], now)
            last = replies.number(record.get("slot", "0"))
            if last and slot is not None and slot.timestamp() * 1000 > last and now - slot < CATCH_UP:
                return await self.fire(name, slot)
            return False

        await self._persist(missed)

    async def _persist(self, attempt: Callable[[], Awaitable[object]]) -> None:
        """Try until the broker has answered; it may be away, or refuse us, just when a slot is due."""
        while not self._stopped.is_set():
            try:
                await attempt()
            except QueueFull as error:
                self._registry.tell(Event("schedule_refused", error.queue, error=str(error)))
                await self._pause()
            except BrokerError as error:
                if not self._away:
                    self._registry.tell(Event("broker_lost", error=str(error), detail="scheduler"))
                self._away = True
                await self._pause()
            else:
                if self._away:
                    self._registry.tell(Event("broker_back", detail="scheduler"))
                self._away = False
                return

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), _RETRY.total_seconds())

    async def fire(self, name: str, slot: datetime) -> bool:
        """Enqueue the jobs of one slot, unless that was done.

        Args:
            name: The job type.
            slot: When it was due, aware UTC.

        Returns:
            Whether this call did it, or completed what a scheduler that died had begun.
        """
        note, prepared = "", []
        try:
            # On a thread: many payloads take their time, and a worker's loop may be ours.
            prepared = await asyncio.to_thread(self._jobs, name, slot)
        except Discard as nothing:
            note = nothing.reason
        except Exception as error:  # a plugin's mistake costs its own slot, not the scheduler
            note = redact(tuple(self._registry.settings.values()), one_line(error))
        fired = await self._enqueue(name, slot, note[:500], prepared)
        if fired:
            self._report(name, slot, note, [job for _, job in prepared])
            await self._record(name, slot, skipped=bool(note))
        return fired

    async def _record(self, name: str, slot: datetime, *, skipped: bool) -> None:
        """Add to the history how late the slot was, by the broker's clock."""
        if not (keep := self._keep):
            return
        with contextlib.suppress(BrokerError):  # a few numbers of a report are no reason to fire it again
            record = await self._sender.send(reads.schedule(name))
            at = str(int(slot.timestamp() * 1000))
            known = reads.time(record.get("fired_at", "").encode()) if record.get("slot") == at else None
            fired_at = known or self._clock()
            late = max(0, int((fired_at - slot) / timedelta(microseconds=1)))
            cell = int(fired_at.timestamp() // 3600), name, ""
            fired = {"skipped": 1} if skipped else {"fires": 1}
            adds = {**fired, bucket("l", late): 1, "l:sum": late}
            await self._sender.send(hours.record({cell: adds}, {}, keep))

    async def _enqueue(
        self, name: str, slot: datetime, note: str, prepared: list[tuple[NewJob, Job]]
    ) -> bool:
        """In parts, each of which one scheduler alone can add; gives whether this one added the last."""
        there = 0
        while True:
            part = next(batches(prepared[there : there + BATCH]), ())
            jobs, last = [new for new, _ in part], there + len(part) >= len(prepared)
            limits = self._operations.limits_for(new.queue for new in jobs)
            reply = await self._sender.send(
                moves.fire(name, slot, note, jobs, limits, first=there, last=last)
            )
            if reply.state == "early":
                await asyncio.sleep(reply.wait.total_seconds())
            elif reply.state == "begun":
                there = reply.jobs
            else:
                return reply.state == "fired"

    def _jobs(self, name: str, slot: datetime) -> list[tuple[NewJob, Job]]:
        on_schedule = self._registry.processors[name].on_schedule
        assert on_schedule is not None
        payloads = on_schedule(_Slot(slot, self._registry.settings))
        return [self._operations.new_job(payload, JobOptions()) for payload in payloads]

    def _report(self, name: str, slot: datetime, note: str, jobs: list[Job]) -> None:
        at = slot.isoformat()
        if note:
            self._registry.tell(Event("schedule_skipped", name, detail=at, error=note))
            return
        self._registry.tell(Event("schedule_fired", name, detail=f"{at}: {len(jobs)} jobs"))
        for job in jobs:
            self._registry.tell(Event("job_enqueued", job.queue, job.id, job.name, job.correlation_id))

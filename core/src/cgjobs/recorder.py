"""Counts what a worker does by hour, in memory, and adds it to the broker's history every few seconds.

What was counted since the last write is lost when the process is killed: some seconds of statistics, and
never a job.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from cgjobs.broker import Call, Send, hours, reads
from cgjobs.broker.hours import Cell
from cgjobs.broker.values import Settlement
from cgjobs.duties import WORKER_DIED
from cgjobs.event import Event
from cgjobs.history import GROWTH, MOST_BUCKETS
from cgjobs.running import Run

_WRITTEN = timedelta(seconds=5)
_LOOKED = 3  # at each such write the queues are looked at
_LARGEST = 64  # characters of an error's class
_MINUTES = 1000  # remembered

# Which counts an outcome adds to.
_COUNTED: Mapping[str, tuple[int, ...]] = {
    kind: tuple(map(hours.JOB_COUNTS.index, names))
    for kind, names in {
        "completed": ("completed",),
        "retry": ("retried",),
        "crashed": ("retried", "crashed"),
        "failed": ("failed",),
        "unknown": ("failed",),
        "quarantine": ("failed",),
        "cancelled": ("cancelled",),
        "snooze": ("snoozed",),
        "limited": ("limited",),
        "hold": ("held",),
        "return": ("returned",),
    }.items()
}
_ENQUEUED, _STARTED = map(hours.JOB_COUNTS.index, ("enqueued", "started"))
_FAULTS = frozenset(("retry", "crashed", "failed", "unknown", "quarantine"))
_NOT_BEGUN = frozenset(("quarantine", "hold", "return"))
_BOUNDS = [int(1000 * GROWTH**n) for n in range(MOST_BUCKETS)]  # ends of the buckets, in us


class _Hour:
    """What is counted of one job name in one hour. It is added to for each job, so it is plain lists."""

    __slots__ = ("busy", "counts", "errors", "runs", "runs_us", "waits", "waits_us")

    def __init__(self) -> None:
        self.counts = [0] * len(hours.JOB_COUNTS)
        self.waits, self.runs = [0] * (MOST_BUCKETS + 1), [0] * (MOST_BUCKETS + 1)
        self.waits_us = self.runs_us = self.busy = 0
        self.errors: dict[str, int] = {}

    def fields(self) -> dict[str, int]:
        """The same as it is added in the broker."""
        found = dict(zip(hours.JOB_COUNTS, self.counts, strict=True))
        found |= {f"w{n}": count for n, count in enumerate(self.waits)}
        found |= {f"r{n}": count for n, count in enumerate(self.runs)}
        found |= {"w:sum": self.waits_us, "r:sum": self.runs_us, "busy": self.busy}
        found |= {f"e:{name}": count for name, count in self.errors.items()}
        return {field: count for field, count in found.items() if count}


class Recorder:
    """What happened, by hour, queue and job name.

    Args:
        send: The way to the broker.
        places: Places by queue.
        runs: The jobs that run.
        keep: How long an hour is kept; zero records nothing.
        clock: Seconds since the epoch; `write` learns how far the broker's clock is from it.
        ticks: Seconds that only grow, those of `Run.started`.
        every: Time between two writes; at each third one the queues are looked at.
    """

    def __init__(
        self,
        send: Send,
        places: Mapping[str, int],
        runs: Callable[[], Collection[Run]],
        keep: timedelta,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.perf_counter,
        every: timedelta = _WRITTEN,
    ) -> None:
        self._send, self._places, self._runs, self._keep = send, places, runs, keep
        self._clock, self._ticks, self._ahead = clock, ticks, 0.0
        self._hours: dict[Cell, _Hour] = {}
        self._adds: defaultdict[Cell, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._most: defaultdict[Cell, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._minutes: dict[str, float] = {}  # begins of those minutes that were read last
        self._counted: dict[str, int] = {}  # of what runs: the us that have been counted as busy
        self._since, self._every = ticks(), every.total_seconds()

    @property
    def on(self) -> bool:
        """Whether anything is recorded."""
        return self._keep > timedelta(0)

    def settled(self, batch: Iterable[tuple[Run, Settlement]]) -> None:
        """These attempts have ended, and the broker has accepted that. What is done for each job is quick."""
        if not self.on:
            return
        now = self._clock() + self._ahead
        hour, name = int(now // 3600), None
        begins, oldest = hour * 3600, now - self._keep.total_seconds()
        for run, settlement in batch:
            claimed, us, kind = run.claimed, settlement.run_us, settlement.kind
            if name != (run.subtype or claimed.queue):
                name = run.subtype or claimed.queue
                present = self._hour_of(hour, claimed.queue, name)
            for count in _COUNTED[kind]:
                present.counts[count] += 1
            present.busy += us - self._counted.pop(run.key, 0) if self._counted else us
            if kind in _FAULTS:
                error = settlement.error.partition(":")[0][:_LARGEST]
                present.errors[error] = present.errors.get(error, 0) + 1
            if kind in _NOT_BEGUN:
                continue
            present.runs[bisect_left(_BOUNDS, us)] += 1
            present.runs_us += us
            began = now - us / 1e6
            there = present if began >= begins else self._hour_of(int(began // 3600), claimed.queue, name)
            there.counts[_STARTED] += 1
            since = claimed.enqueued_at or claimed.created_at
            ready = self._seconds(since)
            if not claimed.started_at:
                created = self._seconds(claimed.created_at) if claimed.enqueued_at else ready
                if created >= begins:  # somebody may have written any time
                    present.counts[_ENQUEUED] += 1
                elif created > oldest:
                    self._hour_of(int(created // 3600), claimed.queue, name).counts[_ENQUEUED] += 1
            elif claimed.started_at > since:
                continue  # handed back or taken back: it was not ready all the time
            if ready:
                waited = max(0, min(int((began - ready) * 1e6), _BOUNDS[-1]))
                there.waits[bisect_left(_BOUNDS, waited)] += 1
                there.waits_us += waited

    def _hour_of(self, hour: int, queue: str, name: str) -> _Hour:
        cell = hour, queue, name
        found = self._hours.get(cell)
        if found is None:
            found = self._hours[cell] = _Hour()
        return found

    def _seconds(self, text: str) -> float:
        """A time in RQ's format, in seconds since the epoch; 0 for what is none."""
        try:
            minute = self._minutes.get(text[:16])
            if minute is None:
                if len(self._minutes) >= _MINUTES:
                    self._minutes.clear()
                minute = self._minutes[text[:16]] = datetime.fromisoformat(text[:16] + "Z").timestamp()
            second = float(text[17:-1])
            return minute + second if 0 <= second < 61 else 0.0
        except ValueError:
            return 0.0

    def heard(self, event: Event) -> None:
        """What else happened to jobs that ran on no worker, or whose worker died."""
        if not self.on or event.attempt or event.name not in ("job_recovered", "job_failed"):
            return
        lost = event.name == "job_recovered" or event.error in WORKER_DIED
        self._adds[self._hour(), event.queue, ""]["lost" if lost else "dropped"] += 1

    async def write_regularly(self) -> None:
        """Write for ever; look at the queues now and then."""
        if not self.on:
            await asyncio.Event().wait()
        await self._ask_time()
        turns = 0
        while True:
            await asyncio.sleep(self._every)
            turns += 1
            if turns % _LOOKED == 0:
                self.looked(await self._send(reads.stats(self._places)))
            await self._send(self.taken())

    async def _ask_time(self) -> None:
        before = self._clock()
        server_ms: int = await self._send(hours.record({}, {}, self._keep))
        self._ahead = server_ms / 1000 - (before + self._clock()) / 2

    def looked(self, readings: Mapping[str, reads.QueueReading]) -> None:
        """Queues were looked at."""
        now = datetime.fromtimestamp(self._clock() + self._ahead, UTC)
        for queue, reading in readings.items():
            cell = self._hour(), queue, ""
            self._adds[cell]["samples"] += 1
            self._adds[cell]["waiting"] += reading.stats.waiting
            age = now - reading.waiting_since if reading.waiting_since else timedelta(0)
            most = self._most[cell]
            most["waiting_most"] = max(most["waiting_most"], reading.stats.waiting)
            most["oldest"] = max(most["oldest"], int(age / timedelta(milliseconds=1)))

    def taken(self) -> Call[int]:
        """What was counted since the last time, ready to be sent."""
        hour, since, self._since = self._hour(), self._since, self._ticks()
        for queue, places in self._places.items():
            self._adds[hour, queue, ""]["slots"] += int((self._since - since) * 1000 * places)
        running: dict[str, int] = {}
        for run in self._runs():
            us = int((self._since - run.started) * 1e6)
            here = self._hour_of(hour, run.claimed.queue, run.subtype or run.claimed.queue)
            here.busy += us - self._counted.get(run.key, 0)
            running[run.key] = us
        self._counted = running
        adds: dict[Cell, Mapping[str, int]] = {**self._adds}
        most = dict(self._most)
        adds |= {cell: fields for cell, found in self._hours.items() if (fields := found.fields())}
        self._hours.clear()
        self._adds.clear()
        self._most.clear()
        return hours.record(adds, most, self._keep)

    def _hour(self) -> int:
        return int((self._clock() + self._ahead) // 3600)


def bucket(letter: str, us: int) -> str:
    """The field that counts a duration in a `cgjobs.history.Histogram`."""
    return f"{letter}{bisect_left(_BOUNDS, us)}"

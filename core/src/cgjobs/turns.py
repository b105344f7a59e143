"""A worker's turns: settle the jobs that ended, claim as many as there is room for, start them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import attrs

from cgjobs.broker import Send, moves, values
from cgjobs.broker.values import Settlement
from cgjobs.config import Config
from cgjobs.duties import tell_dropped, tell_set_aside, tell_settled
from cgjobs.event import Event
from cgjobs.executor import Executor, handed_back
from cgjobs.recorder import Recorder
from cgjobs.reports import Reports
from cgjobs.running import Run
from cgjobs.slots import TURN, Slots

_AT_ONCE = 2  # calls under way at once: while the broker answers one, the jobs of the other run


class Turns:
    """The jobs of a worker, from their claim until their outcome is settled.

    Args:
        name: The worker's.
        config: The configuration.
        slots: Places for jobs.
        executor: Runs them.
        send: Sends a call until it is answered.
        reports: What they report; a job's last reports are written before its outcome.
        recorder: Told of each outcome.
        tell: Tells the observers.
        wake: Called when one has ended, or when a queue may have work.

    Attributes:
        runs: Those that run, by attempt.
        ended: Those that are not settled yet, and how they ended.
        under_way: The calls that wait for an answer.
        closed: Nothing begins any more; what a claim still gives is handed back.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        slots: Slots,
        executor: Executor,
        send: Send,
        reports: Reports,
        recorder: Recorder,
        tell: Callable[[Event], None],
        wake: Callable[[], None],
    ) -> None:
        self._name, self._config, self._slots, self._executor = name, config, slots, executor
        self._send, self._reports, self._recorder = send, reports, recorder
        self._tell, self._wake = tell, wake
        self._lease = config.worker.lease.total_seconds()
        self.runs: dict[str, Run] = {}
        self.ended: list[tuple[Run, Settlement]] = []
        self.under_way: set[asyncio.Task[None]] = set()
        self.closed = False

    @property
    def idle(self) -> bool:
        """Whether there is no job and no call under way."""
        return not (self.runs or self.ended or self.under_way)

    async def begin(self) -> bool:
        """Begin a turn beside those under way; False when there is no need of one, or no room for it."""
        self.under_way = {turn for turn in self.under_way if not turn.done()}
        wants = self._slots.wants()
        if not (self.ended or wants) or len(self.under_way) >= _AT_ONCE:
            return False
        turn = asyncio.create_task(self.take(wants))
        turn.add_done_callback(lambda _: self._wake())
        self.under_way.add(turn)
        await asyncio.sleep(0)  # it takes what it settles and reserves what it claims
        return True

    async def take(self, wants: Mapping[str, int]) -> None:
        """One turn: settle what ended, and claim so many jobs by queue."""
        batch, self.ended = self.ended[:TURN], self.ended[TURN:]
        if batch and wants and self._slots.limits.keys().isdisjoint(wants):
            # First what empty places wait for; with a limit, what ended makes room for it.
            try:
                await self.claim(wants, self._send)
            except BaseException:
                self.ended[:0] = batch
                raise
            wants = {}
        await self._exchange(batch, wants, self._send)

    async def claim(self, wants: Mapping[str, int], send: Send) -> None:
        """Claim so many jobs by queue, by a call sent in this way, and start them."""
        await self._exchange([], wants, send)

    async def _exchange(
        self, batch: list[tuple[Run, Settlement]], wants: Mapping[str, int], send: Send
    ) -> None:
        # Whoever can take the place of a job that ended has to be woken, also when we want none ourselves.
        ended = {run.claimed.queue for run, _ in batch} & self._slots.limits.keys()
        self._slots.reserve(wants)
        call = moves.turn(
            self._name,
            [settlement for _, settlement in batch],
            {**dict.fromkeys(ended, 0), **wants},
            limits=self._slots.limits,
            lease=self._config.worker.lease,
            largest=2 * self._config.limits.payload_bytes,
        )
        began = time.monotonic()
        try:
            if reporting := [run for run, _ in batch if run.has_reports]:
                await self._reports.write(reporting)
            turn: values.Turn = await send(call)
        except BaseException:
            self.ended[:0] = batch
            self._slots.asked(wants, wants)
            raise
        # After so long somebody else may have these jobs, or know that nothing of a paused queue starts.
        late = time.monotonic() - began > self._lease
        self._slots.asked(wants, turn.left)
        for claimed in turn.jobs:
            self._start(Run(claimed, log_lines=self._config.limits.log_lines), late=late)
        for queue, wait in turn.later.items():
            self._slots.ask_later(queue, wait, self._wake)
        tell_set_aside(turn.set_aside, self._tell)
        tell_dropped(turn.dropped, self._tell)
        refused = set(turn.refused)
        accepted = [item for item in batch if item[0].claimed.id not in refused] if refused else batch
        self._recorder.settled(accepted)
        for run, settlement in batch:
            tell_settled(run, settlement, stale=run.claimed.id in refused, tell=self._tell)

    def _start(self, run: Run, *, late: bool) -> None:
        if late or self.closed:  # claimed by a call that was under way: back, nothing has begun
            self.ended.append((run, Settlement("return", run.claimed)))
            return
        self.runs[run.key] = run
        self._slots.take(run.claimed.queue)
        run.task = asyncio.create_task(self._executor.run(run))
        run.task.add_done_callback(lambda task: self._finish(run, task))

    def _finish(self, run: Run, task: asyncio.Task[Settlement]) -> None:
        if self.runs.pop(run.key, None) is None:
            return  # handed back meanwhile
        settlement = handed_back(run) if task.cancelled() else task.result()
        if run.cancelled and settlement.kind != "completed":
            settlement = attrs.evolve(settlement, kind="cancelled")
        self._slots.give(run.claimed.queue)
        self.ended.append((run, settlement))
        self._wake()

    def hand_back(self) -> None:
        """Give up the jobs that run; their attempts are not counted."""
        for run in list(self.runs.values()):
            self.ended.append((run, handed_back(run)))
            run.take_away()
        self.runs.clear()

    def cancel(self, attempts: frozenset[tuple[str, str]]) -> None:
        """Somebody wants these (id, token) cancelled."""
        for run in self._those(attempts):
            run.cancelled = True
            run.take_away()

    def lose(self, attempts: frozenset[tuple[str, str]]) -> None:
        """These (id, token) are another worker's now."""
        for run in self._those(attempts):
            run.take_away()

    def _those(self, attempts: frozenset[tuple[str, str]]) -> list[Run]:
        return [run for run in self.runs.values() if (run.claimed.id, run.claimed.token) in attempts]

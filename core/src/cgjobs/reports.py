"""What running jobs report, written now and then: progress, checkpoints and log lines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import attrs
import orjson

from cgjobs.broker import Call, Send, moves
from cgjobs.event import Event
from cgjobs.model import Progress
from cgjobs.running import Run


@attrs.frozen
class _Taken:
    """What was taken from one run to be written."""

    run: Run
    progress: Progress | None
    checkpoint: bytes | None
    before: int
    lines: list[str]

    def put_back(self) -> None:
        """Leave to the next write what this one could not do, unless there is something newer."""
        if self.run.report is None:
            self.run.report = self.progress
        if self.run.unsaved is None:
            self.run.unsaved = self.checkpoint
        if self.run.lines is not None and self.lines:
            self.run.lines.put_back(self.before, self.lines)


class Reports:
    """Writes what running jobs report, in one round trip for all of them; jobs that report nothing cost
    nothing.

    Args:
        send: The way to the broker.
        tell: Told of progress.
        log_lines: So many lines are kept with a job.
    """

    def __init__(self, send: Send, tell: Callable[[Event], None], log_lines: int) -> None:
        self._send, self._tell, self._log_lines = send, tell, log_lines
        self._one_at_a_time = asyncio.Lock()  # or an older checkpoint could be written over a newer one

    async def write_regularly(self, runs: Callable[[], Sequence[Run]], interval: timedelta) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(interval.total_seconds())
            await self.write(runs())

    async def write(self, runs: Sequence[Run]) -> None:
        """Write what these jobs reported since it was last written."""
        if not any(run.has_reports for run in runs):
            return
        async with self._one_at_a_time:
            taken = [_take(run) for run in runs if run.has_reports]
            try:
                await self._write(taken)
            except BaseException:
                for item in taken:
                    item.put_back()
                raise
            finally:
                for item in taken:
                    item.run.being_written = False
        for item in taken:
            if item.progress is not None:
                self._tell(_told(item.run, item.progress))

    async def _write(self, taken: Sequence[_Taken]) -> None:
        attempts = [(item, item.run.claimed.id, item.run.claimed.token) for item in taken]
        progress = [(job_id, token, _meta(i.progress)) for i, job_id, token in attempts if i.progress]
        values = [(job_id, token, i.checkpoint) for i, job_id, token in attempts if i.checkpoint is not None]
        lines = [(job_id, token, i.before, i.lines) for i, job_id, token in attempts if i.lines]
        calls = []
        if values:
            calls.append(moves.checkpoint(values))
        if progress:
            calls.append(moves.progress(progress))
        if lines:
            calls.append(moves.log(self._log_lines, lines))
        if calls:
            await self._send(Call(tuple(call.commands[0] for call in calls), lambda _: None))


def _take(run: Run) -> _Taken:
    run.being_written = True  # its end is not settled before that is done
    progress, run.report = run.report, None
    checkpoint, run.unsaved = run.unsaved, None
    before, lines = (0, []) if run.lines is None else run.lines.take()
    return _Taken(run, progress, checkpoint, before, lines)


def _meta(report: Progress) -> bytes:
    return orjson.dumps({"progress": {"done": report.done, "total": report.total, "message": report.message}})


def _told(run: Run, report: Progress) -> Event:
    job = run.claimed
    far = f"{report.done:g}" if report.total is None else f"{report.done:g} of {report.total:g}"
    detail = f"{far} {report.message}".rstrip()
    attempt = job.retries_made + 1
    return Event("job_progress", job.queue, job.id, run.subtype, run.correlation_id, attempt, detail=detail)

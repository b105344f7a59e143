"""Handles to one queue: look at its jobs, move them, hold it."""

from __future__ import annotations

from datetime import datetime, timedelta

from cgjobs.broker import AsyncSender, Sender
from cgjobs.broker.search import Filter
from cgjobs.listing import find_jobs
from cgjobs.model import Job, JobState, LogLine, QueueStats
from cgjobs.operations import Operations


class Queue:
    """One queue of a `Client`: look at its jobs, move them, hold it."""

    def __init__(self, name: str, operations: Operations, sender: Sender) -> None:
        self.name, self._operations, self._run = name, operations, sender.run

    def get(self, job_id: str) -> Job:
        """The job; raises `JobNotFound`."""
        return self._run(self._operations.get(job_id, self.name))

    def find(self, job_id: str) -> Job | None:
        """The job, or None."""
        return self._run(self._operations.find(job_id, self.name))

    def jobs(
        self,
        state: JobState,
        *,
        offset: int = 0,
        limit: int = 50,
        name: str | None = None,
        tag: str | None = None,
        since: datetime | None = None,
    ) -> list[Job]:
        """Jobs in one state: in the order in which they run, or the newest first when they have ended.

        Args:
            state: Their state.
            offset: Leave out so many first.
            limit: At most this many.
            name: Only those of this subtype.
            tag: Only those with this tag.
            since: Only those created at this time (aware) or later. With one of these all jobs in the state
                are looked at, 500 in a call, until ``limit`` are found; jobs that move may be missed.
        """
        wanted = Filter(name, tag, since)
        return self._run(find_jobs(self._operations, self.name, state, wanted, offset, limit))

    def log(self, job_id: str) -> tuple[LogLine, ...]:
        """What the job's handler logged in all its attempts, oldest first; raises `JobNotFound`.

        The last ``limits.log_lines`` are kept as long as the job is.
        """
        return self._run(self._operations.log(job_id, self.name))

    def remove(self, job_id: str) -> None:
        """Take a job out; raises `JobNotFound`, or `JobStateError` when it runs."""
        self._run(self._operations.remove(job_id, self.name))

    def retry(self, job_id: str) -> Job:
        """Give an ended job all its attempts again; raises `JobNotFound`, `JobStateError`."""
        return self._run(self._operations.retry(job_id, self.name))

    def cancel(self, job_id: str) -> JobState:
        """End a job on purpose; raises `JobNotFound`, or `JobStateError` when it has ended.

        A job that waits ends at once. A running one is told within a second: an ``async def`` handler is
        cancelled, a ``def`` handler meets `JobCancelled` at its next ``ctx.progress``. One that completes all
        the same has completed.

        Returns:
            The state it was in.
        """
        return self._run(self._operations.cancel(job_id, self.name))

    def pause(self, *, timeout: timedelta | None = None, drain: timedelta | None = None) -> bool:
        """Hold the queue; nothing of it starts once this has returned. Gives whether that changed something.

        Waits for workers that run jobs of the queue to say they know: `Operations.pause` says how long.
        In an ``async def`` handler use `AsyncClient`: its own worker cannot answer while this blocks.

        Raises:
            WaitTimeout: The queue is paused, but what was waited for was not so in time.
        """
        return self._run(self._operations.pause(self.name, timeout=timeout, drain=drain))

    def resume(self) -> bool:
        """Let the queue go on. Gives whether that changed something."""
        return self._run(self._operations.resume(self.name))

    def drain(self, *, delayed: bool = False) -> int:
        """Remove all waiting jobs, the delayed ones too when asked; gives how many."""
        return self._run(self._operations.drain(self.name, delayed=delayed))

    def stats(self) -> QueueStats:
        """The queue's six numbers, all at one moment."""
        return self._run(self._operations.stats([self.name]))[self.name]


class AsyncQueue:
    """One queue of an `AsyncClient`; its methods are those of `Queue`, awaited."""

    def __init__(self, name: str, operations: Operations, sender: AsyncSender) -> None:
        self.name, self._operations, self._run = name, operations, sender.run

    async def get(self, job_id: str) -> Job:
        """The job; raises `JobNotFound`."""
        return await self._run(self._operations.get(job_id, self.name))

    async def find(self, job_id: str) -> Job | None:
        """The job, or None."""
        return await self._run(self._operations.find(job_id, self.name))

    async def jobs(
        self,
        state: JobState,
        *,
        offset: int = 0,
        limit: int = 50,
        name: str | None = None,
        tag: str | None = None,
        since: datetime | None = None,
    ) -> list[Job]:
        """Jobs in one state, like `Queue.jobs`."""
        wanted = Filter(name, tag, since)
        return await self._run(find_jobs(self._operations, self.name, state, wanted, offset, limit))

    async def log(self, job_id: str) -> tuple[LogLine, ...]:
        """What the job's handler logged, like `Queue.log`."""
        return await self._run(self._operations.log(job_id, self.name))

    async def remove(self, job_id: str) -> None:
        """Take a job out, like `Queue.remove`."""
        await self._run(self._operations.remove(job_id, self.name))

    async def retry(self, job_id: str) -> Job:
        """Give an ended job all its attempts again, like `Queue.retry`."""
        return await self._run(self._operations.retry(job_id, self.name))

    async def cancel(self, job_id: str) -> JobState:
        """End a job on purpose, like `Queue.cancel`."""
        return await self._run(self._operations.cancel(job_id, self.name))

    async def pause(self, *, timeout: timedelta | None = None, drain: timedelta | None = None) -> bool:
        """Hold the queue, like `Queue.pause`."""
        return await self._run(self._operations.pause(self.name, timeout=timeout, drain=drain))

    async def resume(self) -> bool:
        """Let the queue go on, like `Queue.resume`."""
        return await self._run(self._operations.resume(self.name))

    async def drain(self, *, delayed: bool = False) -> int:
        """Remove all waiting jobs, like `Queue.drain`."""
        return await self._run(self._operations.drain(self.name, delayed=delayed))

    async def stats(self) -> QueueStats:
        """The queue's six numbers."""
        return (await self._run(self._operations.stats([self.name])))[self.name]

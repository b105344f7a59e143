"""Handles to one queue: look at its jobs, move them, hold it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Unpack

from cgjobs.broker import AsyncSender, Sender
from cgjobs.bulk import USUAL, BulkResult, move_all
from cgjobs.listing import Which, filter_of, find_jobs
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
        **which: Unpack[Which],
    ) -> list[Job]:
        """Jobs in one state: in the order in which they run, or the newest first when they have ended.

        Args:
            state: Their state.
            offset: Leave out so many first.
            limit: At most this many.
            which: Only those with this ``name`` of their subtype, ``tag``, ``error`` or ``error_type``;
                created ``since`` and ``until``, ended ``ended_since`` and ``ended_until`` (aware times).
                `cgjobs.broker.search.Filter` says more of each. With one of these all jobs in the state are
                looked at, 500 in a call, until ``limit`` are found; jobs that move may be missed.
        """
        wanted = filter_of(which)
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

    def retry_all(
        self,
        *,
        states: Iterable[JobState] = USUAL["retry"],
        limit: int | None = None,
        dry_run: bool = False,
        include_unknown: bool = False,
        **which: Unpack[Which],
    ) -> BulkResult:
        """Give all ended jobs that are wanted all their attempts again, in the order in which they ended.

        All are found first, then moved 150 in a call: what ends midway has moved a part of them.

        Args:
            states: Those in these: failed, completed, cancelled.
            limit: At most this many: those that ended last.
            dry_run: Only say how many they are, with five of them.
            include_unknown: Also those that may not run twice and of which nobody knows what they did.
            which: As in `jobs`; without any, all jobs in these states.

        Raises:
            InvalidOption: No job in such a state can be retried, ``limit`` is below 1, or a time has no zone.
        """
        return self._run(
            move_all(
                self._operations,
                "retry",
                self.name,
                states,
                which,
                limit=limit,
                dry_run=dry_run,
                include_unknown=include_unknown,
            )
        )

    def cancel_all(
        self,
        *,
        states: Iterable[JobState] = USUAL["cancel"],
        limit: int | None = None,
        dry_run: bool = False,
        **which: Unpack[Which],
    ) -> BulkResult:
        """End all jobs that are wanted on purpose; running ones only when ``states`` says so.

        Arguments and errors are those of `retry_all`.
        """
        steps = move_all(self._operations, "cancel", self.name, states, which, limit=limit, dry_run=dry_run)
        return self._run(steps)

    def remove_all(
        self,
        *,
        states: Iterable[JobState],
        limit: int | None = None,
        dry_run: bool = False,
        **which: Unpack[Which],
    ) -> BulkResult:
        """Take out all jobs that are wanted, in any states but active; arguments are those of `retry_all`."""
        steps = move_all(self._operations, "remove", self.name, states, which, limit=limit, dry_run=dry_run)
        return self._run(steps)

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
        **which: Unpack[Which],
    ) -> list[Job]:
        """Jobs in one state, like `Queue.jobs`."""
        wanted = filter_of(which)
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

    async def retry_all(
        self,
        *,
        states: Iterable[JobState] = USUAL["retry"],
        limit: int | None = None,
        dry_run: bool = False,
        include_unknown: bool = False,
        **which: Unpack[Which],
    ) -> BulkResult:
        """Retry all ended jobs that are wanted, like `Queue.retry_all`."""
        return await self._run(
            move_all(
                self._operations,
                "retry",
                self.name,
                states,
                which,
                limit=limit,
                dry_run=dry_run,
                include_unknown=include_unknown,
            )
        )

    async def cancel_all(
        self,
        *,
        states: Iterable[JobState] = USUAL["cancel"],
        limit: int | None = None,
        dry_run: bool = False,
        **which: Unpack[Which],
    ) -> BulkResult:
        """Cancel all jobs that are wanted, like `Queue.cancel_all`."""
        steps = move_all(self._operations, "cancel", self.name, states, which, limit=limit, dry_run=dry_run)
        return await self._run(steps)

    async def remove_all(
        self,
        *,
        states: Iterable[JobState],
        limit: int | None = None,
        dry_run: bool = False,
        **which: Unpack[Which],
    ) -> BulkResult:
        """Remove all jobs that are wanted, like `Queue.remove_all`."""
        steps = move_all(self._operations, "remove", self.name, states, which, limit=limit, dry_run=dry_run)
        return await self._run(steps)

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

"""The way in for programs: `Client` blocks, `AsyncClient` is awaited; both can do the same with jobs.

::

    client = Client()
    job = client.enqueue(Email(user_id="01J...", message="Hi"), delay=timedelta(minutes=5))
    client.queue("notification").stats().waiting
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, Unpack

import attrs

from cgjobs import loading, plugins
from cgjobs.broker import AsyncSender, Sender
from cgjobs.broker.search import Filter
from cgjobs.codec import Codec
from cgjobs.config import Config
from cgjobs.model import Backoff, Job, JobState, Keep, Priority, QueueStats, WorkerInfo
from cgjobs.operations import Operations, queue_config
from cgjobs.options import JobOptions, UniqueUntil
from cgjobs.plugins import Registry

DEFAULT_WAIT = timedelta(seconds=60)


class Options(TypedDict, total=False):
    """The keyword options of ``enqueue``; `cgjobs.options.JobOptions` explains each."""

    delay: timedelta | None
    at: datetime | None
    priority: Priority | Literal["critical", "high", "normal", "low"]
    attempts: int | None
    backoff: Backoff | None
    timeout: timedelta | None
    job_id: str | None
    correlation_id: str | None
    expires: timedelta | datetime | None
    unique: str | Literal[False] | None
    unique_until: UniqueUntil | None
    throttle: timedelta | None
    debounce: timedelta | None
    debounce_at_most: timedelta | None
    tags: Sequence[str]
    keep_completed: timedelta | Keep | None
    keep_failed: timedelta | Keep | None


def _operations(config: Config | None, registry: Registry | None) -> Operations:
    config = loading.load() if config is None else config
    if registry is None:
        # Who enqueues needs no settings of the plugins: an SMTP password stays with the workers.
        registry = plugins.load(block=config.plugins.block, read_settings=lambda name, cls: None)
    return Operations(config, registry, Codec(config.limits))


class Client:
    """Enqueues and manages jobs; safe to share between threads. Connects at its first call.

    Args:
        config: The configuration; None reads ``cgjobs.toml`` and the environment.
        registry: The plugins; None loads the installed ones, without their settings.

    Every method that talks to the broker raises `BrokerUnavailable` within two seconds
    (``redis.timeout``) when it is away.
    """

    def __init__(self, config: Config | None = None, registry: Registry | None = None) -> None:
        self.operations = _operations(config, registry)
        self._sender = Sender(self.operations.config.redis)

    def enqueue(self, payload: attrs.AttrsInstance, **options: Unpack[Options]) -> Job:
        """Enqueue one job.

        Args:
            payload: An instance of a subtype's payload class.
            options: See `cgjobs.options.JobOptions`.

        Returns:
            The job; with ``duplicate=True`` when ``job_id`` or the unique key was taken, and then the job
            that has it (with ``debounce``: and has the payload now).

        Raises:
            InvalidPayload: Fields are wrong; lists all of them.
            InvalidOption: Options are wrong; lists all of them.
            SubtypeNotFound: No plugin has a handler for the payload's class.
            BrokerUnavailable: No acknowledgement in time; the job may or may not have been added.
        """
        return self.enqueue_many([payload], **options)[0]

    def enqueue_data(self, name: str, data: Mapping[str, Any], **options: Unpack[Options]) -> Job:
        """Enqueue one job by the full name of its subtype and the wire form of its payload.

        Raises:
            ProcessorNotFound, SubtypeNotFound: Nothing has this name.
        """
        prepared = self.operations.new_job_from_data(name, data, JobOptions(**options))
        return self._sender.run(self.operations.enqueue([prepared]))[0]

    def enqueue_many(
        self,
        payloads: Iterable[attrs.AttrsInstance],
        *,
        spread: timedelta | None = None,
        **options: Unpack[Options],
    ) -> list[Job]:
        """Enqueue many jobs with the same options, 500 in one call; all are checked before one is sent.

        Args:
            payloads: Instances of payload classes.
            spread: Make them due evenly over this time, by the broker's clock, the first one at once.
            options: See `cgjobs.options.JobOptions`.

        Raises:
            InvalidPayload, InvalidOption, SubtypeNotFound: As `enqueue` does; nothing was enqueued.
            BrokerUnavailable: No acknowledgement in time; any number of them may have been added.
        """
        prepared = self.operations.new_jobs(payloads, JobOptions(**options), spread)
        return self._sender.run(self.operations.enqueue(prepared))

    def queue(self, name: str) -> Queue:
        """A handle to a queue; raises `QueueNotFound` when no configuration and no plugin knows it."""
        return Queue(queue_config(self.operations.config, self.operations.registry, name).name, self)

    def queues(self) -> dict[str, QueueStats]:
        """The numbers of all queues, by name."""
        names = self._sender.run(self.operations.queue_names())
        return self._sender.run(self.operations.stats(names))

    def workers(self) -> list[WorkerInfo]:
        """The workers that are alive."""
        return self._sender.run(self.operations.workers())

    def get(self, job_id: str) -> Job:
        """The job with this id, whatever its queue; raises `JobNotFound`."""
        return self._sender.run(self.operations.get(job_id))

    def wait(self, job: Job | str, timeout: timedelta = DEFAULT_WAIT) -> Any:
        """Wait for a job's end; gives its result in wire form.

        Raises:
            JobFailed: It failed or was cancelled.
            JobNotFound: It is unknown: never enqueued, removed, or it ended too long ago.
            WaitTimeout: It has not ended in time; it goes on.
        """
        job_id = job if isinstance(job, str) else job.id
        return self._sender.run(self.operations.wait(job_id, timeout))

    def load_functions(self) -> str:
        """Load this release's functions into the broker (``cgjobs setup``); gives the server's version."""
        return self._sender.load_functions()

    def close(self) -> None:
        """Close all connections."""
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Queue:
    """One queue of a `Client`: look at its jobs, move them, hold it."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self._operations = client.operations
        self._run = client._sender.run

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
        return self._run(self._operations.find_jobs(self.name, state, wanted, offset, limit))

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

    def pause(self) -> bool:
        """Hold the queue; nothing starts once this has returned. Gives whether that changed something."""
        return self._run(self._operations.pause(self.name))

    def resume(self) -> bool:
        """Let the queue go on. Gives whether that changed something."""
        return self._run(self._operations.resume(self.name))

    def drain(self, *, delayed: bool = False) -> int:
        """Remove all waiting jobs, the delayed ones too when asked; gives how many."""
        return self._run(self._operations.drain(self.name, delayed=delayed))

    def stats(self) -> QueueStats:
        """The queue's six numbers, all at one moment."""
        return self._run(self._operations.stats([self.name]))[self.name]


class AsyncClient:
    """`Client` for asyncio: the same methods but `load_functions`, awaited. Belongs to one event loop."""

    def __init__(self, config: Config | None = None, registry: Registry | None = None) -> None:
        self.operations = _operations(config, registry)
        self._sender = AsyncSender(self.operations.config.redis)

    async def enqueue(self, payload: attrs.AttrsInstance, **options: Unpack[Options]) -> Job:
        """Enqueue one job, like `Client.enqueue`."""
        return (await self.enqueue_many([payload], **options))[0]

    async def enqueue_data(self, name: str, data: Mapping[str, Any], **options: Unpack[Options]) -> Job:
        """Enqueue one job by name, like `Client.enqueue_data`."""
        prepared = self.operations.new_job_from_data(name, data, JobOptions(**options))
        return (await self._sender.run(self.operations.enqueue([prepared])))[0]

    async def enqueue_many(
        self,
        payloads: Iterable[attrs.AttrsInstance],
        *,
        spread: timedelta | None = None,
        **options: Unpack[Options],
    ) -> list[Job]:
        """Enqueue many jobs, like `Client.enqueue_many`."""
        prepared = self.operations.new_jobs(payloads, JobOptions(**options), spread)
        return await self._sender.run(self.operations.enqueue(prepared))

    def queue(self, name: str) -> AsyncQueue:
        """A handle to a queue; raises `QueueNotFound`."""
        return AsyncQueue(queue_config(self.operations.config, self.operations.registry, name).name, self)

    async def queues(self) -> dict[str, QueueStats]:
        """The numbers of all queues, by name."""
        names = await self._sender.run(self.operations.queue_names())
        return await self._sender.run(self.operations.stats(names))

    async def workers(self) -> list[WorkerInfo]:
        """The workers that are alive."""
        return await self._sender.run(self.operations.workers())

    async def get(self, job_id: str) -> Job:
        """The job with this id; raises `JobNotFound`."""
        return await self._sender.run(self.operations.get(job_id))

    async def wait(self, job: Job | str, timeout: timedelta = DEFAULT_WAIT) -> Any:
        """Wait for a job's end, like `Client.wait`."""
        job_id = job if isinstance(job, str) else job.id
        return await self._sender.run(self.operations.wait(job_id, timeout))

    async def close(self) -> None:
        """Close all connections."""
        await self._sender.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncQueue:
    """One queue of an `AsyncClient`; its methods are those of `Queue`, awaited."""

    def __init__(self, name: str, client: AsyncClient) -> None:
        self.name = name
        self._operations = client.operations
        self._run = client._sender.run

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
        return await self._run(self._operations.find_jobs(self.name, state, wanted, offset, limit))

    async def remove(self, job_id: str) -> None:
        """Take a job out, like `Queue.remove`."""
        await self._run(self._operations.remove(job_id, self.name))

    async def retry(self, job_id: str) -> Job:
        """Give an ended job all its attempts again, like `Queue.retry`."""
        return await self._run(self._operations.retry(job_id, self.name))

    async def cancel(self, job_id: str) -> JobState:
        """End a job on purpose, like `Queue.cancel`."""
        return await self._run(self._operations.cancel(job_id, self.name))

    async def pause(self) -> bool:
        """Hold the queue, like `Queue.pause`."""
        return await self._run(self._operations.pause(self.name))

    async def resume(self) -> bool:
        """Let the queue go on, like `Queue.resume`."""
        return await self._run(self._operations.resume(self.name))

    async def drain(self, *, delayed: bool = False) -> int:
        """Remove all waiting jobs, like `Queue.drain`."""
        return await self._run(self._operations.drain(self.name, delayed=delayed))

    async def stats(self) -> QueueStats:
        """The queue's six numbers."""
        return (await self._run(self._operations.stats([self.name])))[self.name]

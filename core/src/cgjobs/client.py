"""The way in for programs: `Client` blocks, `AsyncClient` is awaited; both can do the same with jobs.

::

    client = Client()
    job = client.enqueue(Email(user_id="01J...", message="Hi"), delay=timedelta(minutes=5))
    client.queue("notification").stats().waiting
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, Unpack

import attrs

from cgjobs import loading, plugins
from cgjobs.batch import AsyncBatch, Batch
from cgjobs.broker import AsyncSender, Sender
from cgjobs.codec import Codec
from cgjobs.config import Config
from cgjobs.flow import Flow, enqueue_batch, enqueue_flow
from cgjobs.history import History, read_history
from cgjobs.model import Backoff, Job, Keep, Priority, QueueStats, WorkerInfo
from cgjobs.operations import Operations
from cgjobs.options import PLAIN, JobOptions, UniqueUntil
from cgjobs.plugins import Registry
from cgjobs.queue import AsyncQueue, Queue

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
    limit_key: str | None
    unique: str | Literal[False] | None
    unique_until: UniqueUntil | None
    throttle: timedelta | None
    debounce: timedelta | None
    debounce_at_most: timedelta | None
    tags: Sequence[str]
    depends_on: Sequence[Job | str]
    on_dependency_failure: Literal["fail", "ignore"]
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
            DependencyNotFound: It depends on an id that no job has.
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
        prepared = self.operations.new_jobs(payloads, JobOptions(**options) if options else PLAIN, spread)
        return self._sender.run(self.operations.enqueue(prepared))

    def enqueue_flow(self, flow: Flow) -> Job:
        """Enqueue a tree of jobs, all or none, in one call; a parent runs when its children have completed.

        Returns:
            The job at the root; its ``depends_on`` has the ids of its children.

        Raises:
            InvalidOption: An option is wrong, or there are more than 500 jobs.
            InvalidPayload, SubtypeNotFound, BrokerUnavailable: As `enqueue` does.
        """
        return self._sender.run(enqueue_flow(self.operations, flow))

    def enqueue_batch(
        self,
        payloads: Iterable[attrs.AttrsInstance],
        *,
        on_done: attrs.AttrsInstance,
        batch_id: str | None = None,
        **options: Unpack[Options],
    ) -> Batch:
        """Enqueue up to 10,000 jobs and one that runs when all of them have ended, in whatever way.

        Args:
            payloads: Of the jobs. They are added 500 in one call, and begin before all are there.
            on_done: Of the callback.
            batch_id: Its id, also the callback's, at most 123 characters. The same batch given again with the
                same id adds what is missing: that is how to go on after a crash midway.
            options: Of the jobs; not ``job_id`` and ``unique``.

        Raises:
            InvalidPayload, InvalidOption, SubtypeNotFound: As `enqueue` does; nothing was enqueued.
            BrokerUnavailable: No acknowledgement in time; the callback waits for what was not added.
        """
        steps = enqueue_batch(self.operations, payloads, on_done, batch_id, JobOptions(**options))
        return self.batch(self._sender.run(steps))

    def batch(self, batch_id: str) -> Batch:
        """A handle to a batch."""
        return Batch(batch_id, self.operations, self._sender.run)

    def queue(self, name: str) -> Queue:
        """A handle to a queue; raises `QueueNotFound` when no configuration and no plugin knows it."""
        return Queue(self.operations.queue_name(name), self.operations, self._sender)

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

    def history(self, since: datetime, until: datetime | None = None, queue: str | None = None) -> History:
        """What happened in each hour: how many jobs of each name, how long they waited and ran, what failed.

        Args:
            since: From the hour of this time (aware); `cgjobs.Config` says how long hours are kept.
            until: Up to the end of the hour of this time; None: until now.
            queue: Only of this queue.

        Raises:
            InvalidOption: A time has no zone, or ``until`` is before ``since``.
        """
        return self._sender.run(read_history(since, until or datetime.now(UTC), queue))

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
        prepared = self.operations.new_jobs(payloads, JobOptions(**options) if options else PLAIN, spread)
        return await self._sender.run(self.operations.enqueue(prepared))

    async def enqueue_flow(self, flow: Flow) -> Job:
        """Enqueue a tree of jobs, like `Client.enqueue_flow`."""
        return await self._sender.run(enqueue_flow(self.operations, flow))

    async def enqueue_batch(
        self,
        payloads: Iterable[attrs.AttrsInstance],
        *,
        on_done: attrs.AttrsInstance,
        batch_id: str | None = None,
        **options: Unpack[Options],
    ) -> AsyncBatch:
        """Enqueue jobs and their callback, like `Client.enqueue_batch`."""
        steps = enqueue_batch(self.operations, payloads, on_done, batch_id, JobOptions(**options))
        return self.batch(await self._sender.run(steps))

    def batch(self, batch_id: str) -> AsyncBatch:
        """A handle to a batch."""
        return AsyncBatch(batch_id, self.operations, self._sender.run)

    def queue(self, name: str) -> AsyncQueue:
        """A handle to a queue; raises `QueueNotFound`."""
        return AsyncQueue(self.operations.queue_name(name), self.operations, self._sender)

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

    async def history(
        self, since: datetime, until: datetime | None = None, queue: str | None = None
    ) -> History:
        """What happened in each hour, like `Client.history`."""
        return await self._sender.run(read_history(since, until or datetime.now(UTC), queue))

    async def close(self) -> None:
        """Close all connections."""
        await self._sender.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

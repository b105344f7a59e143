"""What a client can do, each as steps that the blocking and the asynchronous client carry out alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs

from cgjobs import pausing
from cgjobs.broker import Ahead, Steps, lines, moves, operators, pages, reads, values
from cgjobs.broker.values import NewJob
from cgjobs.codec import Codec
from cgjobs.config import MEMORY_SHARE, Config
from cgjobs.duration import format_duration
from cgjobs.errors import (
    BrokerFull,
    CgjobsError,
    Fault,
    InvalidOption,
    JobFailed,
    JobNotFound,
    QueueFull,
    WaitTimeout,
)
from cgjobs.event import Event
from cgjobs.model import Job, JobState, LogLine, QueueStats, WorkerInfo
from cgjobs.options import PLAIN, JobOptions
from cgjobs.plugins import Registry
from cgjobs.preparation import Preparation, queue_config
from cgjobs.spread import spread_out

BATCH = 500
"""Most jobs in one call: the broker serves nobody else meanwhile."""
_BATCH_BYTES = 1024 * 1024  # most of their data; a job that has more goes alone
_TICK = timedelta(seconds=1)  # a waiter looks this often even when it was told nothing


def batches(prepared: Sequence[tuple[NewJob, Job]]) -> Iterator[Sequence[tuple[NewJob, Job]]]:
    """Jobs in parts that one call may have: at most 500, of at most 1 MiB unless it is a single one."""
    start = size = 0
    for at, (new, _) in enumerate(prepared):
        size += len(new.data)
        if at > start and (at - start == BATCH or size > _BATCH_BYTES):
            yield prepared[start:at]
            start, size = at, len(new.data)
    if start < len(prepared):
        yield prepared[start:]


@attrs.frozen
class Operations:
    """The operations over one configuration and registry.

    Args:
        config: The configuration.
        registry: The plugins.
        codec: Payloads to the wire and back.
        clock: Seconds that only grow.
    """

    config: Config
    registry: Registry
    codec: Codec
    clock: Callable[[], float] = time.monotonic
    _plain: Preparation = attrs.field(init=False, repr=False, eq=False)
    _max_lengths: dict[str, int | None] = attrs.field(init=False, repr=False, eq=False, factory=dict)

    @_plain.default
    def _prepares_plain(self) -> Preparation:
        return Preparation(self.config, self.registry, self.codec, PLAIN)

    def new_job(self, payload: object, options: JobOptions) -> tuple[NewJob, Job]:
        """A payload checked and made ready to be enqueued, and the job as it will be."""
        return self._preparation(options).prepare(payload)

    def new_jobs(
        self, payloads: Iterable[object], options: JobOptions, spread: timedelta | None = None
    ) -> list[tuple[NewJob, Job]]:
        """The same for many with the same options, due evenly over ``spread``.

        Raises:
            InvalidOption: They would share an id, or ``spread`` is out of range or comes with ``debounce``.
        """
        prepare = self._preparation(options).prepare
        prepared = [prepare(payload) for payload in payloads]
        if spread is not None:
            prepared = spread_out(prepared, spread)
        if options.job_id is not None and len(prepared) > 1:
            fault = Fault("jobId", f"{len(prepared)} jobs cannot have one id; enqueue them one by one")
            raise InvalidOption("the job's options", [fault])
        return prepared

    def new_job_from_data(
        self, name: str, data: Mapping[str, Any], options: JobOptions
    ) -> tuple[NewJob, Job]:
        """The same from the wire form of a payload."""
        subtype = self.registry.subtype(name)
        return self.new_job(self.codec.load(subtype, data), options)

    def _preparation(self, options: JobOptions) -> Preparation:
        if options is PLAIN:
            return self._plain
        return Preparation(self.config, self.registry, self.codec, options)

    def enqueue(self, prepared: Sequence[tuple[NewJob, Job]]) -> Steps[list[Job]]:
        """Add jobs, in `batches`. A taken id adds nothing and gives the job that has it.

        Raises:
            DependencyNotFound: One depends on an id that no job has; nothing of its call was added.
            QueueFull: They are more than may wait; nothing of the call was added.
            BrokerFull: The server's memory is used up; nothing of the call was added.
        """
        jobs: list[Job] = []
        parts = list(batches(prepared))
        limits = self.limits_for({new.queue for new, _ in prepared})
        # Where one may be refused, those after it must not be under way: who enqueues is told what was added.
        together = [parts] if not limits.most else [[part] for part in parts]
        for group in together:
            if len(group) == 1:
                try:
                    answers = [(yield moves.enqueue((new for new, _ in group[0]), limits))]
                except CgjobsError as error:
                    answers = [error]
            else:
                answers = yield Ahead(moves.enqueue((new for new, _ in part), limits) for part in group)
            for part, answer in zip(group, answers, strict=False):
                if isinstance(answer, CgjobsError):
                    raise _with_added(answer, [job.id for job in jobs])
                for (_, job), added in zip(part, answer, strict=True):
                    if added is True:
                        jobs.append(job)
                        self.tell(Event("job_enqueued", job.queue, job.id, job.name, job.correlation_id))
                    else:
                        holder = added or job.id  # of its unique key, or of its id
                        existing = yield reads.job(holder)
                        jobs.append(attrs.evolve(existing or attrs.evolve(job, id=holder), duplicate=True))
        return jobs

    def limits_for(self, queues: Iterable[str]) -> values.ProducerLimits:
        """What an enqueue into these queues must keep to."""
        most = {}
        for name in set(queues):
            if name not in self._max_lengths:
                self._max_lengths[name] = queue_config(self.config, self.registry, name).max_length
            if (length := self._max_lengths[name]) is not None:
                most[name] = length
        share = self.config.limits.memory_share
        return values.ProducerLimits(most, None if share == MEMORY_SHARE else share)

    def find(self, job_id: str, queue: str | None = None) -> Steps[Job | None]:
        """The job, or None when there is none (in this queue)."""
        job: Job | None = yield reads.job(job_id)
        return job if job is not None and queue in (None, job.queue) else None

    def get(self, job_id: str, queue: str | None = None) -> Steps[Job]:
        """The job; raises `JobNotFound`."""
        job = yield from self.find(job_id, queue)
        if job is None:
            hint = "It was never enqueued or removed, or it has ended and is no longer kept."
            raise JobNotFound(job_id, hint=hint)
        return job

    def log(self, job_id: str, queue: str | None = None) -> Steps[tuple[LogLine, ...]]:
        """What the job's handler logged, oldest first; raises `JobNotFound`."""
        yield from self.get(job_id, queue)
        found: tuple[LogLine, ...] = yield lines.log(job_id)
        return found

    def remove(self, job_id: str, queue: str | None = None) -> Steps[None]:
        """Take a job out, unless it runs."""
        if queue is not None:
            yield from self.get(job_id, queue)
        yield operators.remove(job_id)

    def retry(self, job_id: str, queue: str | None = None) -> Steps[Job]:
        """Give an ended job all its attempts again, at once."""
        yield from self.get(job_id, queue)
        yield operators.retry(job_id)
        return (yield from self.get(job_id))

    def cancel(self, job_id: str, queue: str | None = None) -> Steps[JobState]:
        """End a job on purpose; gives the state it was in. A running one is ended by its worker."""
        job = yield from self.get(job_id, queue)
        state: JobState = yield operators.cancel(job_id)
        if state is not JobState.ACTIVE:
            self.tell(Event("job_cancelled", job.queue, job.id, job.name, job.correlation_id))
        return state

    def pause(
        self, queue: str, *, timeout: timedelta | None = None, drain: timedelta | None = None
    ) -> Steps[bool]:
        """Hold a queue, wait until nothing of it can start any more; gives whether that changed something.

        A worker may have just claimed a job of it, so each worker that has any says when it knows, which
        takes a second at most. One that died or froze is not waited for longer than its lease.

        Args:
            queue: Its name.
            timeout: Longest wait for that; None for as long as it can take, zero for no wait.
            drain: Then wait up to this long until its running jobs have ended; None does not.

        Raises:
            WaitTimeout: The queue is paused, but what was waited for was not so in time.
        """
        changed: bool = yield moves.pause(queue)
        if changed:
            self.tell(Event("queue_paused", queue))
        if timeout is None:
            timeout = self.config.worker.lease + self.config.worker.loop_stall
        yield from pausing.until_nothing_starts(queue, timeout, self.clock)
        if drain is not None:
            yield from pausing.until_nothing_runs(queue, drain, self.clock)
        return changed

    def resume(self, queue: str) -> Steps[bool]:
        """Let a queue go on; gives whether that changed something."""
        changed: bool = yield moves.resume(queue)
        if changed:
            self.tell(Event("queue_resumed", queue))
        return changed

    def drain(self, queue: str, *, delayed: bool) -> Steps[int]:
        """Remove all waiting jobs; gives how many. Running ones go on."""
        removed = 0
        while gone := (yield moves.drain(queue, delayed=delayed)):
            removed += gone
        return removed

    def stats(self, queues: Iterable[str]) -> Steps[dict[str, QueueStats]]:
        """The six numbers of each queue, all at one moment."""
        readings: dict[str, reads.QueueReading] = yield reads.stats(queues)
        return {name: reading.stats for name, reading in readings.items()}

    def queue_name(self, name: str) -> str:
        """The name of a queue that is known; raises `QueueNotFound`."""
        return queue_config(self.config, self.registry, name).name

    def queue_names(self) -> Steps[list[str]]:
        """Every queue that is configured, provided by a plugin, or in the broker."""
        found: list[str] = yield reads.queue_names()
        return sorted({*found, *self.config.queues, *self.registry.processors})

    def jobs(self, queue: str, state: JobState, offset: int, limit: int) -> Steps[tuple[list[Job], int]]:
        """A page of a queue's jobs in one state, and how many there are in all.

        Raises:
            InvalidOption: ``offset`` is negative or ``limit`` below 1.
        """
        check_page(offset, limit)
        page: pages.Page = yield pages.page(queue, state, offset, limit)
        if not page.ids:
            return [], page.total
        jobs: list[Job] = yield reads.jobs(page.ids)
        return jobs, page.total

    def workers(self) -> Steps[list[WorkerInfo]]:
        """The workers that are alive."""
        names: list[str] = yield reads.worker_names()
        if not names:
            return []
        found: list[WorkerInfo] = yield reads.workers(names)
        return found

    def wait(self, job_id: str, timeout: timedelta) -> Steps[Any]:
        """The result of a job, once it has ended.

        Raises:
            JobFailed: It failed or was cancelled.
            JobNotFound: It is unknown: never enqueued, removed, or it ended too long ago.
            WaitTimeout: It has not ended in time.
        """
        deadline = self.clock() + timeout.total_seconds()
        cursor: str = yield reads.events_tip()
        while True:
            ending: reads.Ending = yield reads.ending(job_id)
            if ending.job is None and ending.has_result:
                return ending.result
            if ending.job is None:
                return _gone(job_id, (yield reads.recent_events()))
            if ending.job.state is JobState.COMPLETED:
                return ending.result
            if ending.job.state.final:
                errors = ending.job.errors
                reason = errors[-1].error if errors else "no error was kept"
                if ending.job.state is JobState.CANCELLED:
                    reason = "somebody cancelled it"
                raise JobFailed(job_id, ending.job.state, reason)
            while True:
                left = timedelta(seconds=deadline - self.clock())
                if left <= timedelta(0):
                    raise WaitTimeout(
                        f"job {job_id!r} is {ending.job.state} after {format_duration(timeout)}"
                    )
                cursor, events = yield reads.events_after(
                    cursor, min(left, _TICK, self.config.redis.timeout / 2)
                )
                if not events or any(event[2] == job_id for event in events):
                    break

    def tell(self, event: Event) -> None:
        """Tell the observers of this process."""
        self.registry.tell(event)


def check_page(offset: int, limit: int) -> None:
    """Raise `InvalidOption` when it is no page of a list."""
    numbers = (("offset", offset, 0), ("limit", limit, 1))
    if faults := [Fault(name, f"{n} is below {low}") for name, n, low in numbers if n < low]:
        raise InvalidOption("the page", faults)


def _with_added(error: CgjobsError, ids: list[str]) -> CgjobsError:
    match error:
        case QueueFull():
            return QueueFull(error.queue, error.waiting, error.max_length, ids)
        case BrokerFull():
            return BrokerFull(str(error), ids)
    return error


def _gone(job_id: str, events: Iterable[Sequence[str]]) -> None:
    for what, _, subject, _ in events:
        if subject == job_id and what == "completed":
            return
        if subject == job_id and what == "removed":
            raise JobNotFound(job_id, hint="It was removed.")
    raise JobNotFound(job_id, hint="It was never enqueued, or it ended too long ago to be told from that.")

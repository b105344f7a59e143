"""One running job, as its handler sees it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, ParamSpec, TypeVar, overload

import attrs

from cgjobs.broker.dependents import dependency
from cgjobs.broker.reads import time as read_time
from cgjobs.broker.values import Claimed, Settlement
from cgjobs.codec import Envelope
from cgjobs.context import Logger
from cgjobs.model import Dependency, Job, JobState, Priority, Progress
from cgjobs.outcomes import JobCancelled
from cgjobs.resources import Resources

P = ParamSpec("P")
T = TypeVar("T")
_MESSAGE_CHARACTERS = 200


@attrs.define(eq=False)
class Run:
    """One attempt in this process.

    Args:
        claimed: The job as it was claimed.
        started: When it was claimed, by the monotonic clock.
        subtype: Full name of its subtype, ``""`` until known.
        correlation_id: The job's, ``""`` until known.
        task: The task that runs it.
        cancellable: Whether cancelling the task ends the handler: true for ``async def``.
        cancelled: True once somebody wants it cancelled.
        taken_away: True once another worker may have it, or the worker stops: its outcome no longer counts.
        report: The last progress that was not yet written.
    """

    claimed: Claimed
    started: float = attrs.field(factory=time.perf_counter)
    subtype: str = ""
    correlation_id: str = ""
    task: asyncio.Task[Settlement] | None = None
    cancellable: bool = False
    taken_away: bool = False
    cancelled: bool = False
    report: Progress | None = None

    @property
    def key(self) -> str:
        """Names the attempt in this process."""
        return self.claimed.token + self.claimed.id

    def take_away(self) -> None:
        """End the attempt: cancel an ``async def`` handler, tell a ``def`` handler at its next report."""
        self.taken_away = True
        if self.cancellable and self.task is not None:
            self.task.cancel()


class RunContext:
    """The `cgjobs.Context` of one attempt.

    Args:
        run: The attempt.
        envelope: What the job's data said.
        timeout: Longest run of the attempt, or None.
        log: The worker's logger.
        settings: The plugins' settings by class.
        resources: What is open in this worker.
    """

    def __init__(
        self,
        run: Run,
        envelope: Envelope,
        timeout: timedelta | None,
        log: Callable[[], Any],
        settings: Mapping[type, object],
        resources: Resources,
    ) -> None:
        self._run, self._envelope, self._timeout = run, envelope, timeout
        self._log, self._settings, self._resources = log, settings, resources

    @cached_property
    def job(self) -> Job:
        """The job that runs, as it was claimed."""
        claimed = self._run.claimed
        return Job(
            id=claimed.id,
            queue=claimed.queue,
            name=self._envelope.name,
            state=JobState.ACTIVE,
            payload=self._envelope.payload,
            priority=Priority(claimed.priority) if claimed.priority in set(Priority) else Priority.NORMAL,
            attempt=claimed.retries_made + 1,
            attempts=claimed.retries_made + 1 + claimed.retries_left,
            recoveries=claimed.recoveries,
            correlation_id=self._envelope.correlation_id,
            created_at=read_time(claimed.created_at.encode()),
            started_at=datetime.now(UTC),
            timeout=self._timeout,
            depends_on=tuple(claimed.dependencies),
            payload_version=self._envelope.payload_version,
        )

    @cached_property
    def log(self) -> Logger:
        """A logger that adds the job's queue, id and correlation id to each line."""
        logger: Logger = self._log().bind(
            correlation_id=self._envelope.correlation_id,
            queue=self._run.claimed.queue,
            job_id=self._run.claimed.id,
        )
        return logger

    def dependencies(self) -> dict[str, Dependency]:
        """What became of the jobs that this one depended on."""
        return {job_id: dependency(end) for job_id, end in self._run.claimed.dependencies.items()}

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report how far the job is; raises `JobCancelled` when it was taken away."""
        told = message[:_MESSAGE_CHARACTERS].encode("utf-8", "backslashreplace").decode()
        self._run.report = Progress(_number(done), None if total is None else _number(total), told)
        if self._run.taken_away:
            raise JobCancelled(f"job {self._run.claimed.id!r} was taken away from this worker")

    def settings(self, cls: type[T]) -> T:
        """The plugin's settings."""
        try:
            return self._settings[cls]  # type: ignore[return-value]
        except KeyError:
            raise LookupError(f"no plugin announced {cls.__qualname__} with cgjobs_settings") from None

    @overload
    def use(
        self, factory: Callable[P, AbstractContextManager[T, Any]], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def use(self, factory: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def use(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Something opened once per worker and shared by its jobs."""
        return self._resources.use(factory, *args, **kwargs)


def _number(value: float) -> float:
    """A number that JSON can hold; raises in the handler what would otherwise end the worker."""
    number = value if type(value) is int and abs(value) < 2**53 else float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no progress; give a finite number")
    return number

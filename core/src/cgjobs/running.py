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
import orjson

from cgjobs.broker.dependents import dependency
from cgjobs.broker.reads import time as read_time
from cgjobs.broker.values import Claimed, Settlement
from cgjobs.client import Client
from cgjobs.codec import Envelope
from cgjobs.config import LimitConfig
from cgjobs.context import Logger
from cgjobs.joblog import JobLog, Lines
from cgjobs.model import Dependency, Job, JobState, Priority, Progress
from cgjobs.once import Marks, Once, Unknown
from cgjobs.outcomes import JobCancelled
from cgjobs.redaction import secret_forms
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
        begun: True once a job that may not run twice has begun.
        report: The last progress that was not yet written.
        unsaved: The last checkpoint that was not yet written: JSON, or empty for none; None when all was.
        saved: The last checkpoint, written or not.
        being_written: Whether its reports are on their way to the broker.
        log_lines: So many lines are kept; 0 for none.
        lines: What it logged and was not yet written; None before the first line.
    """

    claimed: Claimed
    started: float = attrs.field(factory=time.perf_counter)
    subtype: str = ""
    correlation_id: str = ""
    task: asyncio.Task[Settlement] | None = None
    cancellable: bool = False
    taken_away: bool = False
    cancelled: bool = False
    begun: bool = False
    report: Progress | None = None
    unsaved: bytes | None = None
    saved: bytes = attrs.field(default=attrs.Factory(lambda run: run.claimed.checkpoint, takes_self=True))
    being_written: bool = False
    log_lines: int = 200
    lines: Lines | None = None

    @property
    def has_reports(self) -> bool:
        """Whether there is something to write, or a write of it is under way."""
        return self.being_written or self.report is not None or self.unsaved is not None or bool(self.lines)

    def save(self, checkpoint: bytes) -> None:
        """Have a checkpoint written: JSON, or nothing for none."""
        self.saved = self.unsaved = checkpoint

    def keep(self, line: str) -> None:
        """Have a line that its handler logged written."""
        if self.lines is None:
            self.lines = Lines(self.log_lines)
        self.lines.add(line)

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
        marks: Gives where the marks of effects are kept.
        client: Opens the worker's client.
        limits: What a checkpoint may be.
        secrets: Payload and settings, whose secret fields are not kept in log lines.
    """

    def __init__(
        self,
        run: Run,
        envelope: Envelope,
        timeout: timedelta | None,
        log: Callable[[], Any],
        settings: Mapping[type, object],
        resources: Resources,
        marks: Callable[[], Marks],
        client: Callable[[], Client],
        limits: LimitConfig,
        secrets: tuple[object, ...],
    ) -> None:
        self._run, self._envelope, self._timeout = run, envelope, timeout
        self._log, self._settings, self._resources = log, settings, resources
        self._marks, self._client, self._limits, self._holders = marks, client, limits, secrets

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
        if not self._limits.log_lines:
            return logger
        return JobLog(logger, self._run.keep, self._run.claimed.retries_made + 1, lambda: self._secrets)

    @cached_property
    def _secrets(self) -> tuple[str, ...]:
        return secret_forms(self._holders)

    @property
    def client(self) -> Client:
        """A client on the worker's broker, opened once for all its jobs."""
        return self._resources.use(self._client)

    def dependencies(self) -> dict[str, Dependency]:
        """What became of the jobs that this one depended on."""
        return {job_id: dependency(end) for job_id, end in self._run.claimed.dependencies.items()}

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report how far the job is; raises `JobCancelled` when it was taken away."""
        told = message[:_MESSAGE_CHARACTERS].encode("utf-8", "backslashreplace").decode()
        self._run.report = Progress(_number(done), None if total is None else _number(total), told)
        self._stop_if_taken_away()

    def _stop_if_taken_away(self) -> None:
        if self._run.taken_away:
            raise JobCancelled(f"job {self._run.claimed.id!r} was taken away from this worker")

    def checkpoint(self, value: Any) -> None:
        """Keep a value from which the next attempt goes on."""
        self._run.save(b"" if value is None else dump_checkpoint(value, self._limits.checkpoint_bytes))
        self._stop_if_taken_away()

    @overload
    def resume(self) -> Any: ...
    @overload
    def resume(self, default: T) -> T: ...
    def resume(self, default: Any = None) -> Any:
        """The last value given to `checkpoint`, or ``default``."""
        if not self._run.saved:
            return default
        try:
            return orjson.loads(self._run.saved)
        except orjson.JSONDecodeError as error:  # somebody wrote it: beginning anew is what is safe
            self.log.warning("checkpoint_unreadable", error=str(error))
            return default

    def once(self, key: str, *, unknown: Unknown) -> Once:
        """Make an effect happen once over all attempts of this job."""
        return Once(self._marks(), key, unknown=unknown)

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


def dump_checkpoint(value: object, most: int) -> bytes:
    """The JSON of a checkpoint; raises TypeError or ValueError when it has none, or too much."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as error:
        raise TypeError(f"a checkpoint must have a JSON form: {error}") from None
    if len(data) > most:
        raise ValueError(
            f"the checkpoint has {len(data)} bytes of JSON, more than limits.checkpoint_bytes = {most}; keep "
            "where the work stands, not the work"
        )
    return data


def _number(value: float) -> float:
    """A number that JSON can hold; raises in the handler what would otherwise end the worker."""
    number = value if type(value) is int and abs(value) < 2**53 else float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no progress; give a finite number")
    return number

"""The kit with which plugin authors, we too, test their handlers.

A handler is a function of a payload and a context::

    ctx = RecordingContext(settings=[Settings(webhook="http://127.0.0.1:1")])
    slack(Slack("#ops", "hi"), ctx)
    assert ctx.reports == []
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeVar, overload

import attrs
import orjson

from cgjobs.config import LimitConfig
from cgjobs.model import Dependency, Job, JobState, LogLine, Progress
from cgjobs.once import Move, Once, Unknown
from cgjobs.outcomes import JobCancelled
from cgjobs.running import dump_checkpoint

P = ParamSpec("P")
T = TypeVar("T")


@attrs.define
class RecordingLog:
    """A logger that keeps its lines."""

    lines: list[LogLine]

    def debug(self, event: str, **fields: Any) -> None:
        """Keep a line for developers."""
        self.lines.append(LogLine("debug", event, fields))

    def info(self, event: str, **fields: Any) -> None:
        """Keep a line of what is normal."""
        self.lines.append(LogLine("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        """Keep a line that somebody should look at."""
        self.lines.append(LogLine("warn", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        """Keep a line of what went wrong."""
        self.lines.append(LogLine("error", event, fields))


class RecordingMarks:
    """The marks of ``ctx.once`` in a dictionary: ``begun`` or ``done`` by key."""

    def __init__(self, marks: dict[str, str]) -> None:
        self._marks = marks

    def mark(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark."""
        if move == "begin":
            known = self._marks.get(key, "new")
            self._marks.setdefault(key, "begun")
            return known
        if move == "done":
            self._marks[key] = "done"
        else:
            self._marks.pop(key, None)
        return "ok"

    async def mark_async(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark."""
        return self.mark(key, nonce, move)


class RecordingContext:
    """A `Context` without worker or broker that keeps what the handler does.

    Use it as a context manager when the handler opens things with ``ctx.use``: they are closed at its end.

    Args:
        job_id: Id of the job that the handler believes to run.
        attempt: Which attempt it believes to be, from 1.
        settings: Settings objects, found by their class.
        uses: Stand-ins by factory: ``ctx.use(factory, ...)`` gives ``uses[factory]`` and opens nothing.
        dependencies: What ``ctx.dependencies()`` gives.
        cancel_after: Raise `JobCancelled` at the report with this number, from 1. None: never.
        checkpoint: What an earlier attempt gave to ``ctx.checkpoint``; None for nothing.
        client: What ``ctx.client`` gives: a `Client` on a test's broker, or a stand-in.
        marks: What earlier attempts left with ``ctx.once``: ``begun`` (nobody knows how that ended) or
            ``done`` by key.

    Attributes:
        reports: Every `Progress` reported.
        lines: Every line logged.
        checkpoints: Every value given to ``ctx.checkpoint``, as JSON gives it back.
        marks: The marks of ``ctx.once``, those given and those made.
    """

    def __init__(
        self,
        *,
        job_id: str = "test-job",
        attempt: int = 1,
        settings: Iterable[object] = (),
        uses: Mapping[Callable[..., Any], Any] | None = None,
        dependencies: Mapping[str, Dependency] | None = None,
        cancel_after: int | None = None,
        checkpoint: Any = None,
        client: Any = None,
        marks: Mapping[str, Literal["begun", "done"]] | None = None,
    ) -> None:
        self.job = Job(
            job_id,
            "test",
            "test.test",
            JobState.ACTIVE,
            attempt=attempt,
            attempts=attempt,
            created_at=datetime.now(UTC),
            started_at=datetime.now(UTC),
        )
        self.reports: list[Progress] = []
        self.lines: list[LogLine] = []
        self.log = RecordingLog(self.lines)
        self._settings = {type(item): item for item in settings}
        self._uses = dict(uses or {})
        self._opened: dict[Any, Any] = {}
        self._stack = contextlib.ExitStack()
        self._client = client
        self._dependencies = dict(dependencies or {})
        self._cancel_after = cancel_after
        self.checkpoints: list[Any] = []
        self._saved = _as_json(checkpoint)
        self.marks: dict[str, str] = dict(marks or {})

    def __enter__(self) -> RecordingContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def client(self) -> Any:
        """The client that the test gave."""
        if self._client is None:
            raise LookupError("give RecordingContext client=...")
        return self._client

    def dependencies(self) -> dict[str, Dependency]:
        """What the test said became of the jobs that this one depended on."""
        return dict(self._dependencies)

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Keep the report; raises `JobCancelled` when told to."""
        self.reports.append(Progress(done, total, message))
        if self._cancel_after is not None and len(self.reports) >= self._cancel_after:
            raise JobCancelled("the test cancelled the job")

    def checkpoint(self, value: Any) -> None:
        """Keep the value; raises what the real one raises when it has no JSON or too much."""
        self._saved = _as_json(value)
        self.checkpoints.append(self._saved)

    @overload
    def resume(self) -> Any: ...
    @overload
    def resume(self, default: T) -> T: ...
    def resume(self, default: Any = None) -> Any:
        """The last checkpoint, or ``default``."""
        return default if self._saved is None else self._saved

    def once(self, key: str, *, unknown: Unknown) -> Once:
        """An effect whose marks are in ``marks``."""
        return Once(RecordingMarks(self.marks), key, unknown=unknown)

    def settings(self, cls: type[T]) -> T:
        """The settings object of this class that the test gave."""
        try:
            return self._settings[cls]  # type: ignore[return-value]
        except KeyError:
            raise LookupError(f"give RecordingContext settings=[{cls.__name__}(...)]") from None

    @overload
    def use(
        self,
        factory: Callable[P, contextlib.AbstractContextManager[T, Any]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
    @overload
    def use(self, factory: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def use(self, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The stand-in for this factory, or what it makes, opened once."""
        if factory in self._uses:
            return self._uses[factory]
        key = (factory, args, tuple(sorted(kwargs.items())))
        if key not in self._opened:
            made = factory(*args, **kwargs)
            if hasattr(type(made), "__enter__"):
                made = self._stack.enter_context(made)
            elif callable(close := getattr(made, "close", None)):
                self._stack.callback(close)
            self._opened[key] = made
        return self._opened[key]


def _as_json(value: Any) -> Any:
    return orjson.loads(dump_checkpoint(value, LimitConfig().checkpoint_bytes))

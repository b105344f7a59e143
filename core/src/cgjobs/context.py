"""What a handler sees of the job it runs and of the worker around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from cgjobs.model import Dependency, Job

P = ParamSpec("P")
T = TypeVar("T")


class Logger(Protocol):
    """The part of a structlog logger that handlers use: an event name and fields."""

    def debug(self, event: str, **fields: Any) -> Any:
        """Log for developers."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log what is normal."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log what somebody should look at."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log what went wrong."""


class Context(Protocol):
    """Given to each handler as its second argument.

    Delivery is at least once: ``ctx.job.id`` is the key with which a handler makes a side effect happen once.
    """

    @property
    def job(self) -> Job:
        """The job that runs, as it was claimed."""

    @property
    def log(self) -> Logger:
        """A logger that adds the job's queue, id and correlation id to each line."""

    def dependencies(self) -> Mapping[str, Dependency]:
        """What became of the jobs that this one depended on, by id, in the order in which they were named."""

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report how far the job is; call it once per batch.

        Cheap and never blocks: reports are written at most twice a second, the last one always.

        Args:
            done: Units done so far; not negative.
            total: Units in all; None when unknown.
            message: What is being done, at most 200 characters; the rest is cut.

        Raises:
            JobCancelled: The job was taken away from this worker; stop now.
        """

    def settings(self, cls: type[T]) -> T:
        """The plugin's settings, read from ``[plugins.<name>]`` and checked before the worker started.

        Raises:
            LookupError: No plugin announced this class with ``cgjobs_settings``.
        """

    @overload
    def use(
        self, factory: Callable[P, AbstractContextManager[T, Any]], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def use(self, factory: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Something expensive, opened once per worker and shared by its jobs.

        Called with the same factory and arguments again, it gives the same object. What ``factory`` returns
        is entered when it is a context manager, and exited (or closed) when the worker stops. An object with
        only asynchronous ends (``__aexit__``, ``aclose``) is not entered, and closed when the worker stops.
        It must be safe to use from several threads when its handlers are ``def``.
        """

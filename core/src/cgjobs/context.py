"""What a handler sees of the job it runs and of the worker around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from cgjobs.model import Dependency, Job
from cgjobs.once import Once, Unknown

if TYPE_CHECKING:
    from cgjobs.client import Client

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

    Delivery is at least once: ``ctx.job.id`` is the key with which another system makes a side effect happen
    once, and `once` says what this system knows of it.
    """

    @property
    def job(self) -> Job:
        """The job that runs, as it was claimed."""

    @property
    def log(self) -> Logger:
        """A logger that adds the job's queue, id and correlation id to each line.

        Its lines are kept with the job too, but for ``debug`` ones: the last ``limits.log_lines`` of all
        attempts, at most 1,000 characters each, secrets hidden. They are written twice a second, and before
        the attempt's end is.
        """

    @property
    def client(self) -> Client:
        """A client on the worker's broker, for a job that enqueues jobs or asks about them.

        It blocks: use it in ``def`` handlers. An attempt may be repeated: give what it enqueues a ``job_id``
        made of this job's, so that it is enqueued once.
        """

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

    def checkpoint(self, value: Any) -> None:
        """Keep a value from which the next attempt goes on: see `resume`.

        Cheap and never blocks: the last value is written within 0.5 s, and always before the end of the
        attempt is, and before the job is handed back. A worker that is killed loses what it had not written,
        so that up to the last 0.5 s are done again.

        Args:
            value: Anything that has a JSON form, at most ``limits.checkpoint_bytes`` (64 KiB) of it. None:
                the next attempt begins anew.

        Raises:
            TypeError: The value has no JSON form.
            ValueError: It is too large.
            JobCancelled: The job was taken away from this worker; stop now. The value may not be kept.
        """

    @overload
    def resume(self) -> Any: ...
    @overload
    def resume(self, default: T) -> T: ...
    def resume(self, default: Any = None) -> Any:
        """The last value given to `checkpoint`, in this attempt or an earlier one.

        Args:
            default: Given when there is none.

        Returns:
            What JSON makes of the value: a tuple comes back as a list. That it has the type of ``default`` is
            not checked; an older release of the handler may have written it.
        """

    def once(self, key: str, *, unknown: Unknown) -> Once:
        """Make an effect happen once over all attempts of this job: ``with`` or ``async with`` around it.

        Before the block is entered the broker knows that the effect was begun, after it that it was done: one
        call each. What is certain is never done again. When an attempt ends in between, nobody knows whether
        the effect has happened, and ``unknown`` says what shall become of it.

        Args:
            key: Names the effect within the job; 1 to 128 of ``A-Z a-z 0-9 _ . : @ / -``.
            unknown: ``fail``: raise `OutcomeUnknown`, for a person to look. ``again``: do it again, which is
                at least once. ``skip``: go on without, which is at most once.

        Returns:
            What is true inside the block when the effect shall happen, with ``done`` and ``unknown``.

        Raises:
            ValueError: The key or the choice is none.
            OutcomeUnknown: On entering, see above.
            JobCancelled: On entering or leaving: the job was taken away from this worker.
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

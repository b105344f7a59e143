"""Which errors of a subtype's handler are tried again, and when: what its author said, checked at import."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import attrs

from cgjobs.model import Backoff
from cgjobs.outcomes import Discard, JobCancelled, Retry, Snooze

BackoffFunction: TypeAlias = Callable[[int, BaseException], timedelta]
"""From the attempt that failed, from 1, and its error to the wait before the next one."""

_LONGEST = timedelta(days=36_500)
_SAY_IT_THEMSELVES = (Retry, Snooze, Discard, JobCancelled)


@attrs.frozen
class RetryRules:
    """What ends a job at once, whatever attempts are left.

    Args:
        retry_on: Only these errors are tried again; None: all that ``no_retry_on`` does not name.
        no_retry_on: These are not.
        at_most_once: No error is: only `Retry` and `Snooze`, with which the handler says that nothing
            happened.
    """

    retry_on: tuple[type[BaseException], ...] | None = None
    no_retry_on: tuple[type[BaseException], ...] = ()
    at_most_once: bool = False

    def allow(self, error: BaseException) -> bool:
        """Whether the job may be tried again after this error of its handler."""
        if isinstance(error, (Retry, Snooze)):
            return True
        if self.at_most_once or isinstance(error, self.no_retry_on):
            return False
        return self.retry_on is None or isinstance(error, self.retry_on)


NO_RULES = RetryRules()


def asked_wait(
    backoff: Backoff | BackoffFunction | None,
    attempt: int,
    error: BaseException,
    warn: Callable[..., Any],
) -> timedelta | None:
    """The wait that the author's function asks for; None when there is none, or it fails and says so in the
    log.

    Args:
        backoff: What ``@subtype`` was given.
        attempt: The attempt that failed, from 1.
        error: What the handler raised.
        warn: Logs an event with fields.
    """
    if backoff is None or isinstance(backoff, Backoff) or isinstance(error, (Snooze, Discard)):
        return None
    try:
        wait = backoff(attempt, error)
        if isinstance(wait, timedelta) and wait >= timedelta(0):
            return min(wait, _LONGEST)
        reason = f"it gave {wait!r}, which is no timedelta of zero or more"
    except Exception as raised:  # the job must not fail by a fault in how long it waits
        reason = repr(raised)
    warn("backoff_function_failed", function=repr(backoff), error=reason)
    return None


def check_rules(
    name: str,
    *,
    retry_on: Any,
    no_retry_on: Any,
    attempts: Any,
    backoff: Any,
    idempotent: Any,
    at_most_once: Any,
) -> None:
    """Refuse rules that cannot be meant.

    Raises:
        TypeError: Something is of a wrong type.
        ValueError: It is out of range, or two rules contradict each other.
    """
    for what, classes in (("retry_on", retry_on), ("no_retry_on", no_retry_on)):
        if classes is not None:
            _check_classes(f"{what} of {name!r}", classes)
    if retry_on is not None and not retry_on:
        raise ValueError(f"retry_on of {name!r} is empty, so nothing would be tried again; write attempts=1")
    if both := set(retry_on or ()) & set(no_retry_on):
        shown = ", ".join(sorted(cls.__name__ for cls in both))
        raise ValueError(f"{name!r} has {shown} in retry_on and in no_retry_on; it can be in one of them")
    if attempts is not None and (not isinstance(attempts, int) or isinstance(attempts, bool)):
        raise TypeError(f"attempts of {name!r} is {attempts!r}; it must be a whole number")
    if attempts is not None and attempts < 1:
        raise ValueError(f"attempts of {name!r} is {attempts}; it must be at least 1")
    if backoff is not None and not isinstance(backoff, Backoff):
        _check_function(f"backoff of {name!r}", backoff)
    if at_most_once and idempotent:
        raise ValueError(
            f"{name!r} is at_most_once and idempotent; what may run twice needs no at_most_once, "
            "and what must not is not idempotent"
        )
    if at_most_once and retry_on is not None:
        raise ValueError(
            f"{name!r} is at_most_once and has retry_on; an error leaves open what has happened: raise Retry "
            "where the handler knows that nothing has"
        )


def _check_classes(what: str, classes: Any) -> None:
    if not isinstance(classes, tuple):
        raise TypeError(
            f"{what} is {classes!r}; write a tuple of exception classes, such as (ConnectionError,)"
        )
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise TypeError(f"{what} holds {cls!r}, which is no exception class")
        if issubclass(cls, _SAY_IT_THEMSELVES):
            raise ValueError(f"{what} holds {cls.__name__}, which says itself what becomes of the job")


def _check_function(what: str, function: Any) -> None:
    if not callable(function):
        raise TypeError(
            f"{what} is {function!r}; give a Backoff, or a function (attempt, error) -> timedelta"
        )
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{what} is 'async def'; it must be a plain function (attempt, error) -> timedelta")
    try:
        inspect.signature(function).bind(1, Exception())
    except TypeError:
        raise TypeError(f"{what} cannot be called with (attempt, error)") from None
    except ValueError:
        return  # of some builtins nobody knows the signature

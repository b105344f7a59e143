"""What a handler raises on purpose, to say how its job shall go on.

Returning means completed. Any other exception uses up an attempt, and the queue's backoff decides when the
next one starts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal


class Retry(Exception):
    """Try again; uses up an attempt. Without attempts left the job fails.

    Args:
        reason: Why, for people.
        after: Wait at least this long. None: the backoff decides.
    """

    def __init__(self, reason: str, *, after: timedelta | None = None) -> None:
        self.reason = reason
        self.after = _not_negative("Retry", after)
        super().__init__(reason)


class Snooze(Exception):
    """Run later; uses up no attempt. For "not now": quiet hours, a file that is not there yet.

    Args:
        after: Wait at least this long.
        reason: Why, for people.
    """

    def __init__(self, after: timedelta, reason: str = "snoozed") -> None:
        self.reason = reason
        self.after = _not_negative("Snooze", after) or timedelta(0)
        super().__init__(reason)


class RateLimited(Snooze):
    """The other side said "too fast": nothing of the queue starts for so long.

    All workers keep to it. The job goes back to the front of its queue and uses up no attempt; jobs that run
    already go on. `cgjobs queue resume` ends the wait early.

    Args:
        after: Wait at least this long.
        reason: Why, for people.
        scope: ``queue``, or ``key`` for the jobs with the same ``limit_key`` only; a job without one then
            waits alone.
    """

    def __init__(
        self, after: timedelta, reason: str = "rate limit", *, scope: Literal["queue", "key"] = "queue"
    ) -> None:
        if scope not in ("queue", "key"):
            raise ValueError(f"RateLimited scope={scope!r} is neither 'queue' nor 'key'")
        super().__init__(after, reason)
        self.scope: Literal["queue", "key"] = scope


class Discard(Exception):
    """Failed for good: trying again cannot help.

    Args:
        reason: Why, for people.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class OutcomeUnknown(Discard):
    """Failed for good, and nobody knows whether its effect has happened; marked as such for operators.

    Raised by ``ctx.once(key, unknown="fail")`` when an earlier attempt began the effect and did not say that
    it was done. A handler may raise it too.

    Args:
        reason: What may have happened, for people.
    """


class JobCancelled(BaseException):
    """Raised inside a handler by ``ctx.progress`` when its job was taken away from this worker.

    No ``Exception``, so that a handler's ``except Exception`` round one item does not swallow the end of all.
    """


class JobTimeout(BaseException):
    """The handler ran longer than its timeout allows; uses up an attempt. No ``Exception``, as above."""


def _not_negative(what: str, after: timedelta | None) -> timedelta | None:
    if after is not None and after < timedelta(0):
        raise ValueError(f"{what} after={after} is in the past; use timedelta(0) for at once")
    return after

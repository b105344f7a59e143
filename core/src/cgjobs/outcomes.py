"""What a handler raises on purpose, to say how its job shall go on.

Returning means completed. Any other exception uses up an attempt, and the queue's backoff decides when the
next one starts.
"""

from __future__ import annotations

from datetime import timedelta


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
    """Run later; uses up no attempt. For "not now": a rate limit, quiet hours, a provider that is down.

    Args:
        after: Wait at least this long.
        reason: Why, for people.
    """

    def __init__(self, after: timedelta, reason: str = "snoozed") -> None:
        self.reason = reason
        self.after = _not_negative("Snooze", after) or timedelta(0)
        super().__init__(reason)


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

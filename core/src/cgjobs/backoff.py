"""From the number of a failed attempt to the wait before the next one."""

from __future__ import annotations

import random
from datetime import timedelta

from cgjobs.model import Backoff, BackoffKind

_MAX_DOUBLINGS = 60  # 2**60 s is past every ceiling; more would overflow a timedelta
_MAX_SECONDS = 100 * 365 * 86_400.0  # jitter on the longest ceiling would overflow one, too


def wait_after(backoff: Backoff, attempt: int, rng: random.Random) -> timedelta:
    """The wait after failed attempt ``attempt``.

    Args:
        backoff: The rule.
        attempt: Which attempt failed, from 1.
        rng: Source of the jitter.

    Returns:
        At least the rule's wait and never less; at most ``ceiling * (1 + jitter)``, and 100 years.

    Raises:
        ValueError: ``attempt`` is below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempt is {attempt}; attempts are counted from 1")
    seconds = backoff.delay.total_seconds()
    if backoff.kind is BackoffKind.EXPONENTIAL:
        seconds *= 2 ** min(attempt - 1, _MAX_DOUBLINGS)
    seconds = min(seconds, backoff.ceiling.total_seconds())
    return timedelta(seconds=min(seconds * (1 + backoff.jitter * rng.random()), _MAX_SECONDS))

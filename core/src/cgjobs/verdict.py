"""How a handler ended, judged: pure."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Literal

import attrs

from cgjobs.backoff import wait_after
from cgjobs.errors import InvalidPayload
from cgjobs.model import Backoff
from cgjobs.outcomes import Discard, JobTimeout, OutcomeUnknown, RateLimited, Retry, Snooze
from cgjobs.retry_rules import NO_RULES, RetryRules

MESSAGE_CHARACTERS = 1000
"""So much of an error's line is kept."""


@attrs.frozen
class Verdict:
    """What becomes of the job.

    Args:
        kind: ``retry``, ``failed``, ``snooze``, ``limited``, or ``unknown``: failed, and what it did is not
            known.
        delay: Wait at least this long, for ``retry``, ``snooze`` and ``limited``.
        error: Class and message of the error, one line of any length.
        scope: What waits, for ``limited``: ``queue`` or ``key``.
    """

    kind: Literal["retry", "failed", "snooze", "limited", "unknown"]
    delay: timedelta = timedelta(0)
    error: str = ""
    scope: str = ""


def judge(
    error: BaseException,
    *,
    attempt: int,
    attempts_left: int,
    backoff: Backoff,
    rng: random.Random,
    rules: RetryRules = NO_RULES,
    asked: timedelta | None = None,
) -> Verdict:
    """From what a handler raised to what becomes of its job.

    Args:
        error: What it raised.
        attempt: The attempt that ended, from 1.
        attempts_left: How many remain after it.
        backoff: The wait before the next one.
        rng: Source of the backoff's jitter.
        rules: What the subtype's author said of errors.
        asked: The wait that its backoff function asked for, instead of the backoff's.
    """
    message = one_line(error)
    if isinstance(error, RateLimited):
        return Verdict("limited", error.after, message, error.scope)
    if isinstance(error, Snooze):
        return Verdict("snooze", error.after, message)
    if isinstance(error, OutcomeUnknown) or (isinstance(error, JobTimeout) and rules.at_most_once):
        return Verdict("unknown", error=outcome_unknown(error))
    if isinstance(error, (Discard, InvalidPayload)) or attempts_left < 1 or not rules.allow(error):
        return Verdict("failed", error=message)
    if isinstance(error, Retry) and error.after is not None:
        return Verdict("retry", error.after, message)
    if asked is not None:
        return Verdict("retry", asked, message)
    return Verdict("retry", wait_after(backoff, attempt, rng), message)


def outcome_unknown(error: BaseException) -> str:
    """The line of an error after which nobody knows what has happened."""
    return f"Outcome unknown: {one_line(error).removeprefix('OutcomeUnknown: ')}"


def one_line(error: BaseException) -> str:
    """Class and message of an error in one line of valid Unicode, of any length: redact it, then cut it."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a broken __str__ must not cost more than its message
        text = "(its message cannot be read)"
    name = type(error).__name__
    # File names with bytes that are no UTF-8 have half surrogate pairs, which the broker cannot be sent.
    text = text.encode("utf-8", "backslashreplace").decode()
    return f"{name}: {text}" if text else name

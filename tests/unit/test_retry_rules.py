"""Which errors are tried again: the rules of a subtype, at import and when a handler has raised."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import Backoff, Context, Discard, JobTimeout, OutcomeUnknown, Retry, Snooze, subtype
from cgjobs.retry_rules import RetryRules, asked_wait
from cgjobs.verdict import judge
from tests.jobs import Note

SECOND = timedelta(seconds=1)


def made(**rules: Any) -> Any:
    @subtype("work.note", **rules)
    def note(payload: Note, ctx: Context) -> None:
        """Do nothing."""

    return note


def kind(error: BaseException, rules: RetryRules, *, left: int = 2) -> str:
    verdict = judge(
        error, attempt=1, attempts_left=left, backoff=Backoff(), rng=random.Random(1), rules=rules
    )
    return verdict.kind


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (ConnectionError(), "retry"),
        (ConnectionResetError(), "retry"),
        (BrokenPipeError(), "failed"),
        (ValueError(), "failed"),
        (JobTimeout(), "failed"),
        (Retry("again"), "retry"),
        (Snooze(SECOND), "snooze"),
        (Discard("never"), "failed"),
    ],
)
def test_only_the_named_errors_are_tried_again(error: BaseException, becomes: str) -> None:
    rules = RetryRules(retry_on=(ConnectionError,), no_retry_on=(BrokenPipeError,))

    assert kind(error, rules) == becomes


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (ConnectionError(), "failed"),
        (JobTimeout(), "unknown"),
        (OutcomeUnknown("?"), "unknown"),
        (Retry("nothing happened"), "retry"),
        (Snooze(SECOND), "snooze"),
    ],
)
def test_what_may_not_run_twice_is_tried_again_only_when_its_handler_says_so(
    error: BaseException, becomes: str
) -> None:
    assert kind(error, RetryRules(at_most_once=True)) == becomes
    assert kind(error, RetryRules(at_most_once=True), left=0) == ("failed" if becomes == "retry" else becomes)


def test_the_wait_is_what_the_authors_function_asks_for_or_the_backoffs() -> None:
    warned: list[str] = []

    def warn(event: str, **fields: Any) -> None:
        warned.append(event)

    assert asked_wait(lambda attempt, error: attempt * SECOND, 3, ValueError(), warn) == 3 * SECOND
    assert asked_wait(Backoff(), 3, ValueError(), warn) is None
    assert warned == []
    assert asked_wait(lambda attempt, error: -SECOND, 3, ValueError(), warn) is None
    assert asked_wait(lambda attempt, error: SECOND / 0, 3, ValueError(), warn) is None
    assert warned == ["backoff_function_failed"] * 2


@pytest.mark.parametrize(
    ("rules", "error", "words"),
    [
        ({"retry_on": ["ConnectionError"]}, TypeError, "write a tuple of exception classes"),
        ({"retry_on": ("ConnectionError",)}, TypeError, "'ConnectionError', which is no exception class"),
        ({"no_retry_on": (int,)}, TypeError, "which is no exception class"),
        ({"retry_on": ()}, ValueError, "write attempts=1"),
        ({"retry_on": (Retry,)}, ValueError, "Retry, which says itself"),
        ({"retry_on": (OSError,), "no_retry_on": (OSError,)}, ValueError, "OSError in retry_on and"),
        ({"attempts": 0}, ValueError, "attempts of 'work.note' is 0; it must be at least 1"),
        ({"attempts": True}, TypeError, "it must be a whole number"),
        ({"backoff": SECOND}, TypeError, "give a Backoff, or a function"),
        ({"backoff": lambda attempt: SECOND}, TypeError, r"cannot be called with \(attempt, error\)"),
        ({"at_most_once": True, "idempotent": True}, ValueError, "is at_most_once and idempotent"),
        ({"at_most_once": True, "retry_on": (OSError,)}, ValueError, "raise Retry"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_at_import(
    rules: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        made(**rules)


def test_the_traits_are_shown_in_words() -> None:
    assert made(destructive=True, idempotent=False).traits == ("destructive", "not idempotent")
    assert made(at_most_once=True).traits == ("at most once",)
    assert made(idempotent=True).traits == ("idempotent",)
    assert made().traits == ()

"""How a handler ended, judged."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from cgjobs import Backoff, Discard, Fault, InvalidPayload, Retry, Snooze
from cgjobs.verdict import Verdict, judge, one_line

MINUTE = timedelta(minutes=1)
BACKOFF = Backoff.fixed(timedelta(seconds=3), jitter=0)


def verdict(error: BaseException, attempts_left: int = 2) -> Verdict:
    return judge(error, attempt=1, attempts_left=attempts_left, backoff=BACKOFF, rng=random.Random(1))


def test_an_error_is_tried_again_after_the_backoff() -> None:
    assert verdict(ValueError("no")) == Verdict("retry", timedelta(seconds=3), "ValueError: no")


def test_the_last_attempt_fails_the_job() -> None:
    assert verdict(ValueError("no"), attempts_left=0) == Verdict("failed", error="ValueError: no")


def test_a_retry_waits_as_long_as_it_says() -> None:
    assert verdict(Retry("busy", after=MINUTE)) == Verdict("retry", MINUTE, "Retry: busy")


def test_a_retry_without_a_time_leaves_it_to_the_backoff() -> None:
    assert verdict(Retry("busy")).delay == timedelta(seconds=3)


def test_a_retry_without_attempts_left_fails_the_job() -> None:
    assert verdict(Retry("busy", after=MINUTE), attempts_left=0).kind == "failed"


@pytest.mark.parametrize("attempts_left", [0, 5])
def test_a_snooze_needs_no_attempt(attempts_left: int) -> None:
    assert verdict(Snooze(MINUTE), attempts_left) == Verdict("snooze", MINUTE, "Snooze: snoozed")


@pytest.mark.parametrize("error", [Discard("gone"), InvalidPayload("it", [Fault("a", "b")])])
def test_what_trying_again_cannot_mend_fails_at_once(error: Exception) -> None:
    assert verdict(error, attempts_left=9).kind == "failed"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("x")])
def test_even_what_is_no_exception_uses_up_an_attempt(error: BaseException) -> None:
    assert verdict(error).kind == "retry"


def test_an_error_is_told_in_one_line() -> None:
    assert one_line(ValueError("a\n  b\tc")) == "ValueError: a b c"


def test_an_error_without_words_is_told_by_its_class() -> None:
    assert one_line(KeyError()) == "KeyError"


def test_a_file_name_that_is_no_text_is_told_with_escapes() -> None:
    told = one_line(FileNotFoundError("/tmp/\udcff"))

    assert told == "FileNotFoundError: /tmp/\\udcff"
    assert told.encode()


def test_an_error_whose_words_cannot_be_read_costs_only_the_words() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert one_line(Broken()) == "Broken: (its message cannot be read)"

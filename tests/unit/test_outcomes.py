"""What a handler raises on purpose."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cgjobs import Discard, JobCancelled, JobTimeout, Retry, Snooze

PAST = timedelta(seconds=-1)


def test_a_retry_keeps_its_reason_and_its_wait() -> None:
    outcome = Retry("busy", after=timedelta(seconds=3))

    assert (str(outcome), outcome.reason, outcome.after) == ("busy", "busy", timedelta(seconds=3))


def test_a_retry_may_leave_the_wait_to_the_backoff() -> None:
    assert Retry("busy").after is None


def test_a_snooze_of_nothing_is_at_once() -> None:
    assert Snooze(timedelta(0)).after == timedelta(0)


def test_a_discard_says_why() -> None:
    assert str(Discard("the user is gone")) == "the user is gone"


@pytest.mark.parametrize("make", [lambda: Retry("x", after=PAST), lambda: Snooze(PAST)])
def test_nothing_can_be_asked_for_in_the_past(make: object) -> None:
    assert callable(make)

    with pytest.raises(ValueError, match="in the past"):
        make()


@pytest.mark.parametrize("end", [JobTimeout, JobCancelled])
def test_an_except_exception_in_a_handler_does_not_swallow_the_end_of_its_job(end: type) -> None:
    assert not issubclass(end, Exception)

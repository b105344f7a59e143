"""The wait before the next attempt."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Backoff
from cgjobs.backoff import wait_after

DURATIONS = st.timedeltas(timedelta(0), timedelta(days=365))
SECOND = timedelta(seconds=1)


def test_a_fixed_backoff_waits_the_same_each_time() -> None:
    backoff = Backoff.fixed(timedelta(seconds=7), jitter=0)

    waits = [wait_after(backoff, attempt, random.Random(1)) for attempt in (1, 2, 9)]

    assert waits == [timedelta(seconds=7)] * 3


def test_an_exponential_backoff_doubles_from_the_first_wait() -> None:
    backoff = Backoff.exponential(SECOND, jitter=0)

    waits = [wait_after(backoff, attempt, random.Random(1)) / SECOND for attempt in (1, 2, 3, 4)]

    assert waits == [1, 2, 4, 8]


def test_no_wait_grows_past_the_ceiling() -> None:
    backoff = Backoff.exponential(SECOND, ceiling=timedelta(seconds=5), jitter=0)

    assert wait_after(backoff, 1000, random.Random(1)) == timedelta(seconds=5)


@given(
    st.sampled_from(["fixed", "exponential"]),
    DURATIONS,
    DURATIONS,
    st.floats(0, 1),
    st.integers(1, 1000),
    st.integers(),
)
def test_jitter_only_ever_adds_and_at_most_its_share(
    kind: str, delay: timedelta, ceiling: timedelta, jitter: float, attempt: int, seed: int
) -> None:
    exact = wait_after(Backoff(kind, delay, ceiling, 0), attempt, random.Random(seed))

    wait = wait_after(Backoff(kind, delay, ceiling, jitter), attempt, random.Random(seed))

    assert exact <= wait <= exact * (1 + jitter) + timedelta(milliseconds=1)


@given(DURATIONS, DURATIONS, st.integers(1, 999))
def test_a_later_attempt_never_waits_less(delay: timedelta, ceiling: timedelta, attempt: int) -> None:
    backoff = Backoff.exponential(delay, ceiling=ceiling, jitter=0)

    first, second = (wait_after(backoff, n, random.Random(1)) for n in (attempt, attempt + 1))

    assert first <= second


def test_jitter_spreads_jobs_that_failed_together() -> None:
    rng = random.Random(1)

    waits = {wait_after(Backoff.fixed(SECOND, jitter=0.5), 1, rng) for _ in range(100)}

    assert len(waits) > 90


def test_the_longest_ceiling_with_jitter_is_still_a_wait() -> None:
    backoff = Backoff("fixed", timedelta.max, timedelta.max, 1.0)

    assert wait_after(backoff, 1, random.Random(1)) >= timedelta(days=3650)


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        wait_after(Backoff(), 0, random.Random(1))

"""Each job is in exactly one place, whatever the order of moves, lost replies and crashes (G1 to G3)."""

from __future__ import annotations

import os

import pytest

from tests.proof.play import play

EXAMPLES = int(os.environ.get("PROOF_EXAMPLES", "100"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400 + EXAMPLES),  # a failure is made as short as it can be: up to five minutes
]


def test_each_job_is_in_exactly_one_place_whatever_the_order_of_moves(redis_url: str) -> None:
    play(redis_url, examples=max(1, EXAMPLES * 3 // 5))


def test_no_job_starts_that_may_not_and_none_is_forgotten_that_may(redis_url: str) -> None:
    play(redis_url, "limits", examples=max(1, EXAMPLES // 3))


def test_what_an_attempt_says_counts_while_it_runs_and_as_long_as_it_shall(redis_url: str) -> None:
    play(redis_url, "attempts", examples=max(1, EXAMPLES // 3))

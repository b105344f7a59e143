"""Each job is in exactly one place, whatever the order of moves, lost replies and crashes (G1 to G3)."""

from __future__ import annotations

import os

import pytest

from tests.proof.play import play

EXAMPLES = int(os.environ.get("PROOF_EXAMPLES", "150"))


@pytest.mark.slow
@pytest.mark.timeout(
    400 + EXAMPLES
)  # a failure is made as short as it can be, which takes up to five minutes
def test_each_job_is_in_exactly_one_place_whatever_the_order_of_moves(redis_url: str) -> None:
    play(redis_url, examples=EXAMPLES)

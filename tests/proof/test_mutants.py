"""The seeded mistakes fit the sources of today."""

from __future__ import annotations

import pytest

from cgjobs.broker import library
from tests.proof.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_of_todays_source(mutant: Mutant) -> None:
    assert mutant.source() != library.source()
    assert mutant.source().split("'")[3] != library.digest()


def test_a_mutant_whose_text_is_gone_says_so() -> None:
    with pytest.raises(LookupError, match=r"stands 0 times in claim\.lua"):
        Mutant("gone", "claim.lua", "no such text", "").source()

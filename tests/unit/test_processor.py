"""Job types."""

from __future__ import annotations

from typing import Any

import pytest

from cgjobs import Cron, Processor


@pytest.mark.parametrize("name", ["", "Work", "1work", "a.b", "a b", "x" * 65, "work\n"])
def test_a_job_type_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="no name for a job type"):
        Processor(name)


@pytest.mark.parametrize("name", ["a", "work-2", "a_b", "x" * 64])
def test_plain_names_are_accepted(name: str) -> None:
    assert Processor(name).name == name


@pytest.mark.parametrize("numbers", [{"concurrency": 0}, {"attempts": 0}, {"attempts": -1}])
def test_the_numbers_are_at_least_one(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Processor("work", **numbers)


def test_a_schedule_needs_something_to_enqueue() -> None:
    with pytest.raises(ValueError, match="no on_schedule"):
        Processor("work", schedule=Cron("@daily"))

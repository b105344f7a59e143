"""The options of one job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cgjobs import InvalidOption, Keep, Priority
from cgjobs.options import JobOptions

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"delay": timedelta(seconds=-1)}, "delay"),
        ({"delay": timedelta(days=4000)}, "delay"),
        ({"at": datetime(2026, 1, 1)}, "at"),  # noqa: DTZ001 - that is what is refused
        ({"at": NOW, "delay": timedelta(0)}, "at"),
        ({"keep_completed": timedelta(seconds=-1)}, "keepCompleted"),
        ({"keep_failed": timedelta(days=4000)}, "keepFailed"),
        ({"keep_failed": Keep(timedelta(days=4000), count=1)}, "keepFailed"),
        ({"attempts": 0}, "attempts"),
        ({"attempts": 1001}, "attempts"),
        ({"timeout": timedelta(0)}, "timeout"),
        ({"priority": "urgent"}, "priority"),
        ({"job_id": ""}, "jobId"),
        ({"job_id": "a b"}, "jobId"),
        ({"job_id": "a\n"}, "jobId"),
        ({"job_id": "é"}, "jobId"),
        ({"job_id": "a.b"}, "jobId"),
        ({"job_id": "x" * 129}, "jobId"),
        ({"correlation_id": ""}, "correlationId"),
        ({"correlation_id": "a\nb"}, "correlationId"),
        ({"correlation_id": "x" * 129}, "correlationId"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name_on_the_wire(options: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        JobOptions(**options).check()

    assert [fault.path for fault in caught.value.faults] == [path]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"delay": timedelta(0)},
        {"at": NOW},
        {"attempts": 1},
        {"attempts": 1000},
        {"priority": "low"},
        {"priority": Priority.CRITICAL},
        {"job_id": "x" * 128},
        {"job_id": "Az09_-"},
        {"correlation_id": "request 1: a/b"},
        {"keep_completed": timedelta(0), "keep_failed": timedelta(0)},
        {"timeout": timedelta(milliseconds=1)},
    ],
)
def test_options_at_their_bounds_are_accepted(options: dict[str, Any]) -> None:
    JobOptions(**options).check()


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(InvalidOption) as caught:
        JobOptions(attempts=0, job_id="a b", delay=timedelta(-1)).check()

    assert {fault.path for fault in caught.value.faults} == {"attempts", "jobId", "delay"}


def test_a_job_is_due_after_its_delay_or_at_its_time_or_at_once() -> None:
    assert JobOptions(delay=timedelta(seconds=3)).due == timedelta(seconds=3)
    assert JobOptions(at=NOW).due == NOW
    assert JobOptions().due is None

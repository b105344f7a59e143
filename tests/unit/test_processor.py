"""Job types."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cgjobs import Config, Cron, Processor, Rate
from cgjobs.config import QueueConfig
from cgjobs.preparation import queue_config
from tests.jobs import registry


@pytest.mark.parametrize("name", ["", "Work", "1work", "a.b", "a b", "x" * 65, "work\n"])
def test_a_job_type_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="no name for a job type"):
        Processor(name)


@pytest.mark.parametrize("name", ["a", "work-2", "a_b", "x" * 64])
def test_plain_names_are_accepted(name: str) -> None:
    assert Processor(name).name == name


@pytest.mark.parametrize(
    "numbers",
    [
        {"concurrency": 0},
        {"attempts": 0},
        {"attempts": -1},
        {"max_running": 0},
        {"key_concurrency": 0},
        {"max_length": -1},
    ],
)
def test_the_numbers_are_at_least_one(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Processor("work", **numbers)


def test_a_schedule_needs_something_to_enqueue() -> None:
    with pytest.raises(ValueError, match="no on_schedule"):
        Processor("work", schedule=Cron("@daily"))


@pytest.mark.parametrize("name", ["rate", "key_rate"])
def test_a_rate_is_a_rate(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} of 'work' is '100/1m'; .* Rate[.]parse"):
        Processor("work", **{name: "100/1m"})  # type: ignore[arg-type]


def test_the_limits_of_a_processor_hold_where_its_queue_says_nothing_about_them() -> None:
    minutely = Rate(5, timedelta(minutes=1))
    provided = registry(processors=[Processor("work", rate=minutely, max_running=1, max_length=9)])
    config = Config(queues={"work": QueueConfig("work", concurrency=4, max_running=3)})

    alone, beside = queue_config(Config(), provided, "work"), queue_config(config, provided, "work")

    assert (alone.rate, alone.max_running, alone.max_length, alone.key_rate) == (minutely, 1, 9, None)
    assert (beside.rate, beside.max_running, beside.max_length) == (minutely, 3, 9)
    assert (beside.concurrency, beside.is_limited) == (4, True)

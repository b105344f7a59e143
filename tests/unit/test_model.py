"""Jobs, queues and what can be said of them."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from cgjobs import Backoff, Job, JobState, Priority, Progress
from cgjobs.model import BackoffKind


@pytest.mark.parametrize("state", JobState)
def test_only_ended_jobs_are_final(state: JobState) -> None:
    assert state.final == (state in {"completed", "failed", "cancelled"})


def test_the_levels_are_named_from_the_soonest_to_the_latest() -> None:
    assert list(Priority) == ["critical", "high", "normal", "low"]


@pytest.mark.parametrize(
    ("done", "total", "fraction"),
    [(1, 4, 0.25), (4, 4, 1), (9, 4, 1), (-1, 4, 0), (0, 0, 1), (3, None, None)],
)
def test_progress_is_a_share_of_the_whole(done: float, total: float | None, fraction: float | None) -> None:
    assert Progress(done, total).fraction == fraction


def test_a_job_cannot_be_changed_in_place() -> None:
    job = Job("a", "work", "work.note", JobState.WAITING)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        job.state = JobState.FAILED  # type: ignore[misc]


def test_a_jobs_payload_is_not_shown_by_accident() -> None:
    job = Job("a", "work", "work.note", JobState.WAITING, payload={"password": "hunter2"})

    assert "hunter2" not in repr(job)


def test_a_backoff_can_be_written_by_its_name() -> None:
    assert Backoff("fixed").kind is BackoffKind.FIXED  # type: ignore[arg-type,unused-ignore]


@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan"), float("inf")])
def test_jitter_is_a_share(jitter: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Backoff(jitter=jitter)


@pytest.mark.parametrize("field", ["delay", "ceiling"])
def test_no_wait_is_negative(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is .* must not be negative"):
        Backoff(**{field: timedelta(seconds=-1)})  # type: ignore[arg-type]


def test_a_fixed_wait_longer_than_an_hour_is_not_cut() -> None:
    backoff = Backoff.fixed(timedelta(days=2))

    assert backoff.ceiling == timedelta(days=2)


def test_an_unknown_kind_of_backoff_is_refused() -> None:
    with pytest.raises(ValueError, match="linear"):
        Backoff("linear")  # type: ignore[arg-type,unused-ignore]

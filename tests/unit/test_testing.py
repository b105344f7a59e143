"""The kit for authors of plugins."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import attrs
import pytest

from cgjobs import JobCancelled, Progress
from cgjobs.testing import LogLine, RecordingContext


@attrs.frozen
class Settings:
    name: str = "x"


class Door:
    def __init__(self) -> None:
        self.open = False

    def __enter__(self) -> Door:
        self.open = True
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False


def test_reports_and_lines_are_kept() -> None:
    ctx = RecordingContext()

    ctx.progress(1, 2, "half")
    for level in ("debug", "info", "warning", "error"):
        getattr(ctx.log, level)("seen", number=1)

    assert ctx.reports == [Progress(1, 2, "half")]
    assert ctx.lines == [
        LogLine(level, "seen", {"number": 1}) for level in ("debug", "info", "warn", "error")
    ]


def test_the_job_is_as_the_test_says() -> None:
    ctx = RecordingContext(job_id="j", attempt=3)

    assert (ctx.job.id, ctx.job.attempt) == ("j", 3)


def test_a_job_can_be_cancelled_at_a_report() -> None:
    ctx = RecordingContext(cancel_after=2)
    ctx.progress(1)

    with pytest.raises(JobCancelled):
        ctx.progress(2)


def test_settings_are_found_by_their_class() -> None:
    assert RecordingContext(settings=[Settings("y")]).settings(Settings).name == "y"


def test_missing_settings_are_asked_for() -> None:
    with pytest.raises(LookupError, match=r"settings=\[Settings"):
        RecordingContext().settings(Settings)


def test_a_stand_in_is_used_instead_of_the_real_thing() -> None:
    ctx = RecordingContext(uses={Door: "a stand-in"})

    assert ctx.use(Door) == "a stand-in"  # type: ignore[comparison-overlap]


def test_what_is_opened_is_opened_once_and_closed_at_the_end() -> None:
    with RecordingContext() as ctx:
        door = ctx.use(Door)

        assert ctx.use(Door) is door
        assert door.open
    assert not door.open


def test_what_is_no_context_manager_is_given_as_it_is() -> None:
    @contextlib.contextmanager
    def made(number: int) -> Iterator[int]:
        yield number

    with RecordingContext() as ctx:
        assert ctx.use(dict, a=1) == {"a": 1}
        assert ctx.use(made, 3) == 3


def test_what_has_only_a_close_is_closed_at_the_end_too() -> None:
    with RecordingContext() as ctx:
        file = ctx.use(io.StringIO, "x")

    assert file.closed

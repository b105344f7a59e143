"""An effect that happens once: what its author is told in each case."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest

from cgjobs import OutcomeUnknown, Retry, Snooze
from cgjobs.testing import RecordingContext
from tests.jobs import awaited


def test_a_new_effect_happens_and_is_then_done() -> None:
    ctx = RecordingContext()
    with ctx.once("mail", unknown="fail") as mail:
        assert mail
        assert ctx.marks == {"mail": "begun"}
    with ctx.once("mail", unknown="fail") as again:
        assert not again
        assert again.done

    assert ctx.marks == {"mail": "done"}


@awaited
async def test_an_async_handler_enters_it_with_async_with() -> None:
    ctx = RecordingContext()
    async with ctx.once("mail", unknown="fail") as mail:
        assert mail

    assert ctx.marks == {"mail": "done"}


@pytest.mark.parametrize(("choice", "goes"), [("again", True), ("skip", False)])
def test_what_nobody_knows_is_decided_by_the_author(choice: Literal["again", "skip"], goes: bool) -> None:
    ctx = RecordingContext(marks={"mail": "begun"})
    with ctx.once("mail", unknown=choice) as mail:
        assert bool(mail) is goes
        assert mail.unknown

    assert ctx.marks == {"mail": "done" if goes else "begun"}


def test_what_nobody_knows_fails_the_job_when_the_author_says_so() -> None:
    ctx = RecordingContext(marks={"mail": "begun"})

    with pytest.raises(OutcomeUnknown, match="began 'mail'"), ctx.once("mail", unknown="fail"):
        pytest.fail("the block must not be entered")


@pytest.mark.parametrize(
    ("error", "marks"),
    [
        (TimeoutError(), {"mail": "begun"}),
        (Retry("refused"), {}),
        (Snooze(timedelta(0)), {}),
    ],
)
def test_only_who_says_that_nothing_happened_takes_the_mark_away(
    error: Exception, marks: dict[str, str]
) -> None:
    ctx = RecordingContext()

    with pytest.raises(type(error)), ctx.once("mail", unknown="fail"):
        raise error

    assert ctx.marks == marks


@pytest.mark.parametrize(
    ("key", "unknown"), [("", "fail"), ("a b", "fail"), ("x" * 129, "fail"), ("a", "maybe")]
)
def test_a_key_or_a_choice_that_is_none_is_refused(key: str, unknown: Literal["fail"]) -> None:
    with pytest.raises(ValueError, match="once"):
        RecordingContext().once(key, unknown=unknown)


def test_a_checkpoint_comes_back_as_json_gives_it() -> None:
    ctx = RecordingContext()
    assert ctx.resume("from the start") == "from the start"

    ctx.checkpoint({"page": (1, 2)})

    assert ctx.resume() == {"page": [1, 2]}
    assert ctx.checkpoints == [{"page": [1, 2]}]
    with pytest.raises(TypeError, match="must have a JSON form"):
        ctx.checkpoint(object())
    with pytest.raises(ValueError, match=r"more than limits\.checkpoint_bytes"):
        ctx.checkpoint("x" * 70_000)

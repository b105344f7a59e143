"""``@subtype``: checked at import, and still a function."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cgjobs import Context, Subtype, subtype
from cgjobs.testing import RecordingContext
from tests.jobs import Count, Note, count, note


def test_a_decorated_function_can_still_be_called() -> None:
    assert count(Count(1), RecordingContext()) == 2


def test_a_subtype_knows_its_names_and_where_it_is_written() -> None:
    assert (note.name, note.job_type, note.kind) == ("work.note", "work", "note")
    assert note.summary == "Give the text back."
    assert note.location == "tests.jobs.note"


def test_an_async_handler_is_told_from_a_plain_one() -> None:
    assert note.is_async
    assert not count.is_async


def test_a_handler_without_a_docstring_has_no_help() -> None:
    @subtype("work.bare")
    def bare(payload: Note, ctx: Context) -> None:
        pass

    assert bare.summary == ""


@pytest.mark.parametrize(
    "name", ["note", "work.", ".note", "Work.note", "work.note.more", "work note", "work.n\n", ""]
)
def test_a_name_that_is_not_type_dot_subtype_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no full name"):
        subtype(name)


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(seconds=-1)])
def test_a_timeout_is_longer_than_nothing(timeout: timedelta) -> None:
    with pytest.raises(ValueError, match="above zero"):
        subtype("work.note", timeout=timeout)


def test_a_handler_must_say_what_it_takes() -> None:
    def handler(payload, ctx):  # type: ignore[no-untyped-def]
        pass

    with pytest.raises(TypeError, match=r"annotate 'payload'.*'work\.note'"):
        subtype("work.note")(handler)


def test_a_payload_must_be_an_attrs_class() -> None:
    def handler(payload: dict[str, str], ctx: Context) -> None:
        pass

    with pytest.raises(TypeError, match="an attrs class"):
        subtype("work.note")(handler)


def test_a_handler_takes_a_payload_and_a_context() -> None:
    def handler(payload: Note) -> None:
        pass

    with pytest.raises(TypeError, match="takes 1 arguments"):
        subtype("work.note")(handler)  # type: ignore[arg-type]


def test_two_subtypes_of_the_same_parts_are_not_the_same() -> None:
    assert Subtype("work.note", Note, note.handler) != note


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"isolation": "thread"}, "it is 'inline' or 'process'"),
        ({"memory": 1}, "needs isolation='process'"),
        ({"isolation": "process", "memory": 0}, "must be above zero"),
    ],
)
def test_wrong_isolation_is_refused_at_import(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        subtype("work.note", **options)


def test_an_async_handler_cannot_be_isolated() -> None:
    async def handler(payload: Note, ctx: Context) -> None: ...

    with pytest.raises(ValueError, match="only 'def' can be isolated"):
        subtype("work.note", isolation="process")(handler)

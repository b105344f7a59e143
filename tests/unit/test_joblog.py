"""What a handler logs, as it is kept with the job."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cgjobs.joblog import LINE_CHARACTERS, JobLog, Lines


def log(kept: list[str], secrets: tuple[str, ...] = ()) -> JobLog:
    return JobLog(structlog.get_logger(), kept.append, 2, lambda: secrets)


def test_a_line_is_kept_and_logged() -> None:
    kept: list[str] = []
    with capture_logs() as logged:
        log(kept).bind(user_id=7).warning("quota_reached", used=5)

    [line] = map(orjson.loads, kept)
    assert (line["level"], line["event"], line["attempt"]) == ("warn", "quota_reached", 2)
    assert line["data"] == {"userId": 7, "used": 5}
    assert [entry["event"] for entry in logged] == ["quota_reached"]


def test_debug_lines_are_logged_and_not_kept() -> None:
    kept: list[str] = []
    with capture_logs() as logged:
        log(kept).debug("detail")

    assert (kept, len(logged)) == ([], 1)


def test_secrets_are_hidden_in_kept_lines() -> None:
    kept: list[str] = []
    with capture_logs():
        log(kept, ('pa"ss', 'pa\\"ss')).error(
            'said pa"ss', api_token="abc", url="redis://me:abc@host/", nested={"a": 'pa"ss'}
        )

    assert 'pa\\"ss' not in kept[0]
    assert "abc" not in kept[0]
    assert orjson.loads(kept[0])["event"] == "said ********"


@given(st.text(max_size=3000), st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=2000)))
def test_no_line_is_longer_than_it_may_be(event: str, fields: dict[str, Any]) -> None:
    kept: list[str] = []
    with capture_logs():
        log(kept).info("x", **{f"field_{name}": value for name, value in fields.items()}, text=event)

    assert len(kept[0]) <= LINE_CHARACTERS
    assert orjson.loads(kept[0])["event"] == "x"


@pytest.mark.parametrize("value", [2**80, object(), "\ud800", {1: 2}, {"a": {2**70}}])
def test_what_has_no_json_is_kept_as_python_writes_it(value: object) -> None:
    kept: list[str] = []
    with capture_logs():
        log(kept).info("odd", value=value)

    assert orjson.loads(kept[0])["event"] == "odd"


def test_lines_keep_the_last_ones_and_count_all() -> None:
    lines = Lines(2)
    for text in ("a", "b", "c"):
        lines.add(text)

    assert lines.take() == (1, ["b", "c"])
    assert lines.take() == (3, [])


def test_lines_that_could_not_be_written_come_before_newer_ones() -> None:
    lines = Lines(3)
    for text in ("a", "b"):
        lines.add(text)
    before, taken = lines.take()
    lines.add("c")

    lines.put_back(before, taken)

    assert lines.take() == (0, ["a", "b", "c"])


def test_fields_that_are_unbound_are_not_kept() -> None:
    kept: list[str] = []
    with capture_logs():
        bound = log(kept).bind(user_id=7, room="ops")
        bound.unbind("room").info("left")
        bound.new(only=1).info("anew")

    assert [orjson.loads(line)["data"] for line in kept] == [{"userId": 7}, {"only": 1}]


def test_a_level_that_we_do_not_have_is_kept_by_its_weight_and_the_text_put_together() -> None:
    kept: list[str] = []
    with capture_logs():
        log(kept).critical("%d of %d", 1, 2)

    [line] = map(orjson.loads, kept)
    assert (line["level"], line["event"]) == ("error", "1 of 2")


def test_lines_that_have_no_room_any_more_are_not_put_back() -> None:
    lines = Lines(1)
    lines.add("a")
    before, taken = lines.take()
    lines.add("b")

    lines.put_back(before, taken)

    assert lines.take() == (1, ["b"])

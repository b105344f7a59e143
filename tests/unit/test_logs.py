"""Log lines: the shape of ChatGenius', and no secret in them."""

from __future__ import annotations

import io
import json
import logging
from datetime import timedelta
from typing import Any

import pytest
import structlog

from cgjobs import Event, logs
from cgjobs.builtin.logs import Logs


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_completed_job_is_logged_to_the_letter_of_the_specification(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    event = Event("job_completed", "report", "j1", "report.usage", "c1", 1, timedelta(seconds=1.5))

    Logs().cgjobs_event(event)

    [line] = lines(stream)
    assert list(line) == ["timestamp", "correlationId", "level", "event", "data"]
    assert line["timestamp"].endswith("Z")
    assert (line["correlationId"], line["level"], line["event"]) == ("c1", "info", "job_completed")
    assert line["data"] == {
        "queue": "report",
        "jobId": "j1",
        "type": "report.usage",
        "attempt": 1,
        "duration": 1500.0,
    }


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("job_started", "info"),
        ("job_completed", "info"),
        ("job_failed", "error"),
        ("job_retrying", "warn"),
        ("queue_paused", "warn"),
        ("broker_lost", "error"),
    ],
)
def test_each_event_has_the_level_that_its_weight_deserves(
    stream: io.StringIO, name: Any, level: str
) -> None:
    logs.configure("json", stream=stream)

    Logs().cgjobs_event(Event(name, "q", "j", error="E: broke"))

    assert lines(stream)[0]["level"] == level
    assert lines(stream)[0]["data"]["error"] == "E: broke"


def test_below_the_chosen_level_nothing_is_written(stream: io.StringIO) -> None:
    logs.configure("json", "warn", stream)

    Logs().cgjobs_event(Event("job_started", "q", "j"))

    assert stream.getvalue() == ""


def test_secrets_are_hidden_by_name_and_in_addresses(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)

    structlog.get_logger().info(
        "x", api_key="canary1", url="https://user:canary2@host/", user_token="canary3"
    )

    assert "canary" not in stream.getvalue()
    assert lines(stream)[0]["data"]["url"] == "https://********@host/"


def test_a_password_with_an_at_sign_is_hidden_whole(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)

    structlog.get_logger().info("x", url="redis://:can@ary@host:6379/0")

    assert lines(stream)[0]["data"]["url"] == "redis://********@host:6379/0"


def test_a_traceback_shows_no_local_variables(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    try:
        hidden = "canary"
        raise ValueError(f"broke at {len(hidden)}")
    except ValueError:
        structlog.get_logger().exception("failed")

    [line] = lines(stream)
    assert line["level"] == "error"
    assert "broke at 6" in json.dumps(line["data"]["exception"])
    assert "canary" not in stream.getvalue()


def test_what_libraries_log_has_the_same_shape(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)

    logging.getLogger("somelib").warning("odd: %s", 7)

    [line] = lines(stream)
    assert (line["level"], line["event"]) == ("warn", "log")
    assert line["data"] == {"logger": "somelib", "message": "odd: 7"}


def test_a_line_break_in_a_value_makes_no_second_line(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)

    structlog.get_logger().info("x", text='a\n{"event": "job_completed"}')

    assert len(stream.getvalue().splitlines()) == 1


def test_pretty_lines_are_for_people(stream: io.StringIO) -> None:
    logs.configure("pretty", stream=stream)

    Logs().cgjobs_event(Event("job_started", "report", "j1"))

    assert "job_started" in stream.getvalue()
    assert "queue=report" in stream.getvalue()


def test_a_value_that_json_does_not_know_is_shown_all_the_same(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)

    structlog.get_logger().info("x", value=object)

    assert "object" in lines(stream)[0]["data"]["value"]

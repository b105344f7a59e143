"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("90s", timedelta(seconds=90)),
        ("10ms", timedelta(milliseconds=10)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("1m1ms", timedelta(minutes=1, milliseconds=1)),
        (" 0s ", timedelta(0)),
        ("P30D", timedelta(days=30)),
        ("PT12H", timedelta(hours=12)),
        ("P2W", timedelta(weeks=2)),
        ("P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        ("PT0,5S", timedelta(milliseconds=500)),
        ("999999999d", timedelta(days=999_999_999)),
        (timedelta(seconds=3), timedelta(seconds=3)),
    ],
)
def test_a_duration_is_read_in_short_form_and_in_iso_8601(text: object, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("number", ["90", 90])
def test_a_bare_number_is_refused_with_the_units_to_choose_from(number: object) -> None:
    with pytest.raises(ValueError, match=r"^90 has no unit; write 90d, 90h, 90m or 90s$"):
        parse_duration(number)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1s", "negative"),
        ("-P1D", "negative"),
        (-5, "negative"),
        (timedelta(seconds=-1), "negative"),
        ("nan", "not a duration"),
        (float("nan"), "not a duration"),
        (float("inf"), "not a duration"),
        ("", "not a duration"),
        ("soon", "not a duration"),
        ("1h1h", "not a duration"),
        ("30m1h", "not a duration"),
        ("1 h", "not a duration"),
        ("٣d", "not a duration"),
        ("P", "not a duration"),
        ("P1DT", "not a duration"),
        ("P1Y", "not a duration"),
        ("P1M", "not a duration"),
        ("9" * 5_000 + "s", "not a duration"),
        (None, "NoneType is not a duration"),
        (True, "bool is not a duration"),
        (["1s"], "list is not a duration"),
        ("1000000000d", "too long"),
        ("999999999d24h", "too long"),
        ("9" * 60 + "d", "too long"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_reason(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=30), "30d"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(milliseconds=250), "250ms"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(hours=24), "1d"),
        (timedelta(0), "0s"),
        (timedelta(microseconds=999), "0s"),
        (timedelta(seconds=-90), "-1m30s"),
    ],
)
def test_a_duration_is_written_in_its_shortest_form(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@given(st.integers(min_value=0, max_value=timedelta.max // timedelta(milliseconds=1)))
def test_a_written_duration_reads_back_the_same(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)

    assert parse_duration(format_duration(duration)) == duration


@given(st.one_of(st.text(), st.from_regex(r"[-P]?(\d+(\.\d+)?(ms|[dhmsWDHMST]))*", fullmatch=True)))
def test_any_text_gives_a_duration_or_a_value_error(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return

    assert duration >= timedelta(0)

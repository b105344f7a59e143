"""Rates as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cgjobs import Rate
from cgjobs.assembly import Assembly
from cgjobs.written import Source, Table, Written, write


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/1m", Rate(100, timedelta(minutes=1))),
        (" 5 / 1h30m ", Rate(5, timedelta(minutes=90))),
        ("1/250ms", Rate(1, timedelta(milliseconds=250))),
    ],
)
def test_a_rate_is_a_count_and_a_window(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("100", "write it like 100/1m"),
        (100, "write it like 100/1m"),
        ("100/m", "write 100/1m"),
        ("100/60", "60 has no unit"),
        ("0/1m", "from 1 to 100,000"),
        ("200000/1m", "from 1 to 100,000"),
        ("1.5/1m", "no whole number"),
        ("-1/1m", "no whole number"),
        ("5/0s", "1 ms to 366 days"),
        ("5/400d", "1 ms to 366 days"),
        ("100 per minute", "write it like 100/1m"),
        ("5/soon", "is not a duration"),
    ],
)
def test_what_is_no_rate_is_refused_with_what_to_write(text: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rate.parse(text)


@pytest.mark.parametrize("variable", ["", "CGJOBS_QUEUES_MAIL_RATE"])
def test_a_rate_is_written_as_text_in_a_file_or_a_variable(variable: str) -> None:
    source = Source(variable=variable)
    queue = write({"rate": "5/1s"}, source)
    table = Table(source, {"queues": Table(source, {"mail": queue})})

    config, faults = Assembly(table).config()

    assert faults == []
    assert config.queues["mail"].rate == Rate(5, timedelta(seconds=1))


def test_a_wrong_rate_is_named_by_its_key() -> None:
    source = Source()
    queue = Table(source, {"rate": Written("100/m", source)})
    _, faults = Assembly(Table(source, {"queues": Table(source, {"mail": queue})})).config()

    assert [fault.path for fault in faults] == ["queues.mail.rate"]
    assert "write 100/1m" in faults[0].message

"""The period of a report: calendar, zones, the days on which the clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from cgjobs import Discard
from cgjobs_report import Params
from cgjobs_report.payloads import Granularity, Period
from cgjobs_report.period import Span, resolve

BERLIN = ZoneInfo("Europe/Berlin")
ASKED = datetime(2026, 11, 1, 0, 30, tzinfo=UTC)  # a Sunday


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type, misc]


def berlin(start: str, end: str) -> Span:
    return resolve(Params(from_=start, to=end, timezone="Europe/Berlin"), ASKED)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("yesterday", utc(2026, 10, 31), utc(2026, 11, 1)),
        ("last_week", utc(2026, 10, 19), utc(2026, 10, 26)),
        ("last_month", utc(2026, 10, 1), utc(2026, 11, 1)),
        ("last_quarter", utc(2026, 7, 1), utc(2026, 10, 1)),
        ("last_year", utc(2025, 1, 1), utc(2026, 1, 1)),
    ],
)
def test_a_named_period_is_the_one_before_the_job_was_enqueued(
    period: Period, start: datetime, end: datetime
) -> None:
    span = resolve(Params(period=period), ASKED)

    assert (span.start, span.end) == (start, end)


def test_without_anything_it_is_the_last_month() -> None:
    assert resolve(Params(), ASKED).slug == "2026-10"
    assert resolve(Params(), utc(2026, 1, 15)).slug == "2025-12"


def test_the_last_month_depends_on_the_zone() -> None:
    new_york = resolve(Params(timezone="America/New_York"), ASKED)  # where it is still October

    assert (new_york.start, new_york.end) == (utc(2026, 9, 1, 4), utc(2026, 10, 1, 4))


def test_a_month_in_which_the_clocks_go_forward_is_an_hour_short() -> None:
    march = berlin("2026-03-01", "2026-04-01")

    assert (march.start, march.end) == (utc(2026, 2, 28, 23), utc(2026, 3, 31, 22))
    assert march.end - march.start == timedelta(days=31, hours=-1)
    assert len(list(march.buckets("day"))) == 31
    assert len(list(march.buckets("hour"))) == 31 * 24 - 1


def test_a_month_in_which_the_clocks_go_back_is_an_hour_long() -> None:
    october = berlin("2026-10-01", "2026-11-01")
    days = list(october.buckets("day"))

    assert (october.start, october.end) == (utc(2026, 9, 30, 22), utc(2026, 10, 31, 23))
    assert len(days) == 31
    assert days[24].end - days[24].start == timedelta(hours=25)  # 25 October
    assert len(list(october.buckets("hour"))) == 31 * 24 + 1


def test_a_day_that_begins_with_a_jump_begins_at_the_jump() -> None:
    beirut = resolve(Params(from_="2025-03-30", to="2025-03-31", timezone="Asia/Beirut"), ASKED)

    assert beirut.end - beirut.start == timedelta(hours=23)


def test_a_time_with_an_offset_is_that_moment_in_every_zone() -> None:
    span = berlin("2026-10-25T02:30:00+01:00", "2026-10-25T03:00:00+01:00")

    assert (span.start, span.end) == (utc(2026, 10, 25, 1, 30), utc(2026, 10, 25, 2))


@pytest.mark.parametrize(
    ("start", "end", "title", "slug", "before"),
    [
        ("2026-03-01", "2026-04-01", "March 2026", "2026-03", "2026-02"),
        ("2026-01-01", "2027-01-01", "2026", "2026-01-01--2026-12-31", "2025-01-01--2025-12-31"),
        (
            *("2026-07-01", "2026-10-01", "July 2026 to September 2026"),
            *("2026-07-01--2026-09-30", "2026-04-01--2026-06-30"),
        ),
        ("2026-10-25", "2026-10-26", "25 October 2026", "2026-10-25", "2026-10-24"),
        (
            *("2026-10-26", "2026-11-02", "26 October 2026 to 1 November 2026"),
            *("2026-10-26--2026-11-01", "2026-10-19--2026-10-25"),
        ),
        (
            *("2026-10-05", "2026-10-12", "5 to 11 October 2026"),
            *("2026-10-05--2026-10-11", "2026-09-28--2026-10-04"),
        ),
        (
            *("2026-10-05T08:00", "2026-10-05T12:00", "5 October 2026 08:00 to 5 October 2026 12:00"),
            *("20261005T060000Z--20261005T100000Z", "20261005T020000Z--20261005T060000Z"),
        ),
    ],
)
def test_a_period_has_a_title_a_file_name_and_one_before_it(
    start: str, end: str, title: str, slug: str, before: str
) -> None:
    span = berlin(start, end)

    assert (span.title, span.slug, span.before().slug) == (title, slug, before)
    assert span.before().end == span.start


def test_weeks_begin_on_monday_and_the_ends_are_cut() -> None:
    weeks = list(berlin("2026-10-01", "2026-11-01").buckets("week"))

    assert [week.local_start.day for week in weeks] == [1, 5, 12, 19, 26]
    assert weeks[-1].local_end.isoformat() == "2026-11-01T00:00:00+01:00"


@profile(deadline=None)
@given(
    start=st.datetimes(datetime(1971, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001
    length=st.timedeltas(timedelta(minutes=1), timedelta(days=90)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe"]),
    granularity=st.sampled_from(["hour", "day", "week", "month"]),
)
def test_buckets_cover_the_period_without_gap_or_overlap(
    start: datetime, length: timedelta, zone: str, granularity: Granularity
) -> None:
    span = Span(start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + length, ZoneInfo(zone))

    buckets = list(span.buckets(granularity))

    assert buckets[0].start == span.start
    assert buckets[-1].end == span.end
    assert all(bucket.start < bucket.end for bucket in buckets)
    assert all(one.end == other.start for one, other in pairwise(buckets))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-10-02", "2026-10-01"),
        ("2026-10-01", "2026-10-01"),
        ("1969-12-31", "1970-01-02"),
        ("2000-01-01", "2026-01-01"),
        ("0001-01-01", "2026-01-01"),
        ("2026-01-01", "9999-12-31T23:59:59-12:00"),
    ],
)
def test_an_impossible_period_is_discarded(start: str, end: str) -> None:
    with pytest.raises(Discard, match="from"):
        berlin(start, end)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"from_": "2026-10-01"}, "from and to"),
        ({"from_": "2026-10-01", "to": "2026-11-01", "period": "last_week"}, "not both"),
        ({"from_": "yesterday", "to": "2026-11-01"}, "is no time"),
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"timezone": "../../etc/passwd"}, "no time zone"),
        ({"timezone": ""}, "no time zone"),
        ({"top": 0}, "top"),
    ],
)
def test_impossible_params_are_refused_when_enqueued(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Params(**arguments)  # type: ignore[arg-type]

"""When schedules fire."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs.cron import NICKNAMES, fires_between, next_fires, parse, previous_fire, zone
from cgjobs.model import Cron
from cgjobs.trigger import CronTrigger

MINUTE = timedelta(minutes=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(fires: list[datetime], timezone: str) -> list[str]:
    """As the zone's clocks show them, with the offset, since they show some times twice."""
    return [fire.astimezone(ZoneInfo(timezone)).strftime("%d %H:%M%z") for fire in fires]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 * * 0", ["2026-01-04 00:00", "2026-01-11 00:00"]),  # Sundays
        ("0 0 * * 7", ["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("0 0 * * SUN", ["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("0 0 * * 5-7/2", ["2026-01-02 00:00", "2026-01-04 00:00", "2026-01-09 00:00"]),
        ("0 0 1,15 * 1", ["2026-01-01 00:00", "2026-01-05 00:00", "2026-01-12 00:00", "2026-01-15 00:00"]),
        ("0 0 */2 * mon", ["2026-01-05 00:00", "2026-01-19 00:00"]),  # a star: Mondays with an odd day
        ("0 9 * * 1-5", ["2026-01-01 09:00", "2026-01-02 09:00", "2026-01-05 09:00"]),
        ("*/20 3-4 * jan-feb *", ["2026-01-01 03:00", "2026-01-01 03:20", "2026-01-01 03:40"]),
        ("5,10-20/5 0 * * *", ["2026-01-01 00:05", "2026-01-01 00:10", "2026-01-01 00:15"]),
        ("0 0 31 * *", ["2026-01-31 00:00", "2026-03-31 00:00", "2026-05-31 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 30 2 1", ["2026-02-02 00:00", "2026-02-09 00:00"]),  # Mondays in February
        ("@hourly", ["2026-01-01 00:00", "2026-01-01 01:00"]),
        ("@Daily", ["2026-01-01 00:00", "2026-01-02 00:00"]),
        ("@midnight", ["2026-01-01 00:00", "2026-01-02 00:00"]),
        ("@weekly", ["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("@monthly", ["2026-01-01 00:00", "2026-02-01 00:00"]),
        ("@yearly", ["2026-01-01 00:00", "2027-01-01 00:00"]),
        ("@annually", ["2026-01-01 00:00", "2027-01-01 00:00"]),
    ],
)  # fmt: skip
def test_the_five_fields_mean_what_crontab_says(expression: str, expected: list[str]) -> None:
    fires = next_fires(Cron(expression), utc("2025-12-31 23:59:59.5"), len(expected))

    assert fires == [utc(fire) for fire in expected]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "it is empty"),
        ("* * * *", "4 fields instead of five"),
        ("0 0 0 * * *", "6 fields instead of five"),
        ("@reboot", "no boot to wait for"),
        ("@fortnightly", "unknown nickname, use one of @hourly"),
        ("60 * * * *", "minute '60' is wrong; use 0 to 59"),
        ("* 24 * * *", "hour '24' is wrong; use 0 to 23"),
        ("* * 0 * *", "day of month '0' is wrong; use 1 to 31"),
        ("* * * 13 *", "month '13' is wrong; use 1 to 12 or jan to dec"),
        ("* * * * 8", "day of week '8' is wrong; use 0 to 7 or sun to sat"),
        ("* * * * monday", "day of week 'monday' is wrong"),
        ("* * ? * *", "day of month '?' is wrong"),
        ("* * L * *", "day of month 'L' is wrong"),
        ("* * * * 5#2", "day of week '5#2' is wrong"),
        ("1,,2 * * * *", "minute '1,,2' is wrong"),
        ("*-5 * * * *", "minute '*-5' is wrong"),
        ("-1 * * * *", "minute '-1' is wrong"),
        ("٣ * * * *", "minute '٣' is wrong"),
        ("* * * * fri-mon", "day of week 'fri-mon' runs backwards"),
        ("5/15 * * * *", "minute '5/15' has a step without a range; write 5-59/15"),
        ("*/90 * * * *", "minute '*/90' has a wrong step; use 1 to 59"),
        ("*/0 * * * *", "minute '*/0' has a wrong step"),
        ("*/ * * * *", "minute '*/' has a wrong step"),
        ("0 0 30 2 *", "it never fires"),
        ("0 0 31 4,6 *", "it never fires"),
    ],
)
def test_a_wrong_expression_is_refused_with_the_reason_and_an_example(expression: str, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse(expression)

    assert f"cron expression {expression!r}: " in str(refusal.value)
    assert reason in str(refusal.value)
    assert "Example: '0 9 * * 1-5'" in str(refusal.value)


def test_an_expression_is_kept_as_five_fields() -> None:
    assert parse(" 0  0\t* * sun\n").text == "0 0 * * sun"
    assert {parse(nickname).text for nickname in NICKNAMES} == set(NICKNAMES.values())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "Did you mean 'Europe/Berlin'?"),
        ("Europe", "Did you mean"),
        ("", "such as 'Europe/Berlin'"),
        ("../etc/passwd", "such as 'Europe/Berlin'"),
        ("\0", "such as 'Europe/Berlin'"),
    ],
)
def test_an_unknown_zone_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ValueError) as refusal:
        zone(name)

    assert f"no time zone named {name!r}" in str(refusal.value)
    assert hint in str(refusal.value)


# Berlin: 02:00 -> 03:00 on 29 March 2026, 03:00 -> 02:00 on 25 October. Lord Howe: 02:00 -> 02:30 on
# 4 October, 02:00 -> 01:30 on 5 April. Cairo: 00:00 -> 01:00 on 24 April, 24:00 -> 23:00 on 29 October.
# Apia: 30 December 2011 does not exist. New York: 02:00 -> 03:00 on 8 March, 02:00 -> 01:00 on 1 November.
@pytest.mark.parametrize(
    ("timezone", "expression", "after", "expected"),
    [
        # A skipped time fires once, at the first instant after the gap.
        ("Europe/Berlin", "30 2 * * *", "2026-03-28 12:00",
            ["29 03:00+0200", "30 02:30+0200"]),
        ("Europe/Berlin", "15,45 2 * * *", "2026-03-28 12:00",
            ["29 03:00+0200", "30 02:15+0200"]),
        ("Europe/Berlin", "0 2,3 * * *", "2026-03-28 12:00",
            ["29 03:00+0200", "30 02:00+0200"]),
        ("America/New_York", "30 2 8 3 *", "2026-01-01 12:00", ["08 03:00-0400", "08 02:30-0500"]),
        ("Australia/Lord_Howe", "10 2 * * *", "2026-10-03 00:00", ["04 02:30+1100", "05 02:10+1100"]),
        ("Africa/Cairo", "0 0 * * *", "2026-04-23 00:00", ["24 01:00+0300", "25 00:00+0300"]),
        ("Pacific/Apia", "0 12 * * *", "2011-12-29 00:00",
            ["29 12:00-1000", "31 00:00+1400", "31 12:00+1400"]),
        ("Pacific/Apia", "0 0 * * *", "2011-12-29 08:00",
            ["29 00:00-1000", "31 00:00+1400", "01 00:00+1400"]),
        # A repeated time fires once, the first time.
        ("Europe/Berlin", "30 2 * * *", "2026-10-24 12:00",
            ["25 02:30+0200", "26 02:30+0100"]),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25 01:00",
            ["26 02:30+0100"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-04 00:00", ["05 01:45+1100", "06 01:45+1030"]),
        ("Africa/Cairo", "30 23 * * *", "2026-10-29 12:00", ["29 23:30+0300", "30 23:30+0200"]),
        ("Europe/Berlin", "0 0-23 * * *", "2026-10-24 23:30",
            ["25 02:00+0200", "25 03:00+0100"]),
        # A star in minute or hour: whenever the clocks show such a time.
        ("Europe/Berlin", "*/30 * * * *", "2026-03-29 00:00",
            ["29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]),
        ("Europe/Berlin", "*/30 * * * *", "2026-10-24 23:45",
            ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"]),
        ("Europe/Berlin", "30 * * * *", "2026-03-29 00:00", ["29 01:30+0100", "29 03:30+0200"]),
        ("Europe/Berlin", "30 * * * *", "2026-10-25 00:00", ["25 02:30+0200", "25 02:30+0100"]),
        ("Europe/Berlin", "0 */2 * * *", "2026-03-28 23:30", ["29 04:00+0200", "29 06:00+0200"]),
        ("Europe/Berlin", "0 */2 * * *", "2026-10-24 23:30",
            ["25 02:00+0200", "25 02:00+0100", "25 04:00+0100"]),
        ("Europe/Berlin", "*/30 2 * * *", "2026-03-28 12:00", ["30 02:00+0200", "30 02:30+0200"]),
        ("Australia/Lord_Howe", "*/20 * * * *", "2026-10-03 15:00",
            ["04 01:40+1030", "04 02:40+1100", "04 03:00+1100"]),
        ("Australia/Lord_Howe", "0 * * * *", "2026-10-03 15:00", ["04 03:00+1100", "04 04:00+1100"]),
        ("Australia/Lord_Howe", "*/30 5 * * *", "2026-10-03 00:00", ["04 05:00+1100", "04 05:30+1100"]),
        ("Australia/Lord_Howe", "40 * * * *", "2026-04-04 14:00",
            ["05 01:40+1100", "05 01:40+1030", "05 02:40+1030"]),
        ("Africa/Cairo", "*/30 0 * * *", "2026-04-23 00:00", ["25 00:00+0300", "25 00:30+0300"]),
        ("Africa/Cairo", "*/30 23 29 10 *", "2026-10-29 12:00",
            ["29 23:00+0300", "29 23:30+0300", "29 23:00+0200", "29 23:30+0200"]),
        ("Pacific/Apia", "0 */12 * * *", "2011-12-29 20:00",
            ["29 12:00-1000", "31 00:00+1400", "31 12:00+1400"]),
        ("Asia/Kathmandu", "0 0 * * *", "2026-01-01 00:00", ["02 00:00+0545", "03 00:00+0545"]),
    ],
)  # fmt: skip
def test_clock_changes_are_handled_as_debian_cron_does(
    timezone: str, expression: str, after: str, expected: list[str]
) -> None:
    fires = next_fires(Cron(expression, timezone), utc(after), len(expected))

    assert shown(fires, timezone) == expected
    assert all(fire.tzinfo is UTC for fire in fires)


def test_a_schedule_far_away_is_read_with_the_offset_of_its_own_day() -> None:
    fires = next_fires(Cron("*/30 12 1 7 *", "Europe/Berlin"), utc("2026-01-01"), 3)

    assert fires == [utc("2026-07-01 10:00"), utc("2026-07-01 10:30"), utc("2027-07-01 10:00")]


def test_after_may_be_in_any_zone_but_not_naive() -> None:
    tokyo = datetime(2026, 1, 1, 9, 0, tzinfo=ZoneInfo("Asia/Tokyo"))

    assert next_fires(Cron("@daily"), tokyo, 1) == [utc("2026-01-02")]
    with pytest.raises(ValueError, match="has no zone"):
        next_fires(Cron("@daily"), tokyo.replace(tzinfo=None), 1)


def test_the_fires_of_a_span_are_its_last_ones_with_its_end_and_without_its_start() -> None:
    start, end = utc("2026-01-01 00:00"), utc("2026-01-03 00:00")

    assert fires_between(Cron("@daily"), start, end, 5) == [utc("2026-01-02"), end]
    assert fires_between(Cron("@daily"), start, end, 1) == [end]
    assert fires_between(Cron("*/5 * * * *"), start, end, 2) == [end - 5 * MINUTE, end]
    assert fires_between(Cron("@yearly"), start, end, 5) == []


def test_the_previous_fire_is_found_near_and_far() -> None:
    now = utc("2026-03-29 01:00")

    assert previous_fire(Cron("* * * * *"), now + MINUTE / 2) == now
    assert previous_fire(Cron("30 2 * * *", "Europe/Berlin"), now) == now
    assert previous_fire(Cron("0 0 29 2 *"), now) == utc("2024-02-29")


def test_the_trigger_gives_apscheduler_the_fire_after_the_last_one() -> None:
    trigger = CronTrigger(Cron("0 0 * * 0"))
    now = utc("2026-01-20")

    assert trigger.get_next_fire_time(None, now) == utc("2026-01-25")
    assert trigger.get_next_fire_time(utc("2026-01-04"), now) == utc("2026-01-11")


@pytest.mark.parametrize("cron", [Cron("60 * * * *"), Cron("@daily", "Europe/Berln")])
def test_a_wrong_schedule_makes_no_trigger(cron: Cron) -> None:
    with pytest.raises(ValueError):
        CronTrigger(cron)


ZONES = ("UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "America/New_York")
NEAR_A_CHANGE = ("2026-03-29", "2026-10-25", "2026-04-24", "2026-10-29", "2026-10-03", "2026-04-04",
    "2011-12-30", "2026-03-08", "2026-11-01", "2026-06-15", "2024-02-29")  # fmt: skip


def values(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field and what it means, made together so that the oracle need not read cron expressions."""
    every = st.just(("*", frozenset(range(low, high + 1))))
    some = st.frozensets(st.integers(low, high), min_size=1, max_size=4)
    return every | some.map(lambda numbers: (",".join(map(str, numbers)), numbers))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[str, tuple[frozenset[int], ...]]:
    months = st.just(("*", frozenset(range(1, 13))))
    fields = draw(st.tuples(values(0, 59), values(0, 23), values(1, 31), months, values(0, 6)))
    return " ".join(text for text, _ in fields), tuple(numbers for _, numbers in fields)


def minute_by_minute(
    expression: str, fields: tuple[frozenset[int], ...], tz: ZoneInfo, start: datetime, end: datetime
) -> Iterator[datetime]:
    """The definition, walked through: every minute of real time, with what the clocks show at it."""
    minutes, hours, days, months, weekdays = fields
    minute, hour, day, _, weekday = expression.split()
    fixed = minute != "*" and hour != "*"

    def matches(wall: datetime) -> bool:
        of_month, of_week = wall.day in days, wall.isoweekday() % 7 in weekdays
        on_day = of_month or of_week if day != "*" and weekday != "*" else of_month and of_week
        return wall.minute in minutes and wall.hour in hours and on_day and wall.month in months

    now, last = start, start.astimezone(tz).replace(tzinfo=None)
    while (now := now + MINUTE) <= end:
        local = now.astimezone(tz)
        wall = local.replace(tzinfo=None, fold=0)
        skipped = [last + step * MINUTE for step in range(1, (wall - last) // MINUTE)]
        if (matches(wall) and not (fixed and local.fold)) or (fixed and any(map(matches, skipped))):
            yield now
        last = wall


@given(schedules(), st.sampled_from(ZONES), st.sampled_from(NEAR_A_CHANGE), st.integers(-36 * 60, 36 * 60))
def test_every_fire_is_one_that_a_walk_through_all_minutes_finds(
    schedule: tuple[str, tuple[frozenset[int], ...]], timezone: str, day: str, minutes: int
) -> None:
    expression, fields = schedule
    start = utc(day) + minutes * MINUTE
    end = start + timedelta(days=2)

    fires = fires_between(Cron(expression, timezone), start, end, 3_000)

    assert fires == list(minute_by_minute(expression, fields, ZoneInfo(timezone), start, end))


@given(schedules(), st.sampled_from(ZONES), st.integers(0, 2**31))
def test_the_next_fire_is_always_later(
    schedule: tuple[str, tuple[frozenset[int], ...]], timezone: str, now: int
) -> None:
    after = datetime.fromtimestamp(now, UTC)

    first, second = next_fires(Cron(schedule[0], timezone), after, 2)

    assert after < first < second
    assert previous_fire(Cron(schedule[0], timezone), first) == first

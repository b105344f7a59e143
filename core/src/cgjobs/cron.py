"""Five-field cron expressions and the times at which they fire, in any zone and across clock changes.

The fields mean what crontab(5) says: 0 and 7 are Sunday, names stand for months and days of the week, and
when neither day field begins with ``*`` a day matches as soon as one of them does.

When the clocks of the zone change, Debian's cron (cron(8), after Vixie) decides what happens:

- A job at fixed times, whose minute and hour fields do not begin with ``*``, runs once for each time. A time
  that the clocks skip fires at the first instant after the gap (02:30 in Berlin fires at 03:00 on the day
  when summer time begins); a time that they show twice fires the first time.
- Any other job (``*/15 * * * *``, ``30 * * * *``, ``0 */2 * * *``) fires whenever the clocks show a matching
  time: twice if they show it twice, not at all if they skip it.

Several fixed times inside one gap are one fire. Unlike Debian's cron, which takes a change of more than three
hours for a correction, we hold to this for every gap, also for the day that Samoa skipped in 2011.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import attrs
from cronsim import CronSim, CronSimError

from cgjobs.errors import suggest
from cgjobs.model import Cron

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EXAMPLE = "Example: '0 9 * * 1-5' is 09:00 from Monday to Friday."
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SECOND = timedelta(seconds=1)
_LONGEST_LOOK_BACK = timedelta(days=50 * 366)


@attrs.frozen
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def fault(self, text: str) -> str | None:
        """What is wrong with ``text``, or None. Stricter than cronsim, which also takes L, # and 5/15."""
        names = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        for term in text.lower().split(","):
            span, _, step = term.partition("/")
            ends = [self._number(end) for end in span.split("-")]
            if span != "*" and (len(ends) > 2 or not all(self.low <= end <= self.high for end in ends)):
                return f"is wrong; use {self.low} to {self.high}{names}, * for all, a-b for a range"
            if ends != sorted(ends):
                return f"runs backwards; use {self.low} <= a <= b <= {self.high}"
            if step and span != "*" and len(ends) == 1:
                return f"has a step without a range; write {span}-{self.high}/{step}"
            if "/" in term and not 1 <= self._number(step) <= self.high - self.low:
                return f"has a wrong step; use 1 to {self.high - self.low}"
        return None

    def _number(self, text: str) -> int:
        if text in self.names:
            return self.names.index(text) + self.low
        return int(text) if text.isascii() and text.isdigit() else -1


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS),
)


@attrs.frozen
class CronExpression:
    """A checked expression; `parse` makes it.

    Args:
        text: The five fields, one space between them, nicknames spelled out.
    """

    text: str

    @property
    def fixed(self) -> bool:
        """Whether it names fixed times of the day, which a clock change neither drops nor doubles."""
        minute, hour, *_ = self.text.split()
        return not (minute.startswith("*") or hour.startswith("*"))


def parse(expression: str) -> CronExpression:
    """Check a cron expression.

    Args:
        expression: Five fields, or one of ``@hourly``, ``@daily``, ``@midnight``, ``@weekly``, ``@monthly``,
            ``@yearly`` and ``@annually``. Upper and lower case are the same.

    Raises:
        ValueError: It is not one, or it never fires (30 February). The message says what is wrong.
    """
    text = NICKNAMES.get(expression.strip().lower(), expression)
    parts = text.split()
    if fault := _fault(parts):
        raise ValueError(f"cron expression {expression!r}: {fault}. {_EXAMPLE}")
    return CronExpression(" ".join(parts))


def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: There is none; the message suggests one.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "Europe" is a directory
        close = suggest(name, available_timezones())
        hint = f"Did you mean {close!r}?" if close else "Use an IANA name such as 'Europe/Berlin'."
        raise ValueError(f"no time zone named {name!r}. {hint}") from None


def next_fires(cron: Cron, after: datetime, count: int) -> list[datetime]:
    """The next times at which a schedule fires.

    Args:
        cron: The schedule.
        after: Aware; every fire is strictly later.
        count: How many.

    Returns:
        Aware UTC datetimes, rising.

    Raises:
        ValueError: The expression or the zone is wrong, or ``after`` is naive.
    """
    return list(islice(_fires(cron, after), count))


def fires_between(cron: Cron, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """The last times at which a schedule fired in a span, such as those missed while nothing ran.

    Args:
        cron: The schedule.
        after: Aware; every fire is strictly later.
        until: Aware; no fire is later.
        limit: At most this many, the latest ones; from 1.

    Returns:
        Aware UTC datetimes, rising.

    Raises:
        ValueError: The expression or the zone is wrong, or a datetime is naive.
    """
    after, until, span = _utc(after), _utc(until), timedelta(hours=1)
    while True:  # From a growing distance, so that a long span costs no walk through all its fires.
        start = max(after, until - span) if until - after > span else after
        fires = deque(takewhile(lambda fire: fire <= until, _fires(cron, start)), maxlen=limit)
        if len(fires) == limit or start == after:
            return list(fires)
        span *= 4


def previous_fire(cron: Cron, at: datetime) -> datetime | None:
    """The last time not later than ``at`` (aware) at which a schedule fired, or None within 50 years."""
    return next(iter(fires_between(cron, _utc(at) - _LONGEST_LOOK_BACK, at, 1)), None)


def _fault(parts: list[str]) -> str | None:
    match parts:
        case []:
            return "it is empty"
        case ["@reboot"]:
            return "a scheduler has no boot to wait for"
        case [word] if word.startswith("@"):
            return f"unknown nickname, use one of {', '.join(NICKNAMES)}"
        case [_, _, _, _, _]:
            pass
        case _:
            names = ", ".join(field.name for field in _FIELDS)
            return f"{len(parts)} fields instead of five ({names})"
    for field, part in zip(_FIELDS, parts, strict=True):
        if fault := field.fault(part):
            return f"{field.name} {part!r} {fault}"
    try:
        next(CronSim(" ".join(parts), datetime(2000, 1, 1)))  # noqa: DTZ001 - what the clocks show
    except (CronSimError, StopIteration):
        return "it never fires, no such month has that day"
    return None


def _fires(cron: Cron, after: datetime) -> Iterator[datetime]:
    expression = parse(cron.expression)
    fires = _at_fixed_times if expression.fixed else _at_matching_times
    return fires(expression.text, zone(cron.timezone), _utc(after))


def _at_fixed_times(expression: str, tz: ZoneInfo, after: datetime) -> Iterator[datetime]:
    for wall in CronSim(expression, _wall(after, tz)):
        first = wall.replace(tzinfo=tz).astimezone(UTC)
        if _wall(first, tz) != wall:
            # In a gap, fold=0 reads the offset before it and so lands after it; fold=1 lands before it.
            before = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
            first = _clock_change(tz, before, first) or first
        if first > after:
            yield first
            after = first


def _at_matching_times(expression: str, tz: ZoneInfo, after: datetime) -> Iterator[datetime]:
    start: datetime | None = _wall(after, tz)
    while start is not None:
        offset, walls, start = _offset(tz, after), CronSim(expression, start), None
        for wall in walls:
            fire = (wall - offset).replace(tzinfo=UTC)
            if change := _clock_change(tz, after, fire):
                after, start = change, _wall(change, tz) - _SECOND  # the change itself may fire
                break
            yield fire
            after = fire


def _clock_change(tz: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """The first instant in (after, until] with another offset than ``after`` has. Looks once a day."""
    offset = _offset(tz, after)
    low = after
    while low < until:
        high = min(low + timedelta(days=1), until)
        if _offset(tz, high) != offset:
            seconds = range(int(low.timestamp()), int(high.timestamp()))
            passed = bisect_left(
                seconds, True, key=lambda second: _offset(tz, datetime.fromtimestamp(second, UTC)) != offset
            )
            return datetime.fromtimestamp(seconds.start + passed, UTC)
        low = high
    return None


def _offset(tz: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(tz).utcoffset()
    assert offset is not None  # a ZoneInfo always has one
    return offset


def _wall(instant: datetime, tz: ZoneInfo) -> datetime:
    return instant.astimezone(tz).replace(tzinfo=None, fold=0)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no zone; give an aware datetime such as datetime.now(UTC)")
    return moment.astimezone(UTC)

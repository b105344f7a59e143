"""The time a report is about: from a local midnight to another, whatever the clocks do in between.

All arithmetic is done on local wall time, all comparison on UTC: Python compares two times of the same zone
by their wall time, which is wrong in the hour that happens twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import attrs

from cgjobs import Discard
from cgjobs_report.payloads import Granularity, Params, Period

MOST_BUCKETS = 1_000
"""Bars in one chart."""
_LONGEST = timedelta(days=3_660)
_MONTHS: dict[Period, int] = {"last_month": 1, "last_quarter": 3, "last_year": 12}


@attrs.frozen
class Span:
    """A half-open stretch of time, seen from one zone.

    Args:
        start: Its first moment (UTC).
        end: The first moment after it (UTC).
        zone: Where days begin and end.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo

    @property
    def local_start(self) -> datetime:
        """Its first moment, in its zone."""
        return self.start.astimezone(self.zone)

    @property
    def local_end(self) -> datetime:
        """The first moment after it, in its zone."""
        return self.end.astimezone(self.zone)

    @property
    def title(self) -> str:
        """For people: ``October 2026``, ``5 October 2026``, ``5 to 11 October 2026``."""
        first, last = self._wall
        months = _months(first, last)
        if months is None:
            days = _days(first, last)
            if not days:
                return f"{_day(first)} {first:%H:%M} to {_day(last)} {last:%H:%M}"
            last -= timedelta(days=1)
            if days == 1:
                return _day(first)
            same = (first.year, first.month) == (last.year, last.month)
            return f"{first.day if same else _day(first)} to {_day(last)}"
        if months == 12 and first.month == 1:
            return f"{first.year}"
        last -= timedelta(days=1)
        return f"{first:%B %Y}" if months == 1 else f"{first:%B %Y} to {last:%B %Y}"

    @property
    def slug(self) -> str:
        """For file names: ``2026-10``, ``2026-10-05``, ``2026-10-05--2026-10-11``."""
        first, last = self._wall
        if _months(first, last) == 1:
            return f"{first:%Y-%m}"
        days = _days(first, last)
        if not days:  # in UTC, as a local hour can happen twice
            return f"{self.start:%Y%m%dT%H%M%SZ}--{self.end:%Y%m%dT%H%M%SZ}"
        return f"{first:%Y-%m-%d}" if days == 1 else f"{first:%Y-%m-%d}--{last - timedelta(days=1):%Y-%m-%d}"

    def before(self) -> Span:
        """The period before this one: as many calendar months, otherwise as many days and hours."""
        first, last = self._wall
        months = _months(first, last)
        earlier = first - (last - first) if months is None else _shift(first, -months)
        return Span(_instant(earlier, self.zone), self.start, self.zone)

    def last(self, days: int) -> Span:
        """Its last days, or those up to its end when it is shorter."""
        wall = self.local_end.replace(tzinfo=None) - timedelta(days=days)
        return Span(_instant(wall, self.zone), self.end, self.zone)

    def buckets(self, granularity: Granularity) -> Iterator[Span]:
        """Cut into hours, or into local days, weeks or months; the first and the last may be partial."""
        at = self.start
        while at < self.end:
            until = min(_next(at, granularity, self.zone), self.end)
            yield Span(at, until, self.zone)
            at = until

    @property
    def _wall(self) -> tuple[datetime, datetime]:
        return self.local_start.replace(tzinfo=None), self.local_end.replace(tzinfo=None)


def cut(span: Span, granularity: Granularity) -> tuple[Span, ...]:
    """Its buckets.

    Raises:
        Discard: They are more than a chart has bars for.
    """
    spans = tuple(itertools.islice(span.buckets(granularity), MOST_BUCKETS + 1))
    if len(spans) > MOST_BUCKETS:
        raise Discard(f"{span.title} has over {MOST_BUCKETS} {granularity}s; use a coarser granularity")
    return spans


def resolve(params: Params, asked_at: datetime) -> Span:
    """The span that ``params`` mean.

    Args:
        params: What was asked for.
        asked_at: When it was asked (aware); ``last_month`` is the month before this moment's, in its zone.

    Raises:
        Discard: ``from`` is not before ``to``, is before 1970, or more than ten years before ``to``.
    """
    zone = ZoneInfo(params.timezone)
    if params.from_ is not None and params.to is not None:
        try:
            span = Span(_parse(params.from_, zone), _parse(params.to, zone), zone)
        except OverflowError as error:
            raise Discard(f"from {params.from_!r} to {params.to!r}: {error}") from error
        if not timedelta(0) < span.end - span.start <= _LONGEST or span.start.year < 1970:
            raise Discard(
                f"from {params.from_!r} to {params.to!r} must be up to ten years forward, since 1970"
            )
        return span
    today = datetime.combine(asked_at.astimezone(zone).date(), time())
    first, last = _calendar(params.period or "last_month", today)
    return Span(_instant(first, zone), _instant(last, zone), zone)


def _calendar(period: Period, today: datetime) -> tuple[datetime, datetime]:
    if period == "yesterday":
        return today - timedelta(days=1), today
    if period == "last_week":
        monday = today - timedelta(days=today.weekday())
        return monday - timedelta(days=7), monday
    months = _MONTHS[period]
    last = today.replace(day=1, month=today.month - (today.month - 1) % months)
    return _shift(last, -months), last


def _next(at: datetime, granularity: Granularity, zone: ZoneInfo) -> datetime:
    wall = at.astimezone(zone).replace(tzinfo=None)
    if granularity == "hour":
        return at + timedelta(hours=1) - (wall - wall.replace(minute=0, second=0, microsecond=0))
    day = datetime.combine(wall.date(), time())
    if granularity == "day":
        day += timedelta(days=1)
    elif granularity == "week":
        day += timedelta(days=7 - day.weekday())
    else:
        day = _shift(day.replace(day=1), 1)
    return _instant(day, zone)


def _parse(text: str, zone: ZoneInfo) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else _instant(moment, zone)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """A time that the clocks skip is the moment at which they skip; one that happens twice is the first."""
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _shift(first: datetime, months: int) -> datetime:
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return first.replace(year=year, month=month + 1)


def _months(first: datetime, last: datetime) -> int | None:
    """How many whole calendar months, or None."""
    if not _days(first, last) or first.day != 1 or last.day != 1:
        return None
    return (last.year - first.year) * 12 + last.month - first.month


def _days(first: datetime, last: datetime) -> int:
    """How many whole days; 0 when it does not begin and end at midnight."""
    return (last - first).days if first.time() == last.time() == time() else 0


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"

"""What to enqueue. Imports nothing heavy: every web process that enqueues imports this."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import attrs

Period = Literal["yesterday", "last_week", "last_month", "last_quarter", "last_year"]
Granularity = Literal["hour", "day", "week", "month"]
Format = Literal["html", "csv", "xlsx", "pdf", "json"]


def known_zone(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    """Refuse what is no time zone."""
    try:
        ZoneInfo(value)
    except Exception as error:  # zoneinfo raises whatever the path stumbles over
        raise ValueError(f"no time zone {value!r}; write it like Europe/Berlin") from error


def _moment(instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    try:
        datetime.fromisoformat("1970-01-01" if value is None else value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no time; write it like 2026-10-01 or 2026-10-01T08:00") from error


@attrs.frozen(kw_only=True)
class Params:
    """What a report is about. Give ``from`` and ``to``, or ``period``, or neither for the last month.

    Args:
        from_: First moment, ISO 8601: a date, or a date and time; in ``timezone`` unless it has an offset.
        to: First moment after it, likewise: ``from`` 2026-10-01 ``to`` 2026-11-01 is all of October.
        period: The calendar period before the one in which the job was enqueued; weeks begin on Monday.
        timezone: IANA name of the zone in which days begin and end.
        granularity: What one bar of the charts stands for.
        top: How many channels and people are listed; 1 to 100.
        compare: Whether the numbers are compared with the period before.
    """

    from_: str | None = attrs.field(default=None, validator=_moment)
    to: str | None = attrs.field(default=None, validator=_moment)
    period: Period | None = None
    timezone: str = attrs.field(default="UTC", validator=known_zone)
    granularity: Granularity = "day"
    top: int = attrs.field(default=10, validator=[attrs.validators.ge(1), attrs.validators.le(100)])
    compare: bool = True

    def __attrs_post_init__(self) -> None:
        if (self.from_ is None) != (self.to is None):
            raise ValueError("give from and to, or neither")
        if self.from_ is not None and self.period is not None:
            raise ValueError("give from and to, or period, not both")


@attrs.frozen(kw_only=True)
class Usage:
    """A report of how ChatGenius was used: people, messages, channels, files.

    Args:
        params: What it is about.
        formats: The files to write: ``html`` to read, ``csv`` for a spreadsheet, ``json`` for programs.
    """

    params: Params = attrs.field(factory=Params)
    formats: tuple[Format, ...] = attrs.field(default=("html",), validator=attrs.validators.min_len(1))

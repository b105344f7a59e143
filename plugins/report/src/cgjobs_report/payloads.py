"""What to enqueue. Imports nothing heavy: every web process that enqueues imports this."""

from __future__ import annotations

import string
from datetime import datetime, timedelta
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


NAMES = ("report", "period", "timezone", "granularity", "variant")
"""What may stand in braces in a name template."""


def _template(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    """Refuse a name that is no relative path, or has what nobody fills in."""
    if not value:
        return
    hint = f"write it like 'monthly/{{report}}-{{period}}' with any of {', '.join(NAMES)}"
    try:
        parts = list(string.Formatter().parse(value))
        filled = value.format(**dict.fromkeys(NAMES, "x"))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(f"{value!r} is no name template ({error}); {hint}") from error
    if any(part[2] or part[3] or (part[1] is not None and part[1] not in NAMES) for part in parts):
        raise ValueError(f"{value!r} is no name template; {hint}")
    if len(filled) > 200 or any(
        part in ("", ".", "..") or not part.isprintable() or "\\" in part for part in filled.split("/")
    ):
        raise ValueError(f"{value!r} is no relative path of at most 200 characters; {hint}")


def _some(instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if not all(value):
        raise ValueError("has an empty text in it")


def _retention(instance: object, attribute: attrs.Attribute[Any], value: timedelta) -> None:
    if not timedelta(days=1) <= value <= timedelta(days=36_500):
        raise ValueError("must be from 1d to 36500d")


def _formats() -> Any:
    return attrs.field(default=("html",), validator=attrs.validators.min_len(1))


def _filter() -> Any:
    return attrs.field(default=(), validator=[attrs.validators.max_len(100), _some])


@attrs.frozen(kw_only=True)
class Usage:
    """A report of how ChatGenius was used: people, messages, channels, files.

    Args:
        params: What it is about.
        formats: The files to write: ``html`` to read, ``pdf`` to print, ``xlsx`` and ``csv`` for a
            spreadsheet, ``json`` for programs.
        store: The store into which they are written, of ``[plugins.data.stores]``. None: the settings' one.
        name_template: Their path in it, without ending: ``monthly/{report}-{period}``, with ``report``,
            ``period``, ``timezone``, ``granularity`` and ``variant`` (what else differs from a plain report,
            empty when nothing does). Empty: what keeps reports that differ apart.
        notify: Ids of users who get a mail with it.
        retention: So long it is to be kept; the report and the result say until when. 1d to 36500d.
    """

    params: Params = attrs.field(factory=Params)
    formats: tuple[Format, ...] = _formats()
    store: str | None = None
    name_template: str = attrs.field(default="", validator=_template)
    notify: tuple[str, ...] = _filter()
    retention: timedelta = attrs.field(default=timedelta(days=90), validator=_retention)


@attrs.frozen(kw_only=True)
class Audit:
    """A report of the audit log: who did what when.

    Args:
        params: What it is about.
        actors: Only entries of these actors. None given: of all.
        actions: Only entries of these actions; ``channel.*`` means all that begin with ``channel.``.
        targets: Only entries about these targets.
        include_pii: Also names, addresses and details, which may say where somebody was.
        formats, store, name_template, notify, retention: As with `Usage`.
    """

    params: Params = attrs.field(factory=Params)
    actors: tuple[str, ...] = _filter()
    actions: tuple[str, ...] = _filter()
    targets: tuple[str, ...] = _filter()
    include_pii: bool = False
    formats: tuple[Format, ...] = _formats()
    store: str | None = None
    name_template: str = attrs.field(default="", validator=_template)
    notify: tuple[str, ...] = _filter()
    retention: timedelta = attrs.field(default=timedelta(days=90), validator=_retention)


@attrs.frozen(kw_only=True)
class Performance:
    """A report of the jobs themselves: how many, how long they waited and ran, what failed.

    Args:
        params: What it is about.
        queues: Only these queues. None given: all.
        formats, store, name_template, notify, retention: As with `Usage`.
    """

    params: Params = attrs.field(factory=Params)
    queues: tuple[str, ...] = _filter()
    formats: tuple[Format, ...] = _formats()
    store: str | None = None
    name_template: str = attrs.field(default="", validator=_template)
    notify: tuple[str, ...] = _filter()
    retention: timedelta = attrs.field(default=timedelta(days=90), validator=_retention)


Payload = Usage | Audit | Performance

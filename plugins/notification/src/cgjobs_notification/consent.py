"""Whether a message may go out now: what the user wants, and the hours in which nothing shall disturb."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from cgjobs import Snooze
from cgjobs_notification.payloads import Category
from cgjobs_notification.recipient import Channel, Wishes

SkippedReason = Literal[
    "", "expired", "user_deleted", "disabled", "opted_out", "quiet_hours", "no_devices", "bounced", "user_cap"
]
_ALWAYS: frozenset[Category] = frozenset({"security"})
_AT_ONCE: frozenset[Category] = frozenset({"security", "transactional"})


def refusal(wishes: Wishes, channel: Channel, category: Category) -> SkippedReason:
    """Why the user does not want the message; empty when it may be sent.

    A password or a login (``security``) is told in any case, but for one: who has answered STOP to a text
    message gets no more of them, whatever they are about; carriers see to that.
    """
    if wishes.opted_out and (category not in _ALWAYS or channel == "sms"):
        return "opted_out"
    if not wishes.enabled and category not in _ALWAYS:
        return "disabled"
    return ""


def await_quiet_hours(
    wishes: Wishes,
    category: Category,
    *,
    timezone: str,
    now: datetime,
    respect: bool | None,
    skips: bool,
    expires_at: datetime | None,
) -> SkippedReason:
    """Put the job off while the user's quiet hours last.

    Args:
        wishes: What the user wants.
        category: What the message is about.
        timezone: The user's; a name that is none counts as UTC.
        now: The present (aware).
        respect: Whether quiet hours hold for the message; None: its category decides.
        skips: Whether a message that meets them is dropped instead of put off.
        expires_at: When it becomes pointless.

    Returns:
        Why it is skipped; empty when it may be sent now.

    Raises:
        Snooze: Until they end; no attempt is used up.
    """
    holds = category not in _AT_ONCE if respect is None else respect
    end = quiet_until(wishes.quiet, timezone, now) if holds else None
    if end is None:
        return ""
    if skips:
        return "quiet_hours"
    if expires_at is not None and expires_at <= end:
        return "expired"  # it would be when the user wakes up
    raise Snooze(end - now, f"quiet hours until {end.isoformat(timespec='minutes')}")


def quiet_until(quiet: tuple[time, time] | None, timezone: str, now: datetime) -> datetime | None:
    """When the quiet hours end in which ``now`` lies; None when it lies in none.

    From 22:00 until 07:00 spans midnight; the same time twice is no span. On the day a clock is changed the
    end is the one that the user's clock shows.
    """
    if quiet is None or quiet[0] == quiet[1]:
        return None
    zone = zone_of(timezone)
    local = now.astimezone(zone)
    begin, end = quiet
    at = local.time().replace(tzinfo=None)
    inside = begin <= at < end if begin < end else (at >= begin or at < end)
    if not inside:
        return None
    day = local.date() if at < end else local.date() + timedelta(days=1)
    until = datetime.combine(day, end, zone).astimezone(UTC)
    return max(until, now.astimezone(UTC) + timedelta(seconds=1))


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name; UTC when there is none: a user's typo must not lose the message."""
    try:
        return ZoneInfo(name)
    except Exception:  # zoneinfo raises whatever the path stumbles over
        return ZoneInfo("UTC")

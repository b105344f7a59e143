"""What replies over HTTP say to people and about waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LONGEST_WAIT = timedelta(hours=6)


def retry_after(headers: dict[str, str], now: datetime | None = None) -> timedelta | None:
    """What a ``Retry-After`` asks for (RFC 9110, 10.2.3), at most 6 h; None without one."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal() and text.isascii():
        return min(timedelta(seconds=int(text[:9])), _LONGEST_WAIT)
    try:
        wait = parsedate_to_datetime(text) - (now or datetime.now(UTC))
    except (TypeError, ValueError):
        return None
    return min(max(wait, timedelta(0)), _LONGEST_WAIT)


def said(body: bytes) -> str:
    """The first words of a reply, for people."""
    return " ".join(body[:300].decode("utf-8", "replace").split())

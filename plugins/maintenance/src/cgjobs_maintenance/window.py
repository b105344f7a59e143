"""A daily window of time, such as ``01:00-05:00``."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

import attrs

_WRITTEN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)\Z")


@attrs.frozen
class Window:
    """From one time of the day to another, in UTC; past midnight when the second is the earlier one."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read ``HH:MM-HH:MM``.

        Raises:
            ValueError: It is none, or has no length.
        """
        found = _WRITTEN.match(text)
        if not found:
            raise ValueError(f"{text!r} is no window; write it in UTC like '01:00-05:00'")
        start, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
        if start == end:
            raise ValueError(f"window {text!r} has no length")
        return cls(start, end)

    def wait(self, now: datetime) -> timedelta:
        """How long until it is open; zero when it is."""
        at = now.time()
        inside = self.start <= at < self.end if self.start < self.end else at >= self.start or at < self.end
        if inside:
            return timedelta(0)
        opens = datetime.combine(now.date(), self.start, now.tzinfo)
        return (opens if opens > now else opens + timedelta(days=1)) - now

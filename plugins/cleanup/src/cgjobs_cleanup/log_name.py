"""What the name of a log file says: its family, when it was rotated, and whether it may be the live one."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import attrs

_PACKED = re.compile(r"\.(?:gz|zst|bz2|xz|lz4|part)\Z", re.IGNORECASE)
_NUMBER = re.compile(r"\.(\d{1,6})\Z")
_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<between>[-_.]?)(?P<month>\d\d)(?P=between)(?P<day>\d\d)"
    r"(?:-\d{10}|[-_T.]?\d\d(?:[-_:.]?\d\d){0,2})?(?!\d)"
)


@attrs.frozen
class LogName:
    """A log file's name, read.

    Args:
        family: What the files that one rotation makes of one log have in common, such as ``app.log`` for
            ``app.log.1`` and ``app-*.log`` for ``app-2026-11-01.log``.
        until: End (UTC) of the day in the name; None when there is none.
        number: The number that rotation counts up, as in ``app.log.1``; None when there is none.
        packed: Whether it is compressed, or was being compressed.
    """

    family: str
    until: datetime | None
    number: int | None
    packed: bool

    @property
    def live(self) -> bool:
        """Whether nothing in the name says that it was rotated: somebody may be writing to it."""
        return self.until is None and self.number is None and not self.packed

    @classmethod
    def read(cls, name: str) -> LogName:
        """Read a name, the last part of a path."""
        stem, packed, number = name, False, None
        while match := _PACKED.search(stem):
            stem, packed = stem[: match.start()], True
        if match := _NUMBER.search(stem):
            without = stem[: match.start()]
            if not any(found.end() > match.start() for found in _dates(stem)):
                stem, number = without, int(match[1])
        until = None
        for found in _dates(stem):
            until = _end_of(found)
            stem = f"{stem[: found.start()]}*{stem[found.end() :]}"
            break
        return cls(stem, until, number, packed)


def _dates(name: str) -> list[re.Match[str]]:
    return [found for found in _DATE.finditer(name) if _end_of(found) is not None]


def _end_of(found: re.Match[str]) -> datetime | None:
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)

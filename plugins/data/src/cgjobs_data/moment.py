"""Times as a column holds them: from and to aware ``datetime`` in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cgjobs_data.layout import TimeFormat

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def write(at: datetime, time: TimeFormat, *, zoned: bool) -> datetime | int | str:
    """What a column holds for a moment.

    Args:
        at: The moment (aware).
        time: How the column holds times.
        zoned: Whether the database has a type with a time zone; without one ``timestamptz`` is ``utc``.

    Raises:
        ValueError: The moment is naive.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    at = at.astimezone(UTC)
    match time:
        case "timestamptz":
            return at if zoned else at.replace(tzinfo=None)
        case "utc":
            return at.replace(tzinfo=None)
        case "epoch_s":
            return (at - _EPOCH) // timedelta(seconds=1)
        case "epoch_ms":
            return (at - _EPOCH) // timedelta(milliseconds=1)
        case "iso8601":  # of one width, so that it sorts as text
            return f"{at.isoformat(timespec='milliseconds')[:-6]}Z"


def read(value: object, time: TimeFormat) -> datetime | None:
    """The moment that a column's value means, aware and in UTC; None for NULL.

    Raises:
        ValueError: It is no time.
    """
    match value:
        case None:
            return None
        case datetime():
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        case int() | float() if time == "epoch_ms":
            return _EPOCH + timedelta(milliseconds=value)
        case int() | float():
            return _EPOCH + timedelta(seconds=value)
        case str():
            return read(datetime.fromisoformat(value), time)
    raise ValueError(f"{value!r} is no time")

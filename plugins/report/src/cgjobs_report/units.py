"""Numbers for people."""

from __future__ import annotations

from datetime import datetime

from cgjobs_report.document import Cell, KeyFigure

_BYTES = ("bytes", "kB", "MB", "GB", "TB", "PB")
_DURATIONS = (
    (0.9995, 0.001, "ms"),
    (90, 1, "s"),
    (5_400, 60, "min"),
    (172_800, 3_600, "h"),
    (None, 86_400, "days"),
)
MISSING = "–"  # noqa: RUF001 - an en dash is what tables have where there is nothing


def shown(value: Cell, unit: str) -> str:
    """A cell as text: ``1,234``, ``12.3 MB``, ``350 ms``, ``4 min``, ``98.5 %``, ``2026-10-05 09:30:00``."""
    if value is None:
        return MISSING
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, str):
        return value
    if unit == "bytes":
        return size(value)
    if unit == "seconds":
        return duration(value)
    if unit == "share":
        return f"{value:.1%}".replace("%", " %")
    return f"{value:,.1f}" if unit == "decimal" else f"{value:,.0f}"


def size(count: float) -> str:
    """Bytes, in powers of ten."""
    value, units = float(count), iter(_BYTES)
    unit = next(units)
    for larger in units:
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "bytes" or value >= 99.95 else f"{value:,.1f} {unit}"


def duration(seconds: float) -> str:
    """A time in the unit in which it reads well: ``0.4 ms``, ``350 ms``, ``12.5 s``, ``4 min``, ``2.5 h``."""
    if seconds < 0:
        return f"−{duration(-seconds)}"  # noqa: RUF001
    divisor, unit = next(
        (divisor, unit) for limit, divisor, unit in _DURATIONS if limit is None or seconds < limit
    )
    value = seconds / divisor
    text = f"{value:.0f}" if value >= 99.95 else f"{value:.3g}" if value >= 9.95 else f"{value:.2g}"
    return f"{text} {unit}"


def change(figure: KeyFigure) -> str:
    """How much it grew, in percent of what it was; empty when that cannot be said."""
    now, before = figure.value, figure.before
    if now is None or before is None:
        return ""
    if figure.unit == "share":
        points = round((now - before) * 100, 1)
        return f"{_sign(points)}{abs(points):g} points"
    if not before:
        return "±0 %" if not now else "new"
    percent = round((now - before) / before * 100)
    return f"{_sign(percent)}{abs(percent):,} %"


def mood(figure: KeyFigure) -> str:
    """Whether the change is ``good`` or ``bad``; empty when it is neither."""
    if figure.value is None or figure.before is None or figure.better is None:
        return ""
    if change(figure).startswith("±"):
        return ""
    return "good" if (figure.value > figure.before) == (figure.better == "more") else "bad"


def _sign(number: float) -> str:
    return "+" if number > 0 else "−" if number < 0 else "±"  # noqa: RUF001

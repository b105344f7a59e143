"""The numbers of `figures` as a report."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from cgjobs_report.document import Chart, Column, KeyFigure, Report, Series, Table, Unit, label
from cgjobs_report.figures import Figures, Rank

_NOTES = (
    "Somebody is active who wrote a message; messages deleted later still count.",
    "Direct messages of all people are one line.",
)


_NOTHING = ("Nothing happened", "Nobody wrote a message or uploaded a file in this period.")


def usage_report(figures: Figures, asked_at: datetime, generated_at: datetime) -> Report:
    """Make a report of the numbers."""
    granularity = figures.params.granularity
    return Report(
        kind="usage",
        subject="Usage of ChatGenius",
        span=figures.span,
        timezone=figures.params.timezone,
        before=figures.span.before() if figures.previous is not None else None,
        granularity=granularity,
        asked_at=asked_at,
        generated_at=generated_at,
        figures=_key_figures(figures),
        charts=(
            _chart(figures, "messages", "Messages"),
            _chart(figures, "active_users", "Active people"),
        ),
        tables=(
            _ranking("channel", "Busiest channels", "Channel", ("active_users", "People"), figures.channels),
            _ranking("person", "Who wrote most", "Person", ("active_channels", "Channels"), figures.people),
            _buckets(figures),
        ),
        warnings=figures.warnings,
        notes=_NOTES,
        nothing=(
            ("Nothing happened", "Nobody wrote a message or uploaded a file in this period.")
            if figures.totals.nothing
            else None
        ),
    )


def _key_figures(figures: Figures) -> tuple[KeyFigure, ...]:
    def figure(key: str, name: str, unit: Unit = "count", note: str = "") -> KeyFigure:
        before = None if figures.previous is None else getattr(figures.previous, key)
        now = getattr(figures.totals, key)
        better: Literal["more"] | None = None if unit == "bytes" else "more"
        return KeyFigure(key=key, name=name, value=now, before=before, unit=unit, better=better, note=note)

    return (
        figure("messages", "Messages"),
        figure("active_users", "Active people"),
        figure("daily_users", "Active per day", "decimal", "on average"),
        figure("weekly_users", "Active in a week", note="last 7 days"),
        figure("monthly_users", "Active in a month", note="last 30 days"),
        figure("active_channels", "Active channels"),
        figure("files", "Files"),
        figure("file_bytes", "Uploaded", "bytes"),
    )


def _chart(figures: Figures, key: str, title: str) -> Chart:
    granularity = figures.params.granularity
    return Chart(
        key=key,
        title=f"{title} per {granularity}",
        buckets=tuple(bucket.span for bucket in figures.buckets),
        granularity=granularity,
        series=(Series(name=title, values=tuple(getattr(bucket, key) for bucket in figures.buckets)),),
    )


def _ranking(key: str, title: str, one: str, counted: tuple[str, str], ranks: tuple[Rank, ...]) -> Table:
    columns = (
        Column(key="name", title=one),
        Column(key="messages", title="Messages", unit="count"),
        Column(key=counted[0], title=counted[1], unit="count"),
    )
    rows = tuple((rank.name, rank.messages, rank.count) for rank in ranks)
    return Table(key=key, title=title, columns=columns, rows=rows, bar="messages")


def _buckets(figures: Figures) -> Table:
    granularity = figures.params.granularity
    columns = (
        Column(key="name", title=granularity.capitalize()),
        Column(key="start", title="Start", unit="time", shown=False),
        Column(key="end", title="End", unit="time", shown=False),
        Column(key="messages", title="Messages", unit="count"),
        Column(key="active_users", title="Active people", unit="count"),
    )
    rows = tuple(
        (
            label(bucket.span, granularity),
            bucket.span.local_start,
            bucket.span.local_end,
            bucket.messages,
            bucket.active_users,
        )
        for bucket in figures.buckets
    )
    return Table(key=granularity, title="All numbers", columns=columns, rows=rows, wide=True, most=62)

"""Figures to the bytes of a file. The same figures give the same bytes."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from cgjobs_report.chart import Chart, chart
from cgjobs_report.figures import Bucket, Figures
from cgjobs_report.payloads import Format
from cgjobs_report.period import Span

if TYPE_CHECKING:
    from jinja2 import Environment

_MOST_ROWS = 62  # two months of days are still a table to read
# "CSV Injection", owasp.org; the last four are the full-width forms of the first four.
_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
_COLUMNS = (
    "section",
    "start",
    "end",
    "name",
    "messages",
    "active_users",
    "active_channels",
    "files",
    "file_bytes",
)


def html(figures: Figures, asked_at: datetime) -> bytes:
    """One page that needs nothing else: no script, no image, no network."""
    page = _environment().get_template("usage.html.j2")
    noun = figures.params.granularity
    charts = {
        f"Messages per {noun}": _chart(figures, lambda bucket: bucket.messages),
        f"Active people per {noun}": _chart(figures, lambda bucket: bucket.active_users),
    }
    return page.render(
        figures=figures,
        empty=figures.totals.messages == figures.totals.files == 0,
        charts=charts,
        buckets=figures.buckets if len(figures.buckets) <= _MOST_ROWS else (),
        before=figures.span.before().title,
        asked_at=asked_at,
    ).encode()


def csv_table(figures: Figures, asked_at: datetime) -> bytes:
    """One table (RFC 4180), a section for each kind of row. No cell is taken for a formula."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, restval="")
    writer.writeheader()
    for row in _rows(figures):
        writer.writerow({column: inert(value) for column, value in row.items()})
    return text.getvalue().encode("utf-8-sig")  # without the mark, spreadsheets guess another encoding


def json_object(figures: Figures, asked_at: datetime) -> bytes:
    """The same as one object."""
    document = {
        "report": "usage",
        "requestedAt": asked_at.isoformat(timespec="seconds"),
        "timezone": figures.params.timezone,
        "granularity": figures.params.granularity,
        "warnings": figures.warnings,
        "rows": [dict(row) for row in _rows(figures)],
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


RENDERERS: Mapping[Format, Callable[[Figures, datetime], bytes]] = {
    "html": html,
    "csv": csv_table,
    "json": json_object,
}
"""Each format's renderer: figures and the time at which the report was asked for, to bytes."""


def inert(value: object) -> object:
    """Keep a text from being a formula, by an apostrophe before what starts one."""
    risky = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if risky else value


def _rows(figures: Figures) -> Iterator[dict[str, object]]:
    span, before = figures.span, figures.span.before()
    yield {"section": "period", **_times(span), "name": span.title, **attrs.asdict(figures.totals)}
    if figures.previous is not None:
        yield {
            "section": "previous",
            **_times(before),
            "name": before.title,
            **attrs.asdict(figures.previous),
        }
    for bucket in figures.buckets:
        yield {
            "section": figures.params.granularity,
            **_times(bucket.span),
            "messages": bucket.messages,
            "active_users": bucket.active_users,
        }
    for rank in figures.channels:
        yield {"section": "channel", "name": rank.name, "messages": rank.messages, "active_users": rank.count}
    for rank in figures.people:
        yield {
            "section": "person",
            "name": rank.name,
            "messages": rank.messages,
            "active_channels": rank.count,
        }


def _times(span: Span) -> dict[str, str]:
    start, end = span.local_start, span.local_end
    return {"start": start.isoformat(timespec="seconds"), "end": end.isoformat(timespec="seconds")}


def _chart(figures: Figures, value: Callable[[Bucket], int]) -> Chart:
    fine = figures.params.granularity in ("hour", "day")
    weekend = [fine and bucket.span.local_start.weekday() >= 5 for bucket in figures.buckets]
    labels = [label(bucket, figures) for bucket in figures.buckets]
    return chart([value(bucket) for bucket in figures.buckets], weekend, labels)


def label(bucket: Bucket, figures: Figures) -> str:
    """A bucket's name: ``Mon 5 Oct``, with the hour or as a month where that is what it is."""
    at = bucket.span.local_start
    day = f"{at:%a} {at.day} {at:%b}"
    return {
        "hour": f"{day} {at:%H:%M}",
        "day": day,
        "week": f"Week of {at.day} {at:%b}",
        "month": f"{at:%b %Y}",
    }[figures.params.granularity]


def change(now: float, before: float) -> str:
    """How much a number grew, in percent of what it was."""
    if not before:
        return "±0 %" if not now else "new"
    percent = round((now - before) / before * 100)
    return f"{'+' if percent > 0 else '−' if percent < 0 else '±'}{abs(percent):,} %"  # noqa: RUF001


def size(count: int) -> str:
    """Bytes for people, in powers of ten."""
    value, units = float(count), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    for larger in units:
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:,.1f} {unit}"


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # .1 s, only for those who need it

    environment = Environment(
        loader=PackageLoader("cgjobs_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(change=change, size=size, label=label, number="{:,}".format)
    return environment

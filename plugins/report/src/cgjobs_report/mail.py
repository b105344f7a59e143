"""What a mail about a report says: the key figures, pictures of its charts, and where the files are."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from cgjobs_report import page, units, vega
from cgjobs_report.document import Report
from cgjobs_report.payloads import Format

_MOST_PICTURES = 2


@attrs.frozen
class Link:
    """A file of the report that people can fetch.

    Args:
        format: What it is.
        url: Where.
    """

    format: Format
    url: str


@attrs.frozen
class Picture:
    """A chart as PNG, which every mail program shows.

    Args:
        title: What it shows.
        key: Its name in file names.
        content: The picture.
    """

    title: str
    key: str
    content: bytes = attrs.field(repr=False)


def pictures(report: Report) -> tuple[Picture, ...]:
    """The first charts of a report; none without the extra ``charts`` or when nothing happened."""
    if report.nothing is not None or not vega.available():
        return ()
    return tuple(Picture(chart.title, chart.key, vega.png(chart)) for chart in report.charts[:_MOST_PICTURES])


def text(report: Report, links: Sequence[Link]) -> str:
    """The mail as plain text; without links the files go with it."""
    lines = [report.title, page.heading(report), ""]
    lines += [*report.warnings, ""] if report.warnings else []
    if report.nothing is not None:
        lines += [" ".join(report.nothing), ""]
    else:
        for figure in report.figures:
            changed = units.change(figure)
            value = units.shown(figure.value, figure.unit)
            lines.append(f"{figure.name}: {value}" + (f" ({changed})" if changed else ""))
        lines.append("")
    lines += [f"{link.format.upper()}: {link.url}" for link in links] or ["The report is attached."]
    return "\n".join([*lines, "", page.ending(report)])


def html(report: Report, links: Sequence[Link], shown: Sequence[tuple[str, str]]) -> str:
    """The same as HTML, of what every mail program knows: tables, and styles in their place.

    Args:
        report: What it is about.
        links: Its files; none: they go with the mail.
        shown: Titles and addresses of pictures.
    """
    return page.environment().get_template("mail.html.j2").render(report=report, links=links, pictures=shown)

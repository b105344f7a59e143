"""Charts as pictures, drawn by Vega-Lite out of plain dicts: the extra ``charts``.

Nothing is loaded from the network, and no text of a user is in a specification.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from typing import Any

from cgjobs_report.bars import round_up
from cgjobs_report.document import Chart
from cgjobs_report.period import Span

COLORS = {
    "main": "#3b6fd4",
    "second": "#12a594",
    "third": "#8f5bd6",
    "bad": "#d6453d",
    "quiet": "#a9c1ee",
    "text": "#5d667a",
    "line": "#e3e7ef",
}
"""By look, and those of text and lines. `themed` replaces them by the page's variables."""
MOST_BARS = 130
"""More are an area: they would be thinner than their gaps, and the file heavy."""
_STEPS = {
    "hour": (1, 3, 6, 12, 24, 48, 168, 336),
    "day": (1, 2, 7, 14, 28, 91, 182, 365),
    "week": (1, 2, 4, 13, 26, 52),
    "month": (1, 2, 3, 6, 12, 24),
}
_NOISE = re.compile(
    r""" (?:role|class|aria-[a-z]+|pointer-events|stroke-miterlimit|version|xmlns:xlink|font-family)"""
    r"""="[^"]*"|"""
    r""" (?:opacity="1"|stroke-width="0"|fill="transparent")"""
)
_DIGITS = re.compile(r"(?<![\w#])-?[0-9]+\.[0-9]{2,}(?:e-?[0-9]+)?")
_EMPTY = re.compile(r'<path d="(?:M0,0h[0-9.]*v[0-9.]*h-?[0-9.]*Z)?"(?: display="none")?/>')
_BAR = re.compile(r'<path d="([^"]+)" fill="([^"]+)"/>')
_RUN = re.compile(r'(?:<path d="[^"]+" fill="[^"]+"/>){2,}')


def available() -> bool:
    """Whether the extra ``charts`` is installed."""
    return importlib.util.find_spec("vl_convert") is not None


def svg(chart: Chart, *, width: int = 820, height: int = 190) -> str:
    """Draw a chart.

    Args:
        chart: What to draw.
        width, height: Of the plot, in pixels; the axes are beside it.
    """
    import vl_convert

    drawn = _NOISE.sub("", vl_convert.vegalite_to_svg(_specification(chart, width, height)))
    drawn = _DIGITS.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), drawn)
    return _RUN.sub(_joined, _EMPTY.sub("", drawn))


def png(chart: Chart, *, width: int = 560, height: int = 150) -> bytes:
    """Draw a chart at twice its size, for mail programs, which show no SVG."""
    import vl_convert

    specification = _specification(chart, width, height) | {"background": "#ffffff", "padding": 12}
    return vl_convert.vegalite_to_png(specification, scale=2)


def _joined(run: re.Match[str]) -> str:
    """Bars of one colour are one path: half the size."""
    paths: dict[str, str] = {}
    for shape, fill in _BAR.findall(run[0]):
        paths[fill] = paths.get(fill, "") + shape
    return "".join(f'<path fill="{fill}" d="{shape}"/>' for fill, shape in paths.items())


def themed(drawing: str) -> str:
    """An SVG whose colours are the variables ``--main``, ``--bad`` and so on of the page around it."""
    for name, color in COLORS.items():
        drawing = drawing.replace(color, f"var(--{name})")
    return drawing


def _specification(chart: Chart, width: int, height: int) -> dict[str, Any]:
    areas = chart.kind == "bars" and len(chart.buckets) > MOST_BARS
    legend = _legend(chart, areas)
    color = {
        "field": "look",
        "type": "nominal",
        "scale": {"domain": list(legend), "range": [COLORS[look] for look in legend.values()]},
        "legend": None
        if len(legend) < 2
        else {
            "orient": "top",
            "direction": "horizontal",
            "title": None,
            "symbolType": "stroke" if chart.kind == "lines" else "square",
            "symbolSize": 90,
            "symbolStrokeWidth": 3 if chart.kind == "lines" else 0,
            "labelLimit": 260,
            "columnPadding": 18,
            "offset": 8,
            "values": list(legend),
        },
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": width,
        "height": height,
        "background": None,
        "padding": {"left": 6, "right": 4, "top": 2, "bottom": 2},
        "data": {"values": list(_values(chart, areas))},
        "layer": [{"mark": _mark(chart, areas)}, *_lonely(chart)],
        "encoding": {"x": _across(chart, width), "y": _up(chart), "color": color, **_extent(chart, areas)},
        "config": {
            "aria": False,
            "font": "sans-serif",
            "view": {"stroke": None},
            "legend": {"labelColor": COLORS["text"], "labelFontSize": 12},
            "axis": {
                "labelColor": COLORS["text"],
                "labelFontSize": 12,
                "gridColor": COLORS["line"],
                "domainColor": COLORS["line"],
                "tickColor": COLORS["line"],
                "title": None,
            },
        },
    }


def _weekends(chart: Chart, areas: bool) -> bool:
    """Whether weekends have a colour of their own."""
    return chart.kind == "bars" and not areas and len(chart.series) == 1 and any(chart.quiet)


def _legend(chart: Chart, areas: bool) -> dict[str, str]:
    """The looks that are drawn, by their names."""
    if _weekends(chart, areas):
        return {"Monday to Friday": "main", "Saturday and Sunday": "quiet"}
    return {series.name: series.look for series in chart.series}


def _values(chart: Chart, areas: bool) -> Iterator[dict[str, Any]]:
    weekends = _weekends(chart, areas)
    gap = 0.16 if len(chart.buckets) > 1 else 0.7
    for at, quiet in enumerate(chart.quiet):
        floor = 0.0
        for series in chart.series:
            value, look = series.values[at], series.name
            if weekends:
                look = "Saturday and Sunday" if quiet else "Monday to Friday"
            if chart.kind == "lines":
                beside = series.values[max(at - 1, 0) : at] + series.values[at + 1 : at + 2]
                alone = value is not None and all(other is None for other in beside)
                yield {"at": at, "look": look, "value": value, "alone": alone}
            elif value or areas:
                end = floor + (value or 0)
                row = {"at": at, "look": look, "value": end, "floor": floor}
                yield row if areas else row | {"from": at - 0.5 + gap / 2, "to": at + 0.5 - gap / 2}
                floor = end


def _mark(chart: Chart, areas: bool) -> dict[str, Any]:
    smooth = "linear" if len(chart.buckets) > MOST_BARS else "monotone"
    if chart.kind == "lines":
        return {"type": "line", "strokeWidth": 2, "interpolate": smooth, "strokeCap": "round"}
    if areas:
        return {"type": "area", "interpolate": smooth, "opacity": 0.9}
    rounded = len(chart.buckets) <= 62 and len(chart.series) == 1
    return {"type": "bar", "cornerRadiusEnd": 2 if rounded else 0}


def _lonely(chart: Chart) -> list[dict[str, Any]]:
    """A value between two that are missing has no line: it is a point."""
    if chart.kind != "lines":
        return []
    return [{"transform": [{"filter": "datum.alone"}], "mark": {"type": "circle", "size": 40, "opacity": 1}}]


def _extent(chart: Chart, areas: bool) -> dict[str, Any]:
    if chart.kind == "lines":
        return {}
    floor = {"y2": {"field": "floor"}}
    return floor if areas else floor | {"x2": {"field": "to"}}


def _across(chart: Chart, width: int) -> dict[str, Any]:
    ticks = _ticks(chart, most=8 if width > 600 else 4)
    names = {at: _tick(chart.buckets[at], chart) for at in ticks}
    texts = "{" + ",".join(f"'{at}':'{name}'" for at, name in names.items()) + "}"
    return {
        "field": "at" if chart.kind == "lines" or len(chart.buckets) > MOST_BARS else "from",
        "type": "quantitative",
        "scale": {"domain": [-0.5, len(chart.buckets) - 0.5], "nice": False, "zero": False},
        "axis": {
            "values": ticks,
            "labelExpr": f"{texts}[datum.value]",
            "grid": False,
            "tickSize": 4,
            "labelPadding": 4,
            "labelFlush": False,
            "labelOverlap": "greedy",
        },
    }


def _up(chart: Chart) -> dict[str, Any]:
    top = round_up(_peak(chart))
    ticks = [0, top / 4, top / 2, top * 3 / 4, top] if top >= 4 and top % 4 == 0 else [0, top / 2, top]
    axis: dict[str, Any] = {"values": ticks, "ticks": False, "domain": False, "labelPadding": 8}
    axis["labelExpr"] = {
        "count": "format(datum.value, ',')",
        "decimal": "format(datum.value, ',')",
        "share": "format(datum.value, '~%')",
        "bytes": "datum.value == 0 ? '0' : replace(format(datum.value, '.3~s'), 'k', ' k') + 'B'",
        "seconds": _SECONDS,
    }[chart.unit]
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, top], "nice": False},
        "axis": axis,
    }


_SECONDS = (
    "datum.value == 0 ? '0' : datum.value < 1 ? format(datum.value * 1000, '~g') + ' ms' : "
    "datum.value < 90 ? format(datum.value, '~g') + ' s' : "
    "datum.value < 5400 ? format(datum.value / 60, '.3~g') + ' min' : "
    "format(datum.value / 3600, '.3~g') + ' h'"
)


def _peak(chart: Chart) -> float:
    if chart.kind == "lines":
        return max(value or 0 for series in chart.series for value in series.values)
    return max(sum(series.values[at] or 0 for series in chart.series) for at in range(len(chart.buckets)))


def _ticks(chart: Chart, most: int) -> list[int]:
    count = len(chart.buckets)
    if chart.granularity == "day" and count > 62:
        firsts = [at for at, bucket in enumerate(chart.buckets) if bucket.local_start.day == 1]
        return firsts[:: -(-len(firsts) // most)]
    steps = _STEPS[chart.granularity]
    step = next((step for step in steps if -(-count // step) <= most), -(-count // most))
    if chart.granularity == "hour" and step >= 24:  # not so many hours later: clocks are changed
        midnights = [at for at, bucket in enumerate(chart.buckets) if bucket.local_start.hour == 0]
        return midnights[:: step // 24]
    return list(range(0, count, step))


def _tick(bucket: Span, chart: Chart) -> str:
    at = bucket.local_start
    if chart.granularity == "hour" and at.hour:
        return f"{at:%H:%M}"
    if chart.granularity == "month" or (chart.granularity == "day" and len(chart.buckets) > 62):
        return f"{at:%b %Y}" if at.month == 1 or chart.granularity == "month" else f"{at:%b}"
    return f"{at.day} {at:%b}"

"""A bar chart as SVG paths: light enough for a thousand bars, sharp at every size, without any library."""

from __future__ import annotations

import attrs

from cgjobs_report import units
from cgjobs_report.document import Chart

WIDTH, HEIGHT = 1_000, 100


@attrs.frozen
class Bars:
    """What the page draws, in a view box of 1000 by 100.

    Args:
        paths: Path of the bars of each look: those of `Series`, and ``quiet`` for weekends.
        names: What those looks mean, for a legend; more than one only.
        top: The value at the upper edge.
        ticks: Labels below, from left to right.
        peak: The largest value and where it is, for those who cannot see the picture.
    """

    paths: dict[str, str]
    names: dict[str, str]
    top: float
    ticks: tuple[str, ...]
    peak: float
    peak_at: str


def bars(chart: Chart) -> Bars:
    """Stack the values of each bucket; of lines the last series alone is drawn."""
    stacked = chart.series[-1:] if chart.kind == "lines" else chart.series
    sums = [sum(series.values[at] or 0 for series in stacked) for at in range(len(chart.buckets))]
    top = round_up(max(sums, default=0))
    step = WIDTH / len(sums)
    gap = step * 0.2 if len(sums) <= 120 else 0
    paths: dict[str, str] = {}
    for at, quiet in enumerate(chart.quiet):
        floor = float(HEIGHT)
        for series in stacked:
            value = series.values[at]
            if not value:
                continue
            height = value / top * HEIGHT
            look = "quiet" if quiet and len(chart.series) == 1 else series.look
            left = f"{at * step + gap / 2:.5g} {floor:.4g}"
            paths[look] = paths.get(look, "") + f"M{left}v-{height:.4g}h{step - gap:.4g}v{height:.4g}z"
            floor -= height
    names: dict[str, str] = {series.look: series.name for series in stacked} if len(chart.series) > 1 else {}
    if "quiet" in paths:
        names["quiet"] = "Saturday and Sunday"
    labels = chart.labels
    last = len(labels) - 1
    ticks = tuple(labels[round(last * part / 4)] for part in range(5)) if last >= 4 else labels
    most = max(range(len(sums)), key=sums.__getitem__)
    return Bars(paths, names, top, ticks, sums[most], labels[most])


def round_up(value: float) -> float:
    """To the next round number of which half reads well too."""
    if value <= 0:
        return 2
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.001
    while True:
        for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10):
            top = step * power
            if top >= value and (value < 1 or top % 2 == 0):
                return int(top) if top == int(top) else top
        power *= 10


def svg(chart: Chart, colors: dict[str, str]) -> str:
    """The chart as a picture of its own, with an axis and a legend."""
    drawn = bars(chart)
    left, width, height = 70, 800, 180
    text = f'font-family="sans-serif" font-size="12" fill="{colors["text"]}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 10} {height + 34}">']
    for share in (0, 0.5, 1):
        at = 10 + height * (1 - share)
        parts.append(f'<path stroke="{colors["line"]}" d="M{left} {at}h{width}"/>')
        said = units.shown(drawn.top * share, chart.unit)
        parts.append(f'<text x="{left - 8}" y="{at + 4}" text-anchor="end" {text}>{said}</text>')
    scale = f'transform="translate({left} 10) scale({width / WIDTH} {height / HEIGHT})"'
    parts += [f'<path {scale} fill="{colors[look]}" d="{path}"/>' for look, path in drawn.paths.items()]
    last = max(len(drawn.ticks) - 1, 1)
    for position, tick in enumerate(drawn.ticks):
        anchor = "start" if position == 0 else "end" if position == len(drawn.ticks) - 1 else "middle"
        x = left + width * position / last
        parts.append(f'<text x="{x}" y="{height + 28}" text-anchor="{anchor}" {text}>{tick}</text>')
    return "".join([*parts, "</svg>"])

"""A bar chart as two SVG paths: light enough for a thousand bars, sharp at every size and on paper."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

WIDTH, HEIGHT = 1_000, 100


@attrs.frozen
class Chart:
    """What the page draws, in a view box of 1000 by 100.

    Args:
        bars: Path of the bars.
        pale: Path of the bars of weekends.
        top: The value at the upper edge.
        ticks: Labels below, from left to right.
        peak: The largest value and where it is, for those who cannot see the picture.
    """

    bars: str
    pale: str
    top: int
    ticks: tuple[str, ...]
    peak: str


def chart(values: Sequence[int], pale: Sequence[bool], labels: Sequence[str]) -> Chart:
    """Draw values, at least one, none negative, as bars of one width."""
    top = _round_up(max(values))
    step = WIDTH / len(values)
    gap = step * 0.2 if len(values) <= 120 else 0
    paths = {False: "", True: ""}
    for position, value in enumerate(values):
        if value:
            height = value / top * HEIGHT
            left = f"{position * step + gap / 2:.5g} {HEIGHT}"
            paths[pale[position]] += f"M{left}v-{height:.4g}h{step - gap:.4g}v{height:.4g}z"
    last = len(labels) - 1
    ticks = tuple(labels[round(last * part / 4)] for part in range(5)) if last >= 4 else tuple(labels)
    most = max(range(len(values)), key=values.__getitem__)
    return Chart(paths[False], paths[True], top, ticks, f"at most {values[most]:,}, {labels[most]}")


def _round_up(value: int) -> int:
    """To the next round and even number, so that half of it reads well too."""
    power: int = 10 ** (len(str(value)) - 1)
    tops = (step * power // 10 for step in (10, 15, 20, 30, 40, 50, 60, 80, 100, 200))
    return next(top for top in tops if top >= max(value, 1) and top % 2 == 0)

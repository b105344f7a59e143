"""The picture of a run; runs in the peers' environment, which has matplotlib.

python -m benchmarks.plot results.json picture.svg
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

OURS, THEIRS = "#c2410c", "#94a3b8"
# Title, measure, figure, whether less is better, how a value is written.
PANELS = (
    ("no-op jobs a second, one worker process", "throughput", "jobs a second", False, "{:,.0f}"),
    ("enqueued a second, one by one", "enqueue", "one by one", False, "{:,.0f}"),
    ("ms from enqueue to start, idle worker, p50", "latency", "p50 ms", True, "{:.1f}"),
    ("seconds for 2,000 jobs of 50 ms, 50 at a time", "io", "seconds", True, "{:.2f}"),
    ("commands in Redis a job", "throughput", "commands", True, "{:.1f}"),
    ("bytes in Redis by waiting job", "memory", "allocated", True, "{:,.0f}"),
)


def panel(axes: Any, results: dict[str, Any], title: str, figures: dict[str, float], form: str) -> None:
    """Bars, the best on top."""
    names = list(figures)
    titles = [results["peers"][name]["title"] for name in names]
    bars = axes.barh(titles, list(figures.values()), color=[OURS if n == "ours" else THEIRS for n in names])
    axes.bar_label(bars, [form.format(value) for value in figures.values()], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.set_xticks([])
    axes.margins(x=0.15)
    for spine in axes.spines.values():
        spine.set_visible(False)


def main() -> None:
    """Draw what was measured."""
    source, target = map(Path, sys.argv[1:])
    results = json.loads(source.read_text())
    drawn = []
    for title, measure, figure, less, form in PANELS:
        medians = {
            peer: statistics.median(figures[figure])
            for peer, figures in results["samples"].get(measure, {}).items()
            if figure in figures
        }
        if medians:
            ordered = dict(sorted(medians.items(), key=lambda item: item[1], reverse=not less))
            drawn.append((title + (", less is better" if less else ""), ordered, form))
    # No date and no random ids in the file: the same results give the same picture.
    pyplot.rcParams.update({"svg.hashsalt": "cgjobs", "svg.fonttype": "none", "font.family": "sans-serif"})
    rows = (len(drawn) + 1) // 2
    figure, grid = pyplot.subplots(rows, 2, figsize=(11, 2.9 * rows), squeeze=False, layout="constrained")
    for axes, (title, medians, form) in zip(grid.flat, drawn, strict=False):
        panel(axes, results, title, medians, form)
    for axes in grid.flat[len(drawn) :]:
        axes.set_visible(False)
    figure.savefig(target, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()

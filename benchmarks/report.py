"""Results as JSON, as Markdown tables and as a picture; and the page in docs/ with the last full run."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from benchmarks.measures import IO_IDEAL, Size
from benchmarks.peer import BENCH, ROOT, Unavailable, environment_python, find
from benchmarks.server import OPTIONS
from cgjobs.embedded import find_server

OUT = BENCH / "results"
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
PICTURE = ROOT / "docs" / "images" / "benchmarks.svg"
DATA = ROOT / "benchmarks" / "results.json"
BEGIN, END = "<!-- results: written by `make bench`, do not edit -->", "<!-- end of results -->"
OURS = "ours"
_SHOWN = f"![The medians as bars](../images/{PICTURE.name})"


@attrs.define
class Results:
    """All that was measured.

    Args:
        machine: Where and when.
        rounds: How many rounds.
        size: How large each was.
        whole: Whether everything was measured at full length, fit to be published.
        peers: What each peer says of itself.
        missing: Peers that could not be installed, and why.
        failures: Measurements that failed, and why.
        samples: Measure, peer, figure, one value for each round.
    """

    machine: dict[str, Any]
    rounds: int
    size: dict[str, float]
    whole: bool
    peers: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    missing: dict[str, str] = attrs.field(factory=dict)
    failures: list[str] = attrs.field(factory=list)
    samples: dict[str, dict[str, dict[str, list[float]]]] = attrs.field(factory=dict)

    @classmethod
    def begin(cls, rounds: int, size: Size, whole: bool) -> Results:
        """Nothing yet."""
        return cls(machine(), rounds, attrs.asdict(size), whole)

    def median(self, measure: str, peer: str, figure: str) -> float | None:
        """The median over the rounds, or None when it was not measured."""
        values = self.samples.get(measure, {}).get(peer, {}).get(figure)
        return statistics.median(values) if values else None

    def spread(self, measure: str, peer: str, figure: str) -> tuple[float, float] | None:
        """The least and the greatest value."""
        values = self.samples.get(measure, {}).get(peer, {}).get(figure)
        return (min(values), max(values)) if values else None


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": _said(["git", "rev-parse", "--short", "HEAD"]),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "node": _said(["node", "--version"]),
        "server": _said([str(find_server()), "--version"]),
    }


def write(results: Results) -> None:
    """Into .bench/results."""
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "results.json").write_text(json.dumps(attrs.asdict(results), indent=1) + "\n")
    (OUT / "results.md").write_text(tables(results))
    if "throughput" in results.samples:
        draw(OUT / "results.json", OUT / "results.svg")


def load() -> Results:
    """The last run."""
    return Results(**json.loads((OUT / "results.json").read_text()))


def publish(results: Results) -> None:
    """Into the page between its markers, and the picture and the data beside it.

    Raises:
        SystemExit: The run was not a whole one, or something failed or is missing.
    """
    if not results.whole or results.failures:
        raise SystemExit("not published: " + ("; ".join(results.failures) or "not a full run of all peers"))
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{_SHOWN}\n\n{tables(results)}\n{END}{after}", "utf-8")
    shutil.copy(OUT / "results.svg", PICTURE)
    shutil.copy(OUT / "results.json", DATA)


def draw(data: Path, picture: Path) -> None:
    """By matplotlib, which is in the peers' environment and not in ours."""
    try:
        find("rq")  # brings that environment
    except Unavailable as error:
        print(f"no picture: {error}")
        return
    command = [environment_python("peers"), "-m", "benchmarks.plot", str(data), str(picture)]
    subprocess.run(command, cwd=ROOT, check=True)


def tables(results: Results) -> str:
    """All tables and what they depend on, as Markdown."""
    parts = [_preamble(results)]
    order = sorted(
        results.peers,
        key=lambda peer: (peer != OURS, -(results.median("throughput", peer, "jobs a second") or 0)),
    )
    for heading, measure, columns in _TABLES:
        if measure in results.samples:
            parts.append(f"### {heading}\n\n{_table(results, measure, columns, order)}")
    parts.append("### What was measured\n\n" + _semantics(results, order))
    if absent := [f"- {name}: {why}" for name, why in results.missing.items()]:
        parts.append("Missing, since they could not be installed:\n\n" + "\n".join(absent))
    if results.failures:
        parts.append("Failed:\n\n" + "\n".join(f"- {failure}" for failure in results.failures))
    return "\n\n".join(parts) + "\n"


Cell = Callable[[Results, str, str], str]


def _figure(name: str, digits: int = 0) -> Cell:
    def cell(results: Results, measure: str, peer: str) -> str:
        value = results.median(measure, peer, name)
        return "—" if value is None else f"{value:,.{digits}f}"

    return cell


def _range(name: str) -> Cell:
    def cell(results: Results, measure: str, peer: str) -> str:
        spread = results.spread(measure, peer, name)
        return "—" if spread is None else f"{spread[0]:,.0f} to {spread[1]:,.0f}"

    return cell


def _ours_times(name: str) -> Cell:
    """How many times theirs ours is."""

    def cell(results: Results, measure: str, peer: str) -> str:
        ours, theirs = results.median(measure, OURS, name), results.median(measure, peer, name)
        return "—" if ours is None or not theirs else f"{ours / theirs:.2f}"

    return cell


def _against_one(results: Results, measure: str, peer: str) -> str:
    one = results.median("throughput", peer, "jobs a second")
    two = results.median(measure, peer, "jobs a second")
    return "—" if not one or not two else f"{two / one:.2f}"


def _against_ideal(results: Results, measure: str, peer: str) -> str:
    seconds = results.median(measure, peer, "seconds")
    return "—" if seconds is None else f"{seconds / IO_IDEAL:.2f}"


_TABLES: Sequence[tuple[str, str, Sequence[tuple[str, Cell]]]] = (
    (
        "No-op jobs, one worker process",
        "throughput",
        (
            ("jobs a second", _figure("jobs a second")),
            ("least to most", _range("jobs a second")),
            ("ours is times", _ours_times("jobs a second")),
            ("commands a job", _figure("commands", 1)),
            ("round trips a job", _figure("round trips", 2)),
            ("server µs a job", _figure("server µs")),
        ),
    ),
    (
        "Two worker processes",
        "two_workers",
        (("jobs a second", _figure("jobs a second")), ("times one process", _against_one)),
    ),
    (
        "Jobs of 1 ms of processor time",
        "busy",
        (
            ("one process, a second", _figure("one process")),
            ("two processes, a second", _figure("two processes")),
        ),
    ),
    (
        "Enqueue",
        "enqueue",
        (
            ("one by one, a second", _figure("one by one")),
            ("ours is times", _ours_times("one by one")),
            ("in bulk, a second", _figure("bulk")),
            ("ours is times", _ours_times("bulk")),
        ),
    ),
    (
        "From enqueue to start, the worker idle",
        "latency",
        (
            ("p50 ms", _figure("p50 ms", 2)),
            ("p95 ms", _figure("p95 ms", 2)),
            ("p99 ms", _figure("p99 ms", 2)),
        ),
    ),
    (
        "2,000 jobs of 50 ms of I/O, 50 at a time",
        "io",
        (("seconds", _figure("seconds", 2)), (f"times the ideal {IO_IDEAL:.1f} s", _against_ideal)),
    ),
    (
        "Memory in Redis by waiting job",
        "memory",
        (("bytes allocated", _figure("allocated")), ("bytes in keys", _figure("in keys"))),
    ),
)


def _table(results: Results, measure: str, columns: Sequence[tuple[str, Cell]], order: Sequence[str]) -> str:
    rows = [["", *(heading for heading, _ in columns)], ["---", *("---:" for _ in columns)]]
    for peer in order:
        cells = [cell(results, measure, peer) for _, cell in columns]
        title = results.peers[peer]["title"]
        rows.append([f"**{title}**" if peer == OURS else title, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _semantics(results: Results, order: Sequence[str]) -> str:
    rows = [["", "version", "delivery", "jobs at once", "settings"], ["---"] * 5]
    for peer in order:
        about = results.peers[peer]
        row = [
            about["title"],
            about["version"],
            about["delivery"],
            str(about["concurrency"]),
            about["settings"],
        ]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _preamble(results: Results) -> str:
    m = results.machine
    options = ", ".join(f"{name} {value}" for name, value in OPTIONS.items() if name.startswith("append"))
    where = f"{m['cpu']}, {m['cores']} cores, load {m['load']:.1f} at the start; {m['system']}"
    lines = [
        f"Measured at {m['when']}, commit {m['commit']}: medians of {results.rounds} interleaved round(s).",
        f"{where}, Python {m['python']}, Node.js {m['node']}.",
        f"{m['server']} ({options}), over loopback TCP.",
    ]
    if not results.whole:
        lines.append("This was a quick or partial run: do not quote it.")
    return "\n".join(lines)


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return "none"
    return done.stdout.strip()

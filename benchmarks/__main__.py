"""How fast it is here, beside its peers, all on the same server with the same payload of about 200 bytes.

    make bench                                              a few minutes, one round
    make bench ARGS="--only ours,dramatiq --measure throughput"
    make bench ARGS="--full"                                long rounds, five of them
    make bench ARGS="--publish"                             --full, then updates the page in docs/

Rounds are interleaved, since machines are noisy: quote the medians and the ratios. Results go to
.bench/results/ as JSON, tables and a picture. How each figure is measured: docs/reference/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from rich.console import Console

from benchmarks import report
from benchmarks.measures import MEASURES, Size
from benchmarks.peer import PEERS, Peer, Unavailable, find

QUICK, FULL = Size(seconds=1.0, lonely=40), Size(seconds=4.0, lonely=300)
FULL_ROUNDS = 5


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_names(PEERS), default=list(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument(
        "--measure", type=_names(MEASURES), default=list(MEASURES), help=f"of {','.join(MEASURES)}"
    )
    parser.add_argument("--full", action="store_true", help="long rounds")
    parser.add_argument("--rounds", type=int, help=f"how many; 1, with --full {FULL_ROUNDS}")
    parser.add_argument("--publish", action="store_true", help="--full, and update docs/")
    parser.add_argument("--publish-again", action="store_true", help="update docs/ from the last full run")
    args = parser.parse_args()
    if args.publish_again:
        report.publish(report.load())
        return 0
    full = args.full or args.publish
    if args.publish and (args.only != list(PEERS) or args.measure != list(MEASURES)):
        parser.error("--publish measures everything: leave out --only and --measure")
    rounds = args.rounds or (FULL_ROUNDS if full else 1)
    size = FULL if full else QUICK
    console = Console(stderr=True)
    results = report.Results.begin(rounds, size, full and args.only == list(PEERS))
    peers = _find(args.only, results, console)
    for measure in args.measure:
        for round_ in range(1, rounds + 1):
            for peer in peers:
                console.print(f"{measure}, round {round_} of {rounds}: {peer.about['title']}", style="dim")
                _measure(measure, peer, size, results, console)
    report.write(results)
    Console().print(report.tables(results), markup=False, soft_wrap=True)
    console.print(f"written to {report.OUT}", style="dim")
    if args.publish:
        report.publish(results)
    return 1 if results.failures else 0


def _find(names: Sequence[str], results: report.Results, console: Console) -> list[Peer]:
    peers = []
    for name in names:
        try:
            peer = find(name)
        except Unavailable as error:
            console.print(f"missing: {name}: {error}", style="red", markup=False)
            results.missing[name] = str(error)
        else:
            results.peers[name] = dict(peer.about)
            peers.append(peer)
    return peers


def _measure(measure: str, peer: Peer, size: Size, results: report.Results, console: Console) -> None:
    try:
        figures = MEASURES[measure](peer, size)
    except (Unavailable, ValueError) as error:
        console.print(f"failed: {peer.name}, {measure}: {error}", style="red", markup=False)
        results.failures.append(f"{peer.about['title']}, {measure}: {error}")
        return
    for name, value in figures.items():
        results.samples.setdefault(measure, {}).setdefault(peer.name, {}).setdefault(name, []).append(value)


def _names(known: object) -> object:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in list(known)]:  # type: ignore[call-overload]
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose of {', '.join(known)}")  # type: ignore[arg-type]
        return names

    return parse


if __name__ == "__main__":
    os.environ.pop("BENCH_NOTES", None)
    # Servers and workers end with us: their context managers are left by an exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())

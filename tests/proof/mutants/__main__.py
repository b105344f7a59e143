"""Let the state machines look for seeded mistakes.

make mutants
python -m tests.proof.mutants --examples 300 "settle ignores the token"
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from tests.proof.mutants import MUTANTS
from tests.proof.mutants.hunt import begin, killed_by

EXAMPLES = 300
PROCESSES = 2
NICE = 5


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Let the state machines look for seeded mistakes.")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="orders of moves for each mutant")
    parser.add_argument("-n", type=int, default=PROCESSES, help="processes, each with a server of its own")
    parser.add_argument("names", nargs="*", help="only these mutants")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - {mutant.name for mutant in MUTANTS}:
        parser.error(f"no mutant is called {', '.join(map(repr, sorted(unknown)))}")
    mutants = [mutant for mutant in MUTANTS if not chosen.names or mutant.name in chosen.names]
    sources = [
        mutant.source() for mutant in mutants
    ]  # all before the first runs: somebody may edit meanwhile
    survivors = []
    with ProcessPoolExecutor(chosen.n, get_context("spawn"), begin, (NICE,)) as pool:
        runs = {
            pool.submit(killed_by, source, mutant.machine, chosen.examples): mutant
            for mutant, source in zip(mutants, sources, strict=True)
        }
        for run in as_completed(runs):
            found, took = run.result()
            if not found:
                survivors.append(runs[run].name)
            print(
                f"{took:6.1f} s  {runs[run].name:60} {f'killed   {found}' if found else 'SURVIVED'}",
                flush=True,
            )
    killed = len(mutants) - len(survivors)
    print(f"\n{killed} of {len(mutants)} killed: {killed / len(mutants):.0%}")
    for name in survivors:
        print(f"survived: {name}")
    return 1 if survivors else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends it without waiting for the pool, which ends with it
    sys.exit(main())

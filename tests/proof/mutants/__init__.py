"""Small mistakes put into the functions on the server, each of which a state machine has to find.

What finds none of them would show nothing by passing: this is the proof's own proof.
"""

from tests.proof.mutants import clients, dependents, limits, marks, operators, retained, settling, workers
from tests.proof.mutants.mutant import Mutant

__all__ = ["MUTANTS", "Mutant"]

MUTANTS = (
    *clients.MUTANTS,
    *workers.MUTANTS,
    *settling.MUTANTS,
    *operators.MUTANTS,
    *dependents.MUTANTS,
    *retained.MUTANTS,
    *marks.MUTANTS,
    *limits.MUTANTS,
)

"""What is compared after each move: all that the server has about jobs, with all that the model says."""

from __future__ import annotations

from hypothesis.stateful import invariant

from tests.proof.dependents import DEFERRED
from tests.proof.picture import picture, seen
from tests.proof.table import Table


class Compared(Table):
    """Any rules, each of which ends in the same check."""

    @invariant()
    def each_job_is_where_the_model_has_it_and_nowhere_else(self) -> None:
        self.model.moment += 1
        assert seen(self.server) == picture(self.model)
        for job in self.model.of(DEFERRED):
            assert job.outstanding == [*job.dependencies.values()].count("") > 0

"""How long ended jobs are kept, and how many: the model of prelude.lua's trim and of promote's sweeping.

The server lets go of so many at once that no test would reach it, so here it lets go of fewer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from tests.proof.dependents import Dependents
from tests.proof.job import COMPLETED, FAILED

if TYPE_CHECKING:
    from tests.proof.job import Known

AT_ONCE, BY_PROMOTE = 1, 2  # too many jobs that one end, or one promote, lets go
CHANGED = {
    "TRIMMED_AT_ONCE = 20": f"TRIMMED_AT_ONCE = {AT_ONCE}",
    "TRIMMED_BY_PROMOTE = 200": f"TRIMMED_BY_PROMOTE = {BY_PROMOTE}",
}


@attrs.define
class Retained(Dependents):
    """What ended jobs leave behind.

    Attributes:
        ghosts: Entries (place, queue, id) of ended jobs whose hash is gone.
        entries: How many results and errors of each job are kept.
        too_many: Where promote has to go on: (place, queue) -> how many are to be kept.
    """

    ghosts: set[tuple[str, str, str]] = attrs.field(factory=set)
    entries: Counter[str] = attrs.field(factory=Counter)
    too_many: dict[tuple[str, str], int] = attrs.field(factory=dict)

    def forget(self, job_id: str) -> None:
        del self.jobs[job_id], self.entries[job_id]

    def expire(self, job: Known) -> None:
        """The time for which an ended job is kept is over: the server lets its hash go, not yet its entry."""
        self.ghosts.add((job.place, job.new.queue, job.new.id))
        self.forget(job.new.id)

    def keep_at_most(self, job: Known) -> None:
        """A job has ended that says how many are kept."""
        place, queue, most = job.place, job.new.queue, job.most(job.place)
        if most and self._trim(place, queue, most, AT_ONCE):
            self.too_many[place, queue] = most

    def sweep(self, queue: str) -> None:
        """What promote does: entries go whose time is over, then those that are too many."""
        self.ghosts = {ghost for ghost in self.ghosts if ghost[1] != queue}
        for place in (COMPLETED, FAILED):
            most = self.too_many.get((place, queue))
            if most and not self._trim(place, queue, most, BY_PROMOTE):
                del self.too_many[place, queue]

    def _trim(self, place: str, queue: str, most: int, budget: int) -> int:
        """Gives how many are still too many."""
        here = {ghost[2]: 0 for ghost in self.ghosts if ghost[:2] == (place, queue)}
        kept = [job for job in self.jobs.values() if (job.place, job.new.queue) == (place, queue)]
        here |= {job.new.id: job.ended for job in kept}
        over = max(0, len(here) - most)
        for job_id in sorted(here, key=lambda one: (here[one], one))[: min(over, budget)]:
            if here[job_id]:
                self.forget(job_id)
            self.ghosts.discard((place, queue, job_id))
        return max(0, over - budget)

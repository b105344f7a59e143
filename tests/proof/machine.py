"""The moves of a broker in any order, on a real server and on the model of it, compared after each.

Workers, clients, operators and schedulers are played by hand: each move is a prepared call. A lost reply is
one that nobody looks at; a worker that dies is one whose jobs nobody settles.
"""

from __future__ import annotations

from hypothesis.stateful import invariant, rule

from cgjobs import keys
from cgjobs.broker import health, pages, reads
from cgjobs.broker.values import STATES
from cgjobs.model import JobState, QueueStats
from tests.proof.compared import Compared
from tests.proof.job import ACTIVE, DELAYED, FAILED, HELD, QUEUES, WAITING
from tests.proof.stories import Stories


class Moves(Stories, Compared):
    """Any order of moves."""

    @rule()
    def reading_changes_nothing(self) -> None:
        before = self._dump()
        for queue in QUEUES:
            for place, state in STATES.items():
                page = self.sender.send(pages.page(queue, state, 0, 1000))
                wanted = [job.new.id for job in self.model.of(place, queue=queue)]
                if state is JobState.WAITING:
                    assert list(page.ids) == self.model.waiting(queue)
                elif wanted:
                    ghosts = [g[2] for g in self.model.ghosts if g[:2] == (place, queue)]
                    assert sorted(page.ids) == sorted(wanted + ghosts)
        for job_id in [*list(self.model.jobs)[-6:], "own-1", "own-2"]:
            known, found = self.model.jobs.get(job_id), self.sender.send(reads.job(job_id))
            assert (found and found.state) == (known and STATES[known.place])
        self.sender.send(health.places(QUEUES, 100))
        self.sender.send(health.leases(QUEUES, 100))
        self.sender.send(reads.queue_names())
        self.sender.send(reads.stats(QUEUES))
        assert self._dump() == before

    @invariant()
    def stats_agree(self) -> None:
        stats = self.sender.send(reads.stats(QUEUES))
        for queue in QUEUES:
            ghosts = sum(ghost[:2] == (FAILED, queue) for ghost in self.model.ghosts)
            assert stats[queue].stats == QueueStats(
                waiting=len(self.model.of(WAITING, HELD, queue=queue)),
                active=len(self.model.of(ACTIVE, queue=queue)),
                completed=self.model.completed[queue],
                failed=len(self.model.of(FAILED, queue=queue)) + ghosts,
                delayed=len(self.model.of(DELAYED, queue=queue)),
                paused=queue in self.model.paused,
            )

    @invariant()
    def no_worker_sleeps_beside_ready_work(self) -> None:
        for queue in QUEUES:
            tokens = self.server.llen(keys.wake(queue))
            assert tokens in (0, 1)
            assert tokens or queue in self.model.paused or not self.model.waiting(queue)

"""Orders of moves that chance alone hardly ever finds; what comes before and after them is drawn."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from cgjobs.broker import moves, operators
from cgjobs.errors import DependencyNotFound
from cgjobs.model import Priority
from tests.proof import dependents
from tests.proof.dependents import DEFERRED
from tests.proof.job import ACTIVE, MAX_CRASHES, QUEUES, WAITING
from tests.proof.operators import Operators
from tests.proof.reports import Words
from tests.proof.strategies import ENDED, NEVER, PLAIN, RESULT, endings, outcome, queues, waiting_for, workers
from tests.proof.workers import Workers

EVERY = 500  # jobs that one claim gives at most


class Stories(Workers, Operators, Words):
    """Each begins wherever the machine is and ends in the same checks as every move."""

    @precondition(lambda self: any(job.waited_for for job in self.model.of(WAITING, ACTIVE)))
    @rule(data=st.data(), worker=workers, kind=st.sampled_from(["completed", "completed", "failed"]))
    def what_others_wait_for_ends_with_a_result(self, data: st.DataObject, worker: str, kind: str) -> None:
        job = self._one(data, [job for job in self.model.of(WAITING, ACTIVE) if job.waited_for])
        if job.place == WAITING:
            self.resume(queue=job.new.queue)
            self._turn(worker, [], {job.new.queue: EVERY}, "heard")
        for name, hand in self.hands.items():
            for claimed in [c for c in hand if c.id == job.new.id and self.model.holds(c)]:
                self._turn(name, [outcome(kind, claimed, NEVER, RESULT)], {}, "heard")

    @precondition(lambda self: any(job.waited_for for job in self.model.of(WAITING, ACTIVE)))
    @rule(data=st.data(), worker=workers)
    def what_others_wait_for_is_poison(self, data: st.DataObject, worker: str) -> None:
        job = self._one(data, [job for job in self.model.of(WAITING, ACTIVE) if job.waited_for])
        for _ in range(MAX_CRASHES):
            if job.place == WAITING:
                self.resume(queue=job.new.queue)
                self._turn(worker, [], {job.new.queue: EVERY}, "heard")
            if job.place == ACTIVE:
                self._end_leases([job])
                self.reap(limit=EVERY)

    @precondition(lambda self: any(map(self.model.holds, (c for hand in self.hands.values() for c in hand))))
    @rule(data=st.data(), ending=endings)
    def what_was_to_be_cancelled_while_it_ran_is_retried(self, data: st.DataObject, ending: Any) -> None:
        running = [(name, c) for name, hand in self.hands.items() for c in hand if self.model.holds(c)]
        worker, claimed = data.draw(st.sampled_from(running))
        kind, delay, blob = ending
        self._cancel(claimed.id)
        self._turn(worker, [outcome(kind, claimed, delay, blob)], {}, "heard")
        if claimed.id in self.model.jobs and self.model.jobs[claimed.id].place in ENDED:
            self._retry(claimed.id, attempts=1)

    @precondition(lambda self: any(map(self.model.holds, (c for hand in self.hands.values() for c in hand))))
    @rule(data=st.data(), ending=endings, retried=st.booleans())
    def what_ends_has_said_much(self, data: st.DataObject, ending: Any, retried: bool) -> None:
        """Its lines, its checkpoint and its effects are kept as long as the job is, and for its next run."""
        running = [(name, c) for name, hand in self.hands.items() for c in hand if self.model.holds(c)]
        worker, claimed = data.draw(st.sampled_from(running))
        kind, delay, blob = ending
        self.say_much(claimed)
        self._turn(worker, [outcome(kind, claimed, delay, blob)], {}, "heard")
        if retried and claimed.id in self.model.jobs and self.model.jobs[claimed.id].place in ENDED:
            self._retry(claimed.id, attempts=2)
        job = self.model.jobs.get(claimed.id)
        if job is not None and job.place == WAITING:
            self.resume(queue=job.new.queue)
            self._turn(worker, [], {job.new.queue: EVERY}, "heard")
            for again in [c for c in self.hands[worker] if c.id == claimed.id and self.model.holds(c)]:
                self.say_much(again)

    @rule(queue=queues)
    def a_job_waits_for_one_that_nobody_knows(self, queue: str) -> None:
        jobs = [attrs.evolve(self._named(PLAIN), queue=queue) for _ in range(2)]
        jobs[1] = waiting_for(jobs[1], [jobs[0].id, "nobody"], ignore=True)
        with pytest.raises(DependencyNotFound, match="nobody"):
            self.sender.send(moves.enqueue(jobs))

    @rule()
    def a_job_is_retried_beside_a_younger_one_of_the_id_that_it_waited_for(self) -> None:
        if not self._is_free("own-2"):
            return
        first = attrs.evolve(PLAIN, id="own-2")
        self.enqueue([first], arrives=True)
        dependent = waiting_for(self._named(PLAIN), ["own-2"], ignore=False)
        self._enqueue_waiting([dependent])
        self._remove("own-2")
        self.enqueue([first], arrives=True)
        known = self.model.jobs.get(dependent.id)
        if known is not None and known.place in ENDED:
            self._retry(dependent.id, attempts=1)

    @rule()
    def a_job_that_was_retried_is_told_of_an_end_that_it_knows(self) -> None:
        """Its dependency has more dependents than one call tells."""
        first, second = attrs.evolve(self._named(PLAIN)), self._named(PLAIN)
        self.enqueue([first, second], arrives=True)
        ids = [first.id], [first.id, second.id]
        jobs = [waiting_for(self._named(PLAIN), ids[0], ignore=True) for _ in range(dependents.AT_ONCE)]
        last = waiting_for(self._named(PLAIN), ids[1], ignore=True)
        self._enqueue_waiting([*jobs, last])
        self._cancel(first.id)
        if self.model.jobs[last.id].place == DEFERRED:
            self._cancel(last.id)
            self._retry(last.id, attempts=1)
        self.promote(which=QUEUES, limit=1000)

    @precondition(lambda self: any(self.hands.values()))
    @rule(worker=workers)
    def leases_are_renewed_that_nearly_ended(self, worker: str) -> None:
        held = [self.model.jobs[c.id] for c in self.hands[worker] if self.model.holds(c)]
        self._end_leases(held)
        self.renew(worker=worker)

    @precondition(lambda self: self.model.of(ACTIVE))
    @rule(data=st.data(), begins=st.booleans(), cancelled=st.sampled_from([False, False, True]))
    def a_worker_dies_while_it_runs_a_job_that_may_not_run_twice(
        self, data: st.DataObject, begins: bool, cancelled: bool
    ) -> None:
        job = self._one(data, self.model.of(ACTIVE))
        if begins:
            assert self.sender.send(moves.begin(job.new.id, job.token))
            job.begun = job.token
        if cancelled:
            self._cancel(job.new.id)
        self._end_leases([job])
        self.reap(limit=500)

    @rule(data=st.data(), worker=workers, queue=queues, kind=st.sampled_from(["completed", "failed"]))
    def more_jobs_end_than_are_kept(self, data: st.DataObject, worker: str, queue: str, kind: str) -> None:
        few = {"result_max": "1", "failure_max": "1"}
        keep = PLAIN.keep_failed
        job = attrs.evolve(PLAIN, queue=queue, keep_completed=keep, extra=few)
        self.enqueue([job] * data.draw(st.integers(2, 6)), arrives=True)
        self._end_all(worker, queue, kind)

    @rule(worker=workers, first=queues, then=queues, ends=st.booleans())
    def more_jobs_end_than_are_kept_and_an_id_of_them_is_used_again(
        self, worker: str, first: str, then: str, ends: bool
    ) -> None:
        """The time of the first job of the id was over, and nobody has swept its entry yet."""
        if not self._is_free("own-1"):
            return
        own = attrs.evolve(PLAIN, id="own-1", keep_completed=PLAIN.keep_failed)
        self.enqueue([attrs.evolve(own, queue=first)], arrives=True)
        self._end_all(worker, first, "completed")
        if "own-1" not in self.model.jobs or self.model.jobs["own-1"].place not in ENDED:
            return
        self._forget(self.model.jobs["own-1"])
        self.enqueue([attrs.evolve(own, queue=then)], arrives=True)
        if ends:
            self._end_all(worker, then, "completed")
        last = attrs.evolve(own, id="", queue=first, priority=Priority.CRITICAL, extra={"result_max": "1"})
        self.enqueue([last], arrives=True)
        self._turn(worker, [], {first: 1}, "heard")
        held = [c for c in self.hands[worker][-1:] if self.model.holds(c)]
        self._turn(worker, [outcome("completed", c, NEVER, RESULT) for c in held], {}, "heard")

    def _end_all(self, worker: str, queue: str, kind: str) -> None:
        self.resume(queue=queue)
        self._turn(worker, [], {queue: EVERY}, "heard")
        held = [c for c in self.hands[worker] if self.model.holds(c) and c.queue == queue]
        self._turn(worker, [outcome(kind, c, NEVER, RESULT) for c in held], {}, "heard")

    def _is_free(self, job_id: str) -> bool:
        """Whether nobody has this id, once it was removed."""
        job = self.model.jobs.get(job_id)
        if job is not None and job.place != ACTIVE:
            self._remove(job_id)
        return job_id not in self.model.jobs

    def _remove(self, job_id: str) -> None:
        assert self.sender.send(operators.remove(job_id))
        self.model.remove(self.model.jobs[job_id])

    def _enqueue_waiting(self, jobs: list[Any]) -> None:
        answer = self.sender.send(moves.enqueue(jobs))
        assert answer == [self.model.enqueue(job, delayed=False) for job in jobs]

"""What operators do."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from cgjobs import keys
from cgjobs.broker import Call, moves, operators
from cgjobs.broker.values import STATES
from cgjobs.errors import JobNotFound, JobStateError
from cgjobs.model import JobState
from tests.proof.clients import Clients
from tests.proof.dependents import DEFERRED
from tests.proof.job import ACTIVE, DELAYED, HELD, QUEUES, Known
from tests.proof.strategies import ENDED, MANY, PLAIN, T, again, queues

SEARCHED_AT_MOST = 4  # entries of lists that a call of several looks through: the functions' own are too many
CHANGED = {"SEARCHED_AT_MOST = 200000": f"SEARCHED_AT_MOST = {SEARCHED_AT_MOST}"}


class Operators(Clients):
    """Pause, remove, cancel, retry and drain."""

    @precondition(lambda self: len(self.model.paused) < len(QUEUES))
    @rule(queue=queues)
    def pause(self, queue: str) -> None:
        assert self.sender.send(moves.pause(queue)) == (queue not in self.model.paused)
        self.model.paused.add(queue)

    @rule(queue=queues)
    def resume(self, queue: str) -> None:
        assert self.sender.send(moves.resume(queue)) == (queue in self.model.paused)
        self.model.paused.discard(queue)

    def _twice(self, call: Call[T]) -> T:
        """An operator's reply is lost, and the call sent again."""
        answer = self.sender.send(call)
        assert self.sender.send(again(call)) == answer
        return answer

    @precondition(lambda self: len(self.model.jobs) > MANY)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        held = [job.new.id for job in self.model.of(HELD)]
        job_id = data.draw(st.sampled_from(["own-1", "own-2", *held, *held, *self.model.jobs]))
        job = self.model.jobs.get(job_id)
        if job is None or job.place == ACTIVE:
            with pytest.raises(JobNotFound if job is None else JobStateError):
                self.sender.send(operators.remove(job_id))
        else:
            assert self._twice(operators.remove(job_id)) is STATES[job.place]
            self.model.remove(job)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        running = [job.new.id for job in self.model.of(ACTIVE)]
        apart = [job.new.id for job in self.model.of(HELD, DEFERRED, DELAYED)]
        ended = [job.new.id for job in self.model.of(*ENDED)][-3:]
        job_id = data.draw(
            st.sampled_from([*running, *running, *apart, *ended, *list(self.model.jobs)[-5:], "own-1"])
        )
        self._cancel(job_id)

    def _cancel(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.place in ENDED:
            with pytest.raises(JobNotFound if job is None else JobStateError):
                self.sender.send(operators.cancel(job_id))
            return
        assert self._twice(operators.cancel(job_id)) is STATES[job.place]
        if job.place == ACTIVE:
            self.model.mark_cancelled(job)
        else:
            self.model.cancel(job)

    @precondition(lambda self: len(self.model.jobs) > MANY)
    @rule(data=st.data(), move=st.sampled_from(["retry", "retry", "cancel", "cancel", "remove"]))
    def move_many(self, data: st.DataObject, move: operators.OperatorMove) -> None:
        """Several jobs that are thought to be in one state, in one call whose reply is lost.

        Some are named twice, are in another state or are gone. The call may look for only so long.
        """
        known = [*self.model.jobs.values()]
        place = self._one(data, known).place
        likely = [job.new.id for job in known if job.place == place]
        one = st.sampled_from([*likely * 3, *list(self.model.jobs)[-5:], "own-1"])
        ids, state = data.draw(st.lists(one, min_size=2, max_size=8)), STATES[place]
        answers = self._twice(operators.move_many(move, ids, state))
        searched, wanted = 0, []
        for job_id in ids:
            if searched > SEARCHED_AT_MOST:
                break
            job = self.model.jobs.get(job_id)
            passed = self.model.entries_before(job) if job else 0
            wanted.append(self._is_moved(move, job, state))
            searched += 2 * passed if wanted[-1] else 0
        assert answers == wanted

    def _is_moved(self, move: operators.OperatorMove, job: Known | None, state: JobState) -> bool:
        """Move it in the model, if the call did."""
        if job is None or STATES[job.place] is not state:
            return False
        if move == "retry":
            if job.place not in ENDED or self.model.in_the_way(job):
                return False
            self.model.retry(job, job.made + 1 + job.left)
        elif move == "remove":
            if job.place == ACTIVE:
                return False
            self.model.remove(job)
        elif job.place in ENDED:
            return False
        elif job.place == ACTIVE:
            self.model.mark_cancelled(job)
        else:
            self.model.cancel(job)
        return True

    @precondition(lambda self: any(self.model.cancels.values()))
    @rule(data=st.data(), all_of_them=st.booleans())
    def hear_of_cancels(self, data: st.DataObject, all_of_them: bool) -> None:
        """A worker asks once more than it has heard, as when a reply is lost."""
        worker = data.draw(st.sampled_from([name for name, asked in self.model.cancels.items() if asked]))
        asked = self.model.cancels[worker]
        heard = {*asked} if all_of_them else data.draw(st.sets(st.sampled_from(sorted(asked))))
        reply = self.sender.send(moves.cancels(worker, [tuple(member.split(":")) for member in heard]))
        asked -= heard
        assert {f"{job_id}:{token}" for job_id, token in reply} == asked

    @rule(data=st.data(), attempts=st.integers(1, 3))
    def retry(self, data: st.DataObject, attempts: int) -> None:
        ended = [job.new.id for job in self.model.of(*ENDED)]
        self._retry(data.draw(st.sampled_from(ended + ended + [*self.model.jobs, "own-1"])), attempts)

    @precondition(lambda self: any(job.key for job in self.model.of(*ENDED)))
    @rule(data=st.data(), another_has_the_key=st.booleans())
    def retry_one_with_a_key(self, data: st.DataObject, another_has_the_key: bool) -> None:
        job = self._one(data, [job for job in self.model.of(*ENDED) if job.key])
        if another_has_the_key:
            extra = {"unique": job.new.extra["unique"], "unique_until": "done"}
            self.enqueue([attrs.evolve(PLAIN, queue=job.new.queue, extra=extra)], arrives=True)
        self._retry(job.new.id, attempts=1)

    def _retry(self, job_id: str, attempts: int) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.place not in ENDED:
            with pytest.raises(JobNotFound if job is None else JobStateError):
                self.sender.send(operators.retry(job_id, attempts=attempts))
        elif holder := self.model.in_the_way(job):
            with pytest.raises(JobStateError, match=holder):
                self.sender.send(operators.retry(job_id, attempts=attempts))
        else:
            assert self._twice(operators.retry(job_id, attempts=attempts)) is STATES[job.place]
            self.model.retry(job, attempts)

    @precondition(lambda self: len(self.model.jobs) > MANY)
    @rule(queue=queues, case=st.sampled_from([(False, 2), (False, 1000), (True, 1000)]))
    def drain(self, queue: str, case: tuple[bool, int]) -> None:
        delayed, limit = case
        later = self.server.zrange(keys.delayed(queue), 0, -1) if delayed else []
        drained = self.sender.send(moves.drain(queue, delayed=delayed, limit=limit))
        assert drained == self.model.drain(queue, delayed=[str(i, "ascii") for i in later], limit=limit)

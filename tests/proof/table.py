"""What all parts of the state machine share: a server, the model, and what each worker has in its hands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from cgjobs import keys
from cgjobs.broker import Call, Sender, moves
from cgjobs.broker.values import Claimed, NewJob, SetAside, Settlement, Turn
from tests.proof.job import ACTIVE, Known
from tests.proof.model import Model
from tests.proof.strategies import LEASE, T, again, expired, is_dependent


@attrs.frozen
class Unheard:
    """A turn whose reply nobody has heard."""

    call: Call[Turn]
    worker: str
    wants: dict[str, int]
    refused: tuple[str, ...]

    @property
    def token(self) -> str:
        return str(self.call.commands[0][4])


@attrs.frozen
class OneByOne:
    """Sends calls, and tells the model that another one begins."""

    sender: Sender
    model: Model

    def send(self, call: Call[T]) -> T:
        self.model.begin_call()
        return self.sender.send(call)


class Table(RuleBasedStateMachine):
    """The players' common ground.

    Args:
        sender: Sends them, to a server that has the functions.
        server: The same server's data, to look behind the engine's back and to let time pass.
    """

    def __init__(self, sender: Sender, server: redis.Redis) -> None:
        super().__init__()
        server.flushdb()
        self.model = Model()
        self.sender, self.server = OneByOne(sender, self.model), server
        self.hands: dict[str, list[Claimed]] = {"w1": [], "w2": []}
        self.forgotten: list[Claimed] = []  # by workers that died, or were settled before
        self.unheard: list[Unheard] = []
        self.enqueued: list[tuple[Call[list[bool | str]], list[bool | str]]] = []
        self.made = 0

    def _named(self, job: NewJob) -> NewJob:
        self.made += 1
        data = b"[%d]" % self.made
        return attrs.evolve(job, id=job.id or f"job-{self.made:04}", own_id=bool(job.id), data=data)

    def _one(self, data: st.DataObject, jobs: Sequence[Known]) -> Known:
        return data.draw(st.sampled_from(jobs))

    def _end_leases(self, jobs: Sequence[Known]) -> None:
        for job in jobs:
            job.lease_over = True
            self.server.zadd(keys.LEASES, {job.lease: 1})

    def _renew(self, worker: str) -> None:
        held = self.hands[worker]
        call = moves.renew(
            worker, [(c.queue, c.id, c.token) for c in held], lease=LEASE, ttl=LEASE, busy=bool(held)
        )
        renewal = self.sender.send(call)
        assert not renewal.known
        assert renewal.lost == tuple((c.id, c.token) for c in held if not self.model.holds(c))
        for claimed in held:
            if self.model.holds(claimed):
                self.model.jobs[claimed.id].lease_over = False

    def _turn(self, worker: str, outcomes: list[Settlement], wants: dict[str, int], fate: str) -> None:
        for queue in (queue for queue, n in wants.items() if n):
            self.server.lpop(keys.wake(queue))  # it was woken; whoever leaves work behind wakes the next
        call = moves.turn(worker, outcomes, wants, lease=LEASE, largest=1 << 20)
        turn = self.sender.send(again(call) if fate == "late" else call)
        counted = [(outcome, self.model.settle(outcome)) for outcome in outcomes]
        self.forgotten = [*self.forgotten, *(outcome.job for outcome, _ in counted)][-20:]
        self.hands[worker] = [c for c in self.hands[worker] if all(c is not o.job for o in outcomes)]
        assert turn.refused == tuple(outcome.job.id for outcome, counts in counted if not counts)
        set_aside = [o for o, counts in counted if counts and o.kind == "quarantine"]
        assert [entry.entry for entry in turn.set_aside] == [o.job.id for o in set_aside]
        unheard, left = Unheard(call, worker, wants, turn.refused), {}
        for queue, n in wants.items():
            given = [claimed for claimed in turn.jobs if claimed.queue == queue]
            self.model.readied.discard(queue)
            left[queue] = self.model.claim(queue, n, unheard.token, given, expired(turn, queue))
        left |= {queue: len(self.model.waiting(queue)) for queue in self.model.readied - self.model.paused}
        self._dropped(turn.dropped)
        self._runs_at(worker, turn.jobs)
        assert dict(turn.left) == {queue: count for queue, count in left.items() if count}
        if fate == "lost":
            self.unheard = [*self.unheard, unheard][-5:]
        elif fate == "twice":
            self.unheard.append(unheard)
            self._ask_again(unheard, heard=True)
        else:
            self.hands[worker] += turn.jobs

    def _dropped(self, dropped: Sequence[SetAside]) -> None:
        of_dependencies = [(entry.queue, entry.entry) for entry in dropped if is_dependent(entry)]
        assert sorted(of_dependencies) == sorted(self.model.dropped)

    def _runs_at(self, worker: str, jobs: Sequence[Claimed]) -> None:
        for claimed in jobs:
            self.model.jobs[claimed.id].worker = worker

    def _dump(self) -> dict[Any, Any]:
        names = sorted(self.server.keys())
        with self.server.pipeline() as pipeline:
            for name in names:
                pipeline.execute_command("DUMP", name)  # type: ignore[no-untyped-call]
                pipeline.execute_command("PEXPIRETIME", name)  # type: ignore[no-untyped-call]
            return dict(zip(names, zip(*[iter(pipeline.execute())] * 2, strict=True), strict=True))

    def _ask_again(self, lost: Unheard, *, heard: bool) -> None:
        reply = self.sender.send(again(lost.call))
        left = {}
        for queue, n in lost.wants.items():
            held = [job for job in self.model.of(ACTIVE, queue=queue) if job.token == lost.token]
            given = [claimed for claimed in reply.jobs if claimed.queue == queue]
            assert {claimed.id for claimed in given[: len(held)]} == {job.new.id for job in held}
            for claimed in given[: len(held)]:
                self.model.agrees(claimed)
            for job in held:
                job.lease_over = False
            more = max(0, n - len(held))
            self.model.readied.discard(queue)
            left[queue] = self.model.claim(queue, more, lost.token, given[len(held) :], expired(reply, queue))
        left |= {queue: len(self.model.waiting(queue)) for queue in self.model.readied - self.model.paused}
        self._dropped(reply.dropped)
        assert reply.refused == lost.refused
        assert reply.set_aside == ()
        assert dict(reply.left) == {queue: count for queue, count in left.items() if count}
        self._runs_at(lost.worker, reply.jobs)
        if heard:
            self.unheard.remove(lost)
            self.hands[lost.worker] += reply.jobs

"""Jobs of one queue under limits, on a real server: none starts that may not, none is forgotten that may.

Time does not pass by itself: what the server remembers of it is moved into the past.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import attrs
import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cgjobs import keys
from cgjobs.broker import Sender, moves, operators
from cgjobs.broker.values import Claimed, NewJob, ProducerLimits, Settlement, Turn
from cgjobs.errors import QueueFull
from cgjobs.model import Priority
from tests.proof.starting import ACTIVE, DELAYED, READY, Caps, Job, Starting
from tests.proof.strategies import HOUR, LEASE, LONG_AGO, PLAIN, again

QUEUE = "alpha"
KEYS = ("a", "b", "c")
CHANGED = {  # bounds of one claim, which so few jobs would never reach
    "MOST_HELD = 80": "MOST_HELD = 3",
    "TAKEN_AT_ONCE = 40": "TAKEN_AT_ONCE = 2",
}
WINDOW, KEY_WINDOW = 60, 100
PASSES = (31, 61, 200)  # seconds, whose sums come near no window
QUIET = 50  # claims after which nothing may be left to claim

few = st.sampled_from([0, 0, 0, 1, 2, 3])
caps = st.builds(
    Caps,
    running=few,
    starts=few,
    window=st.just(WINDOW),
    key_running=st.sampled_from([0, 1, 1, 2]),
    key_starts=few,
    key_window=st.just(KEY_WINDOW),
)
names = st.sampled_from(["", "a", "a", "a", *KEYS])
workers = st.sampled_from(["w1", "w2"])
ends = st.tuples(
    st.sampled_from(
        ["completed", "completed", "completed", "failed", "retry", "return", "limited", "limited"]
    ),
    st.sampled_from(["key", "queue"]),
)


class Limits(RuleBasedStateMachine):
    """Two workers claim and settle by hand, and ask again only when they were told to.

    Args:
        sender: Sends the moves, to a server that has the functions.
        server: The same server's data.
    """

    def __init__(self, sender: Sender, server: redis.Redis) -> None:
        super().__init__()
        server.flushdb()
        self.sender, self.server = sender, server
        self.hands: dict[str, list[Claimed]] = {"w1": [], "w2": []}
        self.hungry: set[str] = set()  # workers that know of work
        self.alarms: dict[str, float] = {}  # when they ask again by themselves
        self.made = self.slot = 0

    @initialize(caps=caps, first=st.lists(names, min_size=2, max_size=8))
    def begin(self, caps: Caps, first: list[str]) -> None:
        self.model = Starting(caps)
        self.enqueue(names=first)

    @rule(names=st.lists(names, min_size=1, max_size=6))
    def enqueue(self, names: list[str]) -> None:
        jobs = [self._new(name) for name in names]
        assert all(self.sender.send(moves.enqueue(jobs)))
        self._added(jobs)

    @rule(names=st.lists(names, min_size=1, max_size=4), most=st.integers(1, 12), again_too=st.booleans())
    def enqueue_into_a_queue_of_limited_length(self, names: list[str], most: int, again_too: bool) -> None:
        """A job that adds nothing takes no place; what is refused leaves no trace, sent again or not."""
        jobs = [self._new(name) for name in names]
        known = [attrs.evolve(PLAIN, id=job_id, own_id=True) for job_id in list(self.model.jobs)[:1]]
        call = moves.enqueue([*known, *jobs], ProducerLimits({QUEUE: most}))
        for one in [call, again(call)] if again_too else [call]:
            if self.model.length() + len(jobs) > most:
                with pytest.raises(QueueFull):
                    self.sender.send(one)
                self.model.refused += len(jobs)
            else:
                assert self.sender.send(one) == [False] * len(known) + [True] * len(jobs)
                self._added(jobs)
                most += len(jobs)  # sent again it answers the same, without looking

    @rule(names=st.lists(names, min_size=1, max_size=3), most=st.integers(1, 12))
    def fire_into_a_queue_of_limited_length(self, names: list[str], most: int) -> None:
        """A slot that was refused can be fired later."""
        jobs, limits = [self._new(name) for name in names], ProducerLimits({QUEUE: most})
        self.slot += 1
        at = LONG_AGO + self.slot * HOUR
        if self.model.length() + len(jobs) > most:
            with pytest.raises(QueueFull):
                self.sender.send(moves.fire("nightly", at, "", jobs, limits))
            self.model.refused += len(jobs)
        assert self.sender.send(moves.fire("nightly", at, "", jobs)).state == "fired"
        self._added(jobs)

    @rule(worker=workers, n=st.integers(1, 6), lost=st.sampled_from([False, False, True]))
    def claim(self, worker: str, n: int, lost: bool) -> None:
        self._turn(worker, [], n, lost=lost)

    @rule(worker=workers, n=st.integers(1, 6))
    def claim_until_nothing_is_left(self, worker: str, n: int) -> None:
        for _ in range(QUIET):
            self._turn(worker, [], n)
            if worker not in self.hungry:
                break
        assert worker not in self.hungry, "it is told of work for ever and gets none"
        assert not self.model.may_start()

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data(), worker=workers, end=ends, n=st.integers(0, 3), lost=st.sampled_from([False, True]))
    def settle(self, data: st.DataObject, worker: str, end: tuple[Any, str], n: int, lost: bool) -> None:
        if not self.hands[worker]:
            return
        some = data.draw(st.sets(st.sampled_from(self.hands[worker]), min_size=1, max_size=3))
        kind, group = end
        delay = timedelta(seconds=data.draw(st.sampled_from([10, 90]))) if kind == "limited" else timedelta(0)
        group = group if kind == "limited" else ""
        outcomes = [Settlement(kind, one, "work.note", 7, delay, "no", group=group) for one in some]
        self._turn(worker, outcomes, n, lost=lost)

    @rule(worker=workers, n=st.integers(1, 6), then=st.sampled_from([-1, 0, 1]), quiet=st.booleans())
    def work(self, worker: str, n: int, then: int, quiet: bool) -> None:
        """Whoever ends jobs and wants none is the one who has to wake somebody."""
        self._turn(worker, [], n)
        outcomes = [Settlement("completed", claimed, "work.note", 7) for claimed in self.hands[worker]]
        if outcomes:
            self._turn(worker, outcomes, then)
        if quiet:
            self.claim_until_nothing_is_left(worker=worker, n=n)

    @rule(
        worker=workers,
        name=names,
        group=st.sampled_from(["key", "queue"]),
        waits=st.permutations([90, 10]),
        seconds=st.sampled_from(PASSES),
        n=st.integers(1, 6),
        resumed=st.booleans(),
    )
    def some_are_told_to_wait(
        self, worker: str, name: str, group: str, waits: list[int], seconds: int, n: int, resumed: bool
    ) -> None:
        """The longer wait counts, whichever comes last; others of the key are behind them."""
        self.pause_or_resume(on=False)
        self.enqueue(names=[name] * 4)
        self._turn(worker, [], 6)
        held = [claimed for claimed in self.hands[worker] if self.model.holds(claimed)]
        mine = [claimed for claimed in held if self.model.jobs[claimed.id].key == name]
        outcomes = [
            Settlement("limited", claimed, "work.note", 7, timedelta(seconds=wait), "no", group=group)
            for claimed, wait in zip(mine, waits, strict=False)
        ]
        if outcomes:
            self._turn(worker, outcomes, n)
        self.time_passes(seconds=seconds)
        self._turn(worker, [], n)
        if resumed:
            self.pause_or_resume(on=False)
        else:
            self.time_passes(seconds=PASSES[-1])

    @rule(worker=workers, two=st.permutations(KEYS), then=st.sampled_from([-1, 0]), more=st.booleans())
    def a_key_is_freed_while_another_one_is_to_be_looked_at(
        self, worker: str, two: list[str], then: int, more: bool
    ) -> None:
        """A claim looks at one key for each place: the second key's jobs wait for their turn all the same."""
        first, second = two[:2]
        self.enqueue(names=[first, first, second, second])
        self._turn(worker, [], 6)
        self.time_passes(seconds=PASSES[0])
        mine = [c for c in self.hands[worker] if self.model.holds(c) and self.model.jobs[c.id].key == second]
        outcomes = [Settlement("completed", claimed, "work.note", 7) for claimed in mine]
        if outcomes:
            self._turn(worker, outcomes, then)
        if more:
            self.enqueue(names=[second])
            self._turn(worker, [], 1)

    @rule(worker=workers, name=st.sampled_from(KEYS))
    def a_job_of_a_key_ends_when_all_workers_are_asleep(self, worker: str, name: str) -> None:
        self.pause_or_resume(on=False)
        self.enqueue(names=[name] * 3)
        for one in self.hands:
            self.claim_until_nothing_is_left(worker=one, n=6)
        held = [claimed for claimed in self.hands[worker] if self.model.holds(claimed)]
        mine = [claimed for claimed in held if self.model.jobs[claimed.id].key == name]
        if mine:
            self._turn(worker, [Settlement("completed", mine[0], "work.note", 7)], -1)

    @precondition(lambda self: self.model.of(ACTIVE))
    @rule(data=st.data())
    def leases_end_and_somebody_reaps(self, data: st.DataObject) -> None:
        for job in data.draw(st.sets(st.sampled_from(sorted(job.id for job in self.model.of(ACTIVE))))):
            one = self.model.jobs[job]
            one.lease_over = True
            self.server.zadd(keys.LEASES, {f"{QUEUE}:{one.id}:{one.token}": 1})
        reaped = self.sender.send(moves.reap(max_crashes=100))
        assert {job_id for _, job_id, _ in reaped.jobs} == self.model.reap()

    @precondition(lambda self: self.model.of(DELAYED))
    @rule()
    def promote(self) -> None:
        assert self.sender.send(moves.promote([QUEUE])).promoted == self.model.promote()

    @precondition(lambda self: self.model.of(READY))
    @rule(data=st.data(), move=st.sampled_from([operators.cancel, operators.remove]))
    def a_ready_job_is_taken_out(self, data: st.DataObject, move: Any) -> None:
        job = data.draw(st.sampled_from(sorted(job.id for job in self.model.of(READY))))
        self.sender.send(move(job))
        del self.model.jobs[job]

    @rule(on=st.sampled_from([True, False, False]))
    def pause_or_resume(self, on: bool) -> None:
        self.sender.send(moves.pause(QUEUE) if on else moves.resume(QUEUE))
        if not on:
            self.model.waits.pop(None, None)  # an operator knows better than a rate limit
        self.model.paused = on

    @rule(seconds=st.sampled_from(PASSES))
    def time_passes(self, seconds: int) -> None:
        self.model.now += seconds
        self.server.eval(_PASS, 0, seconds)
        self.hungry |= {worker for worker, at in self.alarms.items() if at <= self.model.now}
        self.alarms = {worker: at for worker, at in self.alarms.items() if at > self.model.now}

    @invariant()
    def somebody_knows_of_what_may_start(self) -> None:
        told = self.server.llen(keys.wake(QUEUE)) or self.hungry
        assert told or not self.model.may_start(), "jobs may start, and no worker knows"

    @invariant()
    def each_job_is_in_one_place(self) -> None:
        found = json.loads(bytes(self.server.eval(_SEEN, 0, *KEYS)))
        held = {job_id: f"key:{key}" for key in KEYS for job_id in found["held"].get(key, ())}
        listed = [*found["waiting"], *held]
        assert sorted(listed) == sorted(job.id for job in self.model.of(READY))
        assert sorted(found["deferred"]) == sorted(held)
        assert sorted(found["groups"]) == sorted({*held.values()})
        assert sorted(found["delayed"]) == sorted(job.id for job in self.model.of(DELAYED))
        active = {f"{job.id}:{job.token}": job.key for job in self.model.of(ACTIVE)}
        assert sorted(found["active"]) == sorted(active)
        assert found["refused"] == self.model.refused
        for key in KEYS:
            running = [member for member, of in active.items() if of == key]
            assert sorted(found["running"].get(key, ())) == sorted(
                running if self.model.caps.key_running else []
            )
        for job_id, (status, group) in found["jobs"].items():
            assert group == held.get(job_id, "")
            assert status == ("deferred" if group else _STATUS[self.model.jobs[job_id].place])

    def _turn(self, worker: str, outcomes: list[Settlement], n: int, *, lost: bool = False) -> None:
        """One turn; when its reply is lost it is sent again.

        Who has ended a job of a queue with limits claims none of it when it wants none. Where only keys have
        limits it need not (``n`` is -1): the end of a job lets the next one of its key go by itself.
        """
        if n < 0 and self.model.caps.running:
            n = 0
        self.server.lpop(keys.wake(QUEUE))  # it was woken; whoever leaves work behind wakes the next
        row = self.model.caps.row()
        limits = {QUEUE: row} if any(row) else {}
        call = moves.turn(
            worker, outcomes, {} if n < 0 else {QUEUE: n}, limits=limits, lease=LEASE, largest=1 << 20
        )
        turn = self.sender.send(call)
        refused = [outcome.job.id for outcome in outcomes if not self.model.settle(outcome)]
        self.hands[worker] = [c for c in self.hands[worker] if all(c is not o.job for o in outcomes)]
        self._heard(worker, turn, n, refused, ())
        if lost:
            self._heard(worker, self.sender.send(again(call)), n, refused, turn.jobs)

    def _heard(
        self, worker: str, turn: Turn, n: int, refused: list[str], before: tuple[Claimed, ...]
    ) -> None:
        assert list(turn.refused) == refused
        assert turn.set_aside == ()
        assert len(turn.jobs) <= max(0, n)
        assert {claimed.id for claimed in turn.jobs} >= {claimed.id for claimed in before}
        for claimed in turn.jobs:
            if all(claimed.id != known.id for known in before):
                self.model.start(claimed)
                self.hands[worker].append(claimed)
        if n > 0 or turn.left:
            self.hungry.discard(worker)
        if turn.left:
            self.hungry.add(worker)
        for wait in turn.later.values():
            assert timedelta(0) < wait <= timedelta(seconds=KEY_WINDOW)
            self.alarms[worker] = self.model.now + wait.total_seconds()

    def _new(self, key: str) -> NewJob:
        self.made += 1
        extra = {"limit_key": key} if key else {}
        job_id = f"job-{self.made:04}"
        return attrs.evolve(PLAIN, id=job_id, queue=QUEUE, data=b"[]", extra=extra, attempts=100)

    def _added(self, jobs: list[NewJob]) -> None:
        for job in jobs:
            self.model.jobs[job.id] = Job(job.id, job.extra.get("limit_key", ""))


_STATUS = {READY: "queued", ACTIVE: "started", DELAYED: "scheduled"}
_PASS = f"""
local seconds = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', 'cgjobs:starts:*')) do
  local times, left = redis.call('LRANGE', key, 0, -1), redis.call('PTTL', key)
  redis.call('DEL', key)
  for _, at in ipairs(times) do
    redis.call('RPUSH', key, string.format('%.0f', tonumber(at) - seconds * 1e6))
  end
  redis.call('PEXPIRE', key, left)
end
for _, key in ipairs(redis.call('KEYS', 'cgjobs:limited:*')) do
  redis.call('PEXPIRE', key, redis.call('PTTL', key) - seconds * 1000)
end
for _, key in ipairs(redis.call('KEYS', 'cgjobs:due:*')) do
  local due = redis.call('ZRANGE', key, 0, -1)
  for _, one in ipairs(due) do redis.call('ZINCRBY', key, -seconds * 1000, one) end
end
for _, id in ipairs(redis.call('ZRANGE', '{keys.delayed(QUEUE)}', 0, -1)) do
  redis.call('ZINCRBY', '{keys.delayed(QUEUE)}', -seconds, id)
end
local queue = '{keys.queue(QUEUE)}'
local ends = redis.call('HGET', queue, 'until')
if ends then redis.call('HSET', queue, 'until', string.format('%.0f', ends - seconds * 1000)) end
"""
_SEEN = f"""
local held, running, jobs = {{}}, {{}}, {{}}
for _, key in ipairs(ARGV) do
  held[key] = redis.call('LRANGE', 'cgjobs:held:{QUEUE}:key:' .. key, 0, -1)
  running[key] = redis.call('SMEMBERS', 'cgjobs:running:{QUEUE}:' .. key)
end
for _, key in ipairs(redis.call('KEYS', 'rq:job:job-????')) do
  local f = redis.call('HMGET', key, 'status', 'held')
  if f[1] ~= 'failed' and f[1] ~= 'finished' and f[1] ~= 'canceled' then
    jobs[string.sub(key, 8)] = {{f[1] or '', f[2] or ''}}
  end
end
return cjson.encode({{
  held = held, running = running, jobs = jobs,
  waiting = redis.call('LRANGE', '{keys.waiting(QUEUE, Priority.NORMAL)}', 0, -1),
  deferred = redis.call('ZRANGE', '{keys.deferred(QUEUE)}', 0, -1),
  groups = redis.call('ZRANGE', '{keys.groups(QUEUE)}', 0, -1),
  delayed = redis.call('ZRANGE', '{keys.delayed(QUEUE)}', 0, -1),
  active = redis.call('ZRANGE', '{keys.active(QUEUE)}', 0, -1),
  refused = tonumber(redis.call('HGET', '{keys.METRICS}', 'refused|{QUEUE}') or 0),
}})
"""

"""Jobs that wait for other jobs: in order, as a tree, as a batch."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgjobs import (
    BatchCounts,
    Client,
    Context,
    Dependency,
    DependencyNotFound,
    Discard,
    Event,
    Flow,
    InvalidOption,
    Job,
    JobFailed,
    JobNotFound,
    JobOptions,
    JobState,
    Processor,
    keys,
    subtype,
)
from cgjobs.broker import Sender, dependents, moves
from cgjobs.broker.values import Claimed, Settlement
from cgjobs.isolation import ChildSetup
from cgjobs.worker import Worker
from tests.isolated_jobs import MEMORY, PROCESSORS, Do, do
from tests.jobs import Note, at_work, awaited, config, raw, redis_config, registry, running, until
from tests.proxy import Proxy

ONE = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def run(url: str, *subtypes: Any, events: list[Event] | None = None) -> None:
    """A worker runs what there is now, and what that makes ready."""
    asyncio.run(Worker(config(url), registry(*subtypes, events=events), burst=True).run())


@subtype("work.note")
def told(payload: Note, ctx: Context) -> Any:
    """Do what the text says."""
    if payload.text == "fail":
        raise Discard("never")
    if payload.text == "gather":
        return {job_id: [end.state, end.result] for job_id, end in ctx.dependencies().items()}
    if payload.text == "large":
        return "x" * 60_000
    return payload.text


def state(client: Client, job: Job | str) -> JobState | None:
    found = client.queue("work").find(job if isinstance(job, str) else job.id)
    return found and found.state


def keys_left(url: str) -> set[str]:
    """Keys that belong to jobs, flows and batches; the results of what has gone have an end of their time."""
    with raw(url) as server:
        return {
            key
            for key in server.scan_iter()
            if key.startswith(("rq:job:", "rq:deferred", "cgjobs:dependencies", "cgjobs:endings"))
        }


# In order


def test_a_job_is_deferred_until_the_one_it_depends_on_has_completed(redis_url: str) -> None:
    order: list[Event] = []
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])

        assert second.state is JobState.DEFERRED
        assert state(client, second) is JobState.DEFERRED
        assert client.queue("work").stats().waiting == 1

    run(redis_url, told, events=order)

    assert [e.job_id for e in order if e.name == "job_completed"] == [first.id, second.id]
    assert keys_left(redis_url) == set()


def test_it_waits_for_all_of_them_in_whatever_queue(redis_url: str) -> None:
    both = registry(processors=(Processor("work"), Processor("other")))
    with Client(config(redis_url), both) as client:
        first, second = client.enqueue(Note("1")), client.enqueue(Note("2"))
        last = client.enqueue(Note("3"), depends_on=[first.id, second, first])
        hands = claim(redis_url, 1)

        settle(redis_url, hands)

        assert state(client, last) is JobState.DEFERRED
        settle(redis_url, claim(redis_url, 1))
        assert state(client, last) is JobState.WAITING


def claim(url: str, n: int = 10, worker: str = "w") -> list[Claimed]:
    sender = Sender(redis_config(url))
    turn = sender.send(moves.turn(worker, [], {"work": n}, lease=HOUR, largest=10**6))
    sender.close()
    return list(turn.jobs)


def settle(url: str, hands: list[Claimed], kind: Any = "completed", blob: bytes = b"") -> None:
    sender = Sender(redis_config(url))
    outcomes = [Settlement(kind, job, error="x", blob=blob) for job in hands]
    sender.send(moves.turn("w", outcomes, {}, lease=HOUR, largest=10**6))
    sender.close()


def test_a_delay_begins_when_the_last_one_has_ended(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first], delay=HOUR)

        run(redis_url, told)

        found = client.get(second.id)
        assert found.state is JobState.DELAYED
        assert found.run_at is not None


def test_what_has_completed_and_is_kept_counts_as_done_and_its_result_is_there(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"), keep_completed=HOUR)
        run(redis_url, told)

        second = client.enqueue(Note("gather"), depends_on=[first], keep_completed=HOUR)

        assert state(client, second) is JobState.WAITING
        run(redis_url, told)
        assert client.wait(second) == {first.id: ["completed", "1"]}


def test_an_unknown_id_is_an_error_that_says_why_and_adds_nothing(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        run(redis_url, told)

        with pytest.raises(DependencyNotFound, match="has completed and was not kept") as caught:
            client.enqueue_many([Note("2"), Note("3")], depends_on=[first])

        assert caught.value.dependency == first.id
        assert client.queue("work").stats().waiting == 0
        assert keys_left(redis_url) == set()


def test_a_job_cannot_depend_on_itself(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, pytest.raises(DependencyNotFound):
        client.enqueue(Note(), job_id="me", depends_on=["me"])


def test_all_faults_of_the_option_are_told_at_once() -> None:
    with pytest.raises(InvalidOption) as caught:
        JobOptions(depends_on=["a b", "c/d"], on_dependency_failure="shrug").check()  # type: ignore[arg-type]

    assert [fault.path for fault in caught.value.faults] == ["dependsOn", "dependsOn", "onDependencyFailure"]


def test_one_id_instead_of_a_list_is_a_fault_that_says_so() -> None:
    with pytest.raises(InvalidOption, match=r"give a list: \['abc'\]"):
        JobOptions(depends_on="abc").check()


# When one fails


def test_a_failed_dependency_fails_what_waits_for_it_and_what_waits_for_that(redis_url: str) -> None:
    events: list[Event] = []
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("fail"))
        second = client.enqueue(Note("2"), depends_on=[first])
        third = client.enqueue(Note("3"), depends_on=[second])

        run(redis_url, told, events=events)

        assert [error.error for error in client.get(second.id).errors] == [
            f"its dependency {first.id} failed"
        ]
        with pytest.raises(JobFailed, match=f"its dependency {second.id} failed"):
            client.wait(third)
        assert {e.job_id for e in events if e.name == "job_failed"} == {first.id, second.id, third.id}


def test_a_failed_dependency_may_be_ignored(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("fail"))
        second = client.enqueue(
            Note("gather"), depends_on=[first], on_dependency_failure="ignore", keep_completed=HOUR
        )

        run(redis_url, told)

        assert client.wait(second) == {first.id: ["failed", None]}


@pytest.mark.parametrize("policy", ["fail", "ignore"])
def test_one_that_has_failed_already_is_dealt_with_at_once(redis_url: str, policy: Any) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("fail"))
        run(redis_url, told)

        second = client.enqueue(Note("2"), depends_on=[first], on_dependency_failure=policy)

        assert state(client, second) is (JobState.FAILED if policy == "fail" else JobState.WAITING)


def test_a_cancelled_one_fails_its_dependents(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])

        client.queue("work").cancel(first.id)

        assert client.get(second.id).errors[0].error == f"its dependency {first.id} was cancelled"


def test_a_removed_one_fails_its_dependents(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])

        client.queue("work").remove(first.id)

        assert client.get(second.id).errors[0].error == f"its dependency {first.id} was removed"


def test_a_drained_one_fails_its_dependents(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])

        client.queue("work").drain()

        assert state(client, second) is JobState.FAILED


def test_an_expired_one_fails_its_dependents(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        first = client.enqueue(Note("1"), expires=HOUR)
        second = client.enqueue(Note("2"), depends_on=[first])
        server.hset(keys.job(first.id), "expires_at", "1")

        run(redis_url, told)

        assert state(client, second) is JobState.FAILED


def test_one_whose_data_is_too_large_fails_its_dependents(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])
        server.hset(keys.job(first.id), "data", "x" * 2_000_000)

        claim(redis_url)

        assert state(client, second) is JobState.FAILED


def test_a_poisonous_one_fails_its_dependents(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])
        claim(redis_url)
        for member in server.zrange(keys.LEASES, 0, -1):
            server.zadd(keys.LEASES, {member: 1})

        sender = Sender(redis_config(redis_url))
        reaped = sender.send(moves.reap(max_crashes=1))
        sender.close()

        assert [entry.entry for entry in reaped.dropped] == [second.id]
        assert state(client, second) is JobState.FAILED


def test_a_quarantined_one_fails_its_dependents(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])
        server.hset(keys.job(first.id), "data", "no envelope")

        run(redis_url, told)

        assert state(client, second) is JobState.FAILED


def test_attempts_that_fail_are_no_end(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[client.queue("work").jobs(JobState.WAITING)[0]])

        settle(redis_url, claim(redis_url), "retry")

        assert state(client, second) is JobState.DEFERRED


def test_who_is_retried_waits_again_for_what_is_under_way(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"), attempts=1)
        second = client.enqueue(Note("gather"), depends_on=[first], keep_completed=HOUR)
        settle(redis_url, claim(redis_url), "failed")
        queue = client.queue("work")

        queue.retry(first.id)
        queue.retry(second.id)

        assert state(client, second) is JobState.DEFERRED
        run(redis_url, told)
        assert client.wait(second) == {first.id: ["completed", "1"]}


def test_who_is_retried_runs_without_what_has_failed(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("fail"))
        second = client.enqueue(Note("gather"), depends_on=[first], keep_completed=HOUR)
        run(redis_url, told)

        client.queue("work").retry(second.id)

        run(redis_url, told)
        assert client.wait(second) == {first.id: ["failed", None]}


def test_a_dependency_that_fails_and_completes_later_counts_once(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        settled = claim(redis_url)
        other = client.enqueue(Note("2"), delay=HOUR)
        last = client.enqueue(Note("3"), depends_on=[first, other], on_dependency_failure="ignore")
        settle(redis_url, settled, "failed")
        client.queue("work").retry(first.id)

        settle(redis_url, claim(redis_url))

        assert state(client, last) is JobState.DEFERRED


def test_a_deferred_job_can_be_cancelled_and_its_dependency_goes_on(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first], keep_failed=timedelta(0))

        client.queue("work").cancel(second.id)
        run(redis_url, told)

        assert state(client, second) is None
        assert keys_left(redis_url) == set()


def test_a_deferred_job_can_be_removed(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])

        client.queue("work").remove(second.id)
        run(redis_url, told)

        assert keys_left(redis_url) == set()


# Many


def test_six_hundred_dependents_are_told_two_hundred_a_call(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        client.enqueue_many([Note()] * 600, depends_on=[first])
        sender = Sender(redis_config(redis_url))
        waiting = []

        settle(redis_url, claim(redis_url, 1))
        for _ in range(4):
            waiting.append(client.queue("work").stats().waiting)
            sender.send(moves.promote(["work"]))

        sender.close()
        assert waiting == [200, 400, 600, 600]


def test_a_cascade_goes_on_two_hundred_jobs_a_call(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        middle = client.enqueue_many([Note()] * 700, depends_on=[first])
        client.enqueue_many([Note()] * 700, depends_on=middle[:2])
        sender = Sender(redis_config(redis_url))
        failed = []

        settle(redis_url, claim(redis_url, 1), "failed")
        for _ in range(12):
            failed.append(client.queue("work").stats().failed)
            sender.send(moves.promote(["work"]))

        sender.close()
        assert failed[0] <= 201
        assert failed[-1] == 1401
        with raw(redis_url) as server:
            assert not server.exists(keys.ENDINGS)


def test_a_worker_goes_on_with_what_is_left(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first = client.enqueue(Note("1"))
        client.enqueue_many([Note()] * 2500, depends_on=[first])

    @awaited
    async def work() -> None:
        async with at_work(redis_url, told) as at:

            async def all_done() -> bool:
                return (await at.client.queue("work").stats()).completed == 2501

            await until(all_done, 60)

    work()

    assert keys_left(redis_url) == set()


# Trees


def test_a_parent_has_the_results_of_its_children_in_their_order(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        flow = Flow(
            Note("gather"),
            [Flow(Note("gather"), [Note("a"), Note("b")]), Note("c")],
            options=JobOptions(keep_completed=HOUR),
        )

        root = client.enqueue_flow(flow)

        middle, last = root.depends_on
        a, b = client.get(middle).depends_on
        run(redis_url, told)
        assert client.wait(root) == {
            middle: ["completed", {a: ["completed", "a"], b: ["completed", "b"]}],
            last: ["completed", "c"],
        }
        client.queue("work").remove(root.id)
        assert keys_left(redis_url) == set()


def test_a_flow_is_enqueued_whole_or_not_at_all(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        flow = Flow(Note("root"), [Note("a")], options=JobOptions(depends_on=["nobody"]))

        with pytest.raises(DependencyNotFound):
            client.enqueue_flow(flow)

        assert keys_left(redis_url) == set()


def test_a_flow_of_more_than_five_hundred_jobs_is_refused(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        with pytest.raises(InvalidOption, match="more than 500 jobs"):
            client.enqueue_flow(Flow(Note("root"), [Note()] * 500))
        assert client.enqueue_flow(Flow(Note("root"), [Note()] * 499)).state is JobState.DEFERRED


def test_a_deep_flow_is_one_too(redis_url: str) -> None:
    flow = Flow(Note("0"))
    for depth in range(1, 500):
        flow = Flow(Note(str(depth)), [flow])
    with Client(config(redis_url), registry()) as client:
        client.enqueue_flow(flow)

        with pytest.raises(InvalidOption):
            client.enqueue_flow(Flow(Note("one more"), [flow]))

        run(redis_url, told)
    assert keys_left(redis_url) == set()


def test_a_child_that_exists_already_is_waited_for(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        holder = client.enqueue(Note("1"), unique="k")

        root = client.enqueue_flow(Flow(Note("root"), [Flow(Note("2"), options=JobOptions(unique="k"))]))

        assert client.get(root.id).depends_on == (holder.id,)
        run(redis_url, told)
    assert keys_left(redis_url) == set()


def test_one_that_has_failed_within_the_same_call_and_is_gone_is_not_waited_for(redis_url: str) -> None:
    gone = JobOptions(keep_failed=timedelta(0))
    with Client(config(redis_url), registry()) as client:
        failed = client.enqueue(Note("fail"))
        run(redis_url, told)

        middle = Flow(Note("middle"), options=attrs.evolve(gone, depends_on=[failed]))
        root = client.enqueue_flow(Flow(Note("root"), [middle]))

        found = client.get(root.id)
        assert found.state is JobState.FAILED
        assert found.errors[-1].error.endswith("was removed")
        assert keys_left(redis_url) == {f"rq:job:{failed.id}"} | {
            key for key in keys_left(redis_url) if root.id in key
        }


def test_a_large_result_is_not_handed_on_and_says_so(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        root = client.enqueue_flow(Flow(Note("root"), [Note("large"), Note("small")]))
        run_children = claim(redis_url)
        assert len(run_children) == 2
        settle(redis_url, run_children[:1], blob=b"x" * 70_000)
        settle(redis_url, run_children[1:], blob=b"InNtYWxsIg==")

        [parent] = claim(redis_url)

        assert parent.id == root.id
        assert [dependents.dependency(end) for end in parent.dependencies.values()] == [
            Dependency(JobState.COMPLETED, result_dropped=True),
            Dependency(JobState.COMPLETED, "small"),
        ]


# Batches


def test_a_batch_counts_and_its_callback_runs_when_all_have_ended(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        batch = client.enqueue_batch([Note("a"), Note("fail"), Note("c")], on_done=Note("done"))
        assert batch.counts() == BatchCounts(3, 0, 0)
        settle(redis_url, claim(redis_url, 1))
        assert batch.counts() == BatchCounts(3, 1, 0)
        settle(redis_url, claim(redis_url, 1), "failed")
        assert (batch.counts().failed, batch.counts().pending) == (1, 1)

        run(redis_url, told)

        assert batch.wait(ONE) == "done"
        with pytest.raises(JobNotFound):
            batch.counts()


def test_an_empty_batch_is_done_at_once(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        batch = client.enqueue_batch([], on_done=Note("done"))

        run(redis_url, told)

        assert batch.wait(ONE) == "done"


def test_a_batch_that_was_cut_off_goes_on_when_it_is_given_again(redis_url: str) -> None:
    payloads = [Note(str(n)) for n in range(1200)]
    with Client(config(redis_url), registry()) as client:
        batch = client.enqueue_batch(payloads, on_done=Note("done"), batch_id="b")
        # As when the client had died before its last call: the last 200 jobs are not there.
        with raw(redis_url) as server:
            gone = [f"b-{n}" for n in range(1000, 1200)]
            for job_id in gone:
                server.delete(keys.job(job_id), keys.dependents(job_id))
                server.lrem(keys.waiting("work"), 0, job_id)
                server.srem(keys.depends_on("b"), job_id)
                server.hdel(keys.dependencies("b"), job_id)
        for _ in range(2):
            settle(redis_url, claim(redis_url, 150))

        again = client.enqueue_batch(payloads, on_done=Note("done"), batch_id="b")

        assert again == batch
        assert batch.counts() == BatchCounts(1200, 300, 0)
        assert client.queue("work").stats().waiting == 900
        run(redis_url, told)
        assert batch.wait(ONE) == "done"
        assert client.queue("work").stats().completed == 1201
    assert keys_left(redis_url) == set()


def test_the_id_of_another_job_is_no_id_for_a_batch(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        client.enqueue(Note(), job_id="b")

        with pytest.raises(InvalidOption, match="the id of another job"):
            client.enqueue_batch([Note()], on_done=Note(), batch_id="b")


def test_a_batch_says_what_its_jobs_cannot_have(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, pytest.raises(InvalidOption) as caught:
        client.enqueue_batch([Note()] * 10_001, on_done=Note(), job_id="j", unique="k")

    assert [fault.path for fault in caught.value.faults] == ["jobId", "unique", ""]


# Faults


def test_a_settlement_whose_reply_is_lost_counts_once(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client:
        first, second = client.enqueue_many([Note("1"), Note("2")])
        last = client.enqueue(Note("3"), depends_on=[first, second])
        hands = claim(redis_url, 1)
        with Proxy(redis_url) as proxy:
            proxy.drop_reply(b"settle")

            settle(proxy.url, hands)

        assert proxy.lost == 1
        assert state(client, last) is JobState.DEFERRED


def test_a_flow_whose_reply_is_lost_is_there_once(redis_url: str) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        client.load_functions()
        proxy.drop_reply(b"enqueue")

        client.enqueue_flow(Flow(Note("root"), [Note("a"), Note("b")]))

        assert proxy.lost == 1
        assert client.queue("work").stats().waiting == 2


@pytest.mark.parametrize("entry", ["nobody", "a:b", "x" * 5000, "\xff{}", ""])
def test_strange_entries_among_the_dependents_hold_nobody_up(redis_url: str, entry: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])
        bystander = client.enqueue(Note("3"), depends_on=[client.enqueue(Note("4"), delay=HOUR)])
        server.sadd(keys.dependents(first.id), entry, bystander.id)

        settle(redis_url, claim(redis_url))

        assert state(client, second) is JobState.WAITING
        assert state(client, bystander) is JobState.DEFERRED
        assert not server.exists(keys.dependents(first.id))


def test_keys_of_a_wrong_type_are_set_aside(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        first = client.enqueue(Note("1"))
        client.enqueue(Note("2"), depends_on=[first])
        server.delete(keys.dependents(first.id))
        server.set(keys.dependents(first.id), "no set")
        server.set(keys.ENDINGS, "no list")

        settle(redis_url, claim(redis_url))
        sender = Sender(redis_config(redis_url))
        sender.send(moves.promote(["work"]))
        sender.close()

        assert len(server.keys("cgjobs:set-aside:*")) == 2


@pytest.mark.parametrize("number", ["", "x", "99999999999999999999", "-7"])
def test_a_counter_that_somebody_wrote_is_counted_again(redis_url: str, number: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        first = client.enqueue(Note("1"))
        second = client.enqueue(Note("2"), depends_on=[first])
        server.hset(keys.job(second.id), "outstanding", number)

        settle(redis_url, claim(redis_url))

        assert state(client, second) is JobState.WAITING


@pytest.mark.parametrize("entry", ["{", "[]", "[1,2,3]", '["a"]', "null", '{"id":1}'])
def test_strange_endings_are_put_into_quarantine(redis_url: str, entry: str) -> None:
    with Client(config(redis_url), registry()), raw(redis_url) as server:
        server.rpush(keys.ENDINGS, entry)
        sender = Sender(redis_config(redis_url))

        promotion = sender.send(moves.promote(["work"]))

        sender.close()
        assert [found.entry for found in promotion.set_aside] == [entry]
        assert not server.exists(keys.ENDINGS)


def test_an_ordinary_job_has_none_of_the_fields(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        job = client.enqueue(Note("1"))

        fields = set(server.hkeys(keys.job(job.id)))

        assert not fields & {"dependents", "dependency_id", "dependency_ids", "outstanding", "due", "batch"}


# Handlers of each kind, workers that die, any tree


@subtype("work.note")
async def gathered(payload: Note, ctx: Context) -> Any:
    """Give what an `async def` handler sees, and the result of a child."""
    if payload.text != "gather":
        return payload.text
    assert ctx.job.depends_on == tuple(ctx.dependencies())
    return [end.result for end in ctx.dependencies().values()]


@pytest.mark.parametrize("handler", [told, gathered])
def test_handlers_on_threads_and_on_the_loop_see_the_results(redis_url: str, handler: Any) -> None:
    with Client(config(redis_url), registry(handler)) as client:
        keep = JobOptions(keep_completed=HOUR)
        root = client.enqueue_flow(Flow(Note("gather"), [Note("a"), Note("b")], options=keep))

        run(redis_url, handler)

        found = client.wait(root)
        assert (list(found.values()) if isinstance(found, dict) else found) in (
            ["a", "b"],
            [["completed", "a"], ["completed", "b"]],
        )


def test_an_isolated_handler_sees_the_results(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent))
    provided = registry(do, processors=PROCESSORS)
    worker = Worker(
        config(redis_url), provided, burst=True, children=ChildSetup("tests.isolated_jobs:provided")
    )
    with Client(config(redis_url), provided) as client:
        keep = JobOptions(keep_completed=HOUR)
        root = client.enqueue_flow(Flow(Do("gather"), [Do("nibble"), Do("echo", "b")], options=keep))

        asyncio.run(worker.run())

        assert client.wait(root) == [MEMORY // 2, "b"]


def test_a_worker_that_dies_midway_holds_nobody_up(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        first, second = client.enqueue_many([Note("1"), Note("2")])
        last = client.enqueue(Note("gather"), depends_on=[first, second], keep_completed=HOUR)
        settle(redis_url, claim(redis_url, 1))
        claim(redis_url, 1, "dead")  # and never heard of again
        for member in server.zrange(keys.LEASES, 0, -1):
            server.zadd(keys.LEASES, {member: 1})
        sender = Sender(redis_config(redis_url))
        sender.send(moves.reap(max_crashes=3))
        sender.close()

        run(redis_url, told)

        assert [how for how, _ in client.wait(last).values()] == ["completed", "completed"]


def test_two_workers_share_a_flow(redis_url: str) -> None:
    provided = registry(told)
    with Client(config(redis_url), provided) as client:
        batch = client.enqueue_batch(
            [Note(str(n)) for n in range(300)], on_done=Note("done"), priority="high"
        )

    @awaited
    async def work() -> None:
        async with at_work(redis_url, told) as at, running(Worker(config(redis_url), provided)):
            assert await at.client.wait(batch.id) == "done"
            assert (await at.client.queue("work").stats()).completed == 301

    work()
    assert keys_left(redis_url) == set()


@awaited
async def test_the_awaited_client_can_do_it_too(redis_url: str) -> None:
    async with at_work(redis_url, told) as at:
        keep = JobOptions(keep_completed=HOUR)
        root = await at.client.enqueue_flow(Flow(Note("gather"), [Note("a")], options=keep))
        batch = await at.client.enqueue_batch([Note("fail")], on_done=Note("done"))

        assert await at.client.wait(root) == {root.depends_on[0]: ["completed", "a"]}
        assert await batch.wait(ONE * 10) == "done"
        with pytest.raises(JobNotFound):
            await at.client.batch("nobody").counts()


ENDS = ("completed", "failed", "cancel", "remove", "drain")
nodes = st.lists(
    st.tuples(st.sets(st.integers(0, 9), max_size=3), st.booleans(), st.sampled_from(ENDS)),
    min_size=1,
    max_size=10,
)


@given(nodes=nodes, rnd=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_depends_on_what_each_job_ends_as_it_should_and_nothing_is_left(
    redis_url: str, nodes: list[tuple[set[int], bool, str]], rnd: Any
) -> None:
    """Jobs that depend on earlier ones end in any order and in any way."""
    with Client(config(redis_url), registry()) as client, raw(redis_url) as server:
        server.flushdb()
        queue = client.queue("work")
        jobs: list[Job] = []
        for number, (wanted, ignores, _) in enumerate(nodes):
            jobs.append(
                client.enqueue(
                    Note(),
                    depends_on=[jobs[n] for n in sorted(wanted) if n < number],
                    on_dependency_failure="ignore" if ignores else "fail",
                    keep_completed=HOUR,
                    attempts=1,
                )
            )
        number_of = {job.id: number for number, job in enumerate(jobs)}
        ends: dict[int, str] = {}

        def fall(number: int, how: str) -> None:
            ends[number] = how
            if how == "completed":
                return
            for other, (wanted, ignores, _) in enumerate(nodes):
                if number in wanted and number < other and not ignores and other not in ends:
                    fall(other, "failed")

        def ready_now() -> set[int]:
            return {
                n
                for n, (wanted, _, _) in enumerate(nodes)
                if n not in ends and all(m in ends for m in wanted if m < n)
            }

        while len(ends) < len(jobs):
            ready = ready_now()
            assert {number_of[job.id] for job in queue.jobs(JobState.WAITING)} == ready
            deferred = set(range(len(jobs))) - ready - set(ends)
            assert {number_of[job.id] for job in queue.jobs(JobState.DEFERRED)} == deferred
            chosen = rnd.choice(sorted(ready | (deferred if rnd.random() < 0.2 else set())))
            how = nodes[chosen][2]
            if how in ("cancel", "remove") or chosen in deferred:
                (queue.remove if how == "remove" else queue.cancel)(jobs[chosen].id)
                fall(chosen, "removed" if how == "remove" else "cancelled")
            elif how == "drain":
                queue.drain()
                while ready_now():  # what ignores that becomes ready, and is drained too
                    for number in ready_now():
                        fall(number, "removed")
            else:
                for hand in claim(redis_url):
                    number = number_of[hand.id]
                    how = "failed" if nodes[number][2] == "failed" else "completed"
                    settle(redis_url, [hand], how)
                    fall(number, how)
        for number, job in enumerate(jobs):
            found = state(client, job)
            assert (found.value if found else "removed") == ends[number]
            if found:
                queue.remove(job.id)
        assert not server.keys("rq:job:*")
        assert not server.keys("cgjobs:dependencies:*")
        assert not server.keys("rq:deferred:*")

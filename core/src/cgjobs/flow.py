"""Flows and batches: many jobs enqueued together, and one that runs when they have ended."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence

import attrs

from cgjobs.broker import Steps, dependents, moves
from cgjobs.broker.values import NewJob
from cgjobs.errors import DependencyNotFound, Fault, InvalidOption, JobNotFound
from cgjobs.event import Event
from cgjobs.model import BatchCounts, Job, JobState
from cgjobs.operations import BATCH, Operations
from cgjobs.options import JobOptions, dependency_fields

MAX_MEMBERS = 10_000
"""Most jobs of a batch; more are batches whose callbacks are a batch."""
_SUFFIX = len("-9999")
_MAX_BATCH_ID = 128 - _SUFFIX


def _flows(children: Iterable[Flow | object]) -> tuple[Flow, ...]:
    return tuple(child if isinstance(child, Flow) else Flow(child) for child in children)


@attrs.frozen
class Flow:
    """A job and the jobs that must complete before it, each with its own.

    Args:
        payload: An instance of a subtype's payload class.
        children: Flows, or payloads, whose results its handler finds in ``ctx.dependencies()``.
        options: Of this job; ``on_dependency_failure`` says what a failed child means, ``depends_on`` adds
            jobs that exist already.
    """

    payload: object
    children: Sequence[Flow | object] = attrs.field(default=(), converter=_flows)
    options: JobOptions = attrs.field(factory=JobOptions, kw_only=True)


def enqueue_flow(operations: Operations, flow: Flow) -> Steps[Job]:
    """Add all jobs of a flow in one call; gives the job at its root.

    Raises:
        InvalidOption: It has more than 500 jobs.
    """
    flows = list(_children_first(flow))
    if len(flows) > BATCH:
        fault = Fault("", f"it has more than {BATCH} jobs; put the leaves into a batch")
        raise InvalidOption("the flow", [fault])
    prepared: list[tuple[NewJob, Job]] = []
    ids: dict[int, str] = {}  # by place, since one flow may stand in several places
    for place, (node, children) in enumerate(flows):
        wanted = (*(ids[child] for child in children), *node.options.depends_on)
        options = attrs.evolve(node.options, depends_on=wanted)
        prepared.append(operations.new_job(node.payload, options))
        ids[place] = prepared[-1][0].id
    jobs: list[Job] = yield from operations.enqueue(prepared)
    return jobs[-1]


def _children_first(root: Flow) -> Iterator[tuple[Flow, tuple[int, ...]]]:
    """Each flow after its children, with the places of these; no more than one above the most."""
    place = 0
    open_: list[tuple[Flow, list[int], list[Flow]]] = [(root, [], list(_flows(root.children))[::-1])]
    while open_:
        flow, done, rest = open_[-1]
        if rest and len(open_) <= BATCH:
            child = rest.pop()
            open_.append((child, [], list(_flows(child.children))[::-1]))
            continue
        open_.pop()
        yield flow, tuple(done)
        if open_:
            open_[-1][1].append(place)
        place += 1
        if place > BATCH:
            return


def enqueue_batch(
    operations: Operations,
    payloads: Iterable[object],
    on_done: object,
    batch_id: str | None,
    options: JobOptions,
) -> Steps[str]:
    """Add the jobs of a batch and its callback; gives the batch's id, which is that of the callback.

    The callback comes first and knows how many jobs there will be: it waits for those not yet added.

    Raises:
        InvalidOption: It has more than 10,000 jobs, or options that its jobs cannot have.
        JobNotFound: Somebody removed or cancelled the batch meanwhile.
    """
    given = list(payloads)
    batch_id = uuid.uuid4().hex if batch_id is None else batch_id
    faults = [
        Fault(name, "the jobs of a batch cannot have it")
        for name, value in (("jobId", options.job_id), ("unique", options.unique))
        if value is not None
    ]
    if len(given) > MAX_MEMBERS:
        hint = "make batches whose callbacks are a batch"
        faults.append(Fault("", f"{len(given)} jobs are more than {MAX_MEMBERS}; {hint}"))
    if len(batch_id) > _MAX_BATCH_ID:
        faults.append(Fault("batchId", f"it has more than {_MAX_BATCH_ID} characters"))
    if faults:
        raise InvalidOption("the batch", faults)
    ids = [f"{batch_id}-{number}" for number in range(len(given))]
    members = [
        _member(operations, payload, attrs.evolve(options, job_id=job_id, unique=False), batch_id)
        for payload, job_id in zip(given, ids, strict=True)
    ]
    callback = _callback(operations, on_done, batch_id, ids)
    [job] = yield from operations.enqueue([callback])
    if job.duplicate and job.depends_on != tuple(ids):
        fault = Fault("batchId", f"{batch_id!r} is the id of another job")
        raise InvalidOption("the batch", [fault])
    if job.duplicate and job.state is not JobState.DEFERRED:
        return batch_id
    for start in range(0, len(members), BATCH):
        some = members[start : start + BATCH]
        try:
            added = yield moves.enqueue(new for new, _ in some)
        except DependencyNotFound as error:
            raise JobNotFound(batch_id, hint="The batch was cancelled or removed meanwhile.") from error
        for (_, member), answer in zip(some, added, strict=True):
            if answer is True:
                operations.tell(
                    Event("job_enqueued", member.queue, member.id, member.name, member.correlation_id)
                )
    return batch_id


def _member(
    operations: Operations, payload: object, options: JobOptions, batch_id: str
) -> tuple[NewJob, Job]:
    new, job = operations.new_job(payload, options)
    # Its id was made for this batch: no former job of the same id left anything.
    return attrs.evolve(new, own_id=False, extra={**new.extra, "batch": batch_id}), job


def _callback(
    operations: Operations, payload: object, batch_id: str, ids: Sequence[str]
) -> tuple[NewJob, Job]:
    new, job = operations.new_job(payload, JobOptions(job_id=batch_id, unique=False))
    if not ids:
        return new, job
    waits = {**dependency_fields(ids, ignore_failures=True), "outstanding": str(len(ids))}
    job = attrs.evolve(job, state=JobState.DEFERRED, depends_on=tuple(ids))
    return attrs.evolve(new, extra={**new.extra, **waits}), job


def batch_counts(batch_id: str) -> Steps[BatchCounts]:
    """How far a batch is.

    Raises:
        JobNotFound: There is none: never enqueued, removed, or its callback has ended and is no longer kept.
    """
    counts: BatchCounts | None = yield dependents.batch(batch_id)
    if counts is None:
        hint = "It was never enqueued or removed, or its callback has ended and is no longer kept."
        raise JobNotFound(batch_id, hint=hint)
    return counts

"""What the state machine draws: new jobs, and how claimed ones end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import attrs
from hypothesis import strategies as st

from cgjobs.broker import Call
from cgjobs.broker.values import Claimed, NewJob, SetAside, Settlement, Turn
from cgjobs.model import Priority
from tests.proof.dependents import DEFERRED
from tests.proof.job import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    DELAYED,
    FAILED,
    GROUPS,
    HELD,
    QUEUES,
    SUBTYPE,
    WAITING,
)

T = TypeVar("T")
HOUR, NEVER = timedelta(hours=1), timedelta(0)
LEASE = timedelta(minutes=5)
MANY = 10  # jobs, when some may be taken out
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
READY = (None, timedelta(0), LONG_AGO)
LATER = (HOUR, datetime(2100, 1, 1, tzinfo=UTC))
UNDER_WAY = (WAITING, ACTIVE, DELAYED, HELD, DEFERRED)
ENDED = (COMPLETED, FAILED, CANCELLED)

queues = st.sampled_from(QUEUES)
workers = st.sampled_from(["w1", "w2"])
kinds = st.sampled_from(
    [
        *("completed", "completed", "failed", "retry", "failed", "quarantine", "snooze", "hold", "return"),
        *("crashed", "cancelled", "unknown", "limited"),
    ]
)
wants = st.dictionaries(queues, st.integers(0, 5), max_size=2)
priorities = st.sampled_from(Priority)
PLAIN = NewJob(
    queue=QUEUES[0],
    id="",  # one that was never used
    own_id=False,
    priority=Priority.NORMAL,
    due=None,
    data=b"",
    description=f"{SUBTYPE}()",
    timeout=None,
    attempts=3,
    keep_completed=timedelta(0),
    keep_failed=HOUR,
    extra={},
)
LATE = {"expires_at": "1.5"}
DEBOUNCED = {"unique": "d", "unique_until": "started", "debounce": "86400000"}
KEYS = [
    {"unique": "k", "unique_until": "done"},
    {"unique": "k", "unique_until": "started"},
    {"unique": "k", "unique_until": "86400000"},
    {"unique": "k", "unique_until": "done", **LATE},
    {"unique": "d", "unique_until": "done"},
]
FEW = [{"result_max": "1", "failure_max": "1"}, {"result_max": "2"}, {"failure_max": "2"}]
extras = st.sampled_from([*FEW, {}, {}, {}, {}, LATE, *KEYS, DEBOUNCED, DEBOUNCED, {**DEBOUNCED, **LATE}])
single = st.builds(
    attrs.evolve,
    st.just(PLAIN),
    queue=queues,
    id=st.sampled_from(["", "", "own-1", "own-2"]),
    priority=priorities,
    due=st.sampled_from(READY * 2 + LATER),
    attempts=st.integers(1, 3),
    keep_completed=st.sampled_from([timedelta(0), HOUR]),
    keep_failed=st.sampled_from([HOUR, HOUR, timedelta(0)]),
    extra=extras,
).map(lambda job: attrs.evolve(job, due=HOUR) if "debounce" in job.extra else job)
new_jobs = st.lists(single, min_size=1, max_size=4)
RESULT = b"bnVsbA=="
endings = st.tuples(kinds, st.sampled_from([timedelta(0), HOUR]), st.sampled_from([b"", RESULT]))


def is_dependent(dropped: SetAside) -> bool:
    """Whether a job failed since its dependency did; otherwise it has expired."""
    return dropped.reason.startswith("its dependency")


def expired(turn: Turn, queue: str) -> list[str]:
    """Ids of the queue's jobs that came too late."""
    return [entry.entry for entry in turn.dropped if entry.queue == queue and not is_dependent(entry)]


def waiting_for(job: NewJob, ids: Sequence[str], *, ignore: bool) -> NewJob:
    """The job as it is enqueued with these dependencies."""
    extra = {"dependency_id": ids[0], "dependency_ids": json.dumps(ids)}
    if ignore:
        extra["allow_dependency_failures"] = "1"
    own = {} if "debounce" in job.extra else job.extra  # which nobody puts off while it waits for others
    return attrs.evolve(job, extra={**own, **extra})


def outcome(kind: Any, claimed: Claimed, delay: timedelta, blob: bytes) -> Settlement:
    """How a claimed job ended, with all that its kind may carry."""
    postponed = kind in ("retry", "crashed", "snooze", "limited")
    group = {"hold": GROUPS[bool(delay)], "limited": "key"}.get(kind, "")
    return Settlement(
        kind,
        claimed,
        SUBTYPE,
        7,
        delay if postponed else timedelta(0),
        "ValueError: no",
        blob=blob,
        group=group,
    )


def again(call: Call[T]) -> Call[T]:
    """The call as it is sent when no reply came to the first try."""
    return Call(call.again, call.parse)

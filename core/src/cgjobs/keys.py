"""Every key in the broker. ``rq:`` keys are RQ 3's data model, ``cgjobs:`` keys are ours alone.

``functions/prelude.lua`` builds the same names on the server; ``tests/unit/test_keys.py`` compares both.
"""

from __future__ import annotations

from cgjobs.model import Priority

QUEUES = "rq:queues"
WORKERS = "rq:workers"
LEASES = "cgjobs:leases"
EVENTS = "cgjobs:events"
METRICS = "cgjobs:metrics"
QUARANTINE = "cgjobs:quarantine"
EPOCH = "cgjobs:epoch"
CLOCK = "cgjobs:clock"
ENDINGS = "cgjobs:endings"
HISTORY = "cgjobs:history"


def job(job_id: str) -> str:
    """Hash of one job."""
    return f"rq:job:{job_id}"


def results(job_id: str) -> str:
    """Stream of a job's results and of the errors of its attempts."""
    return f"rq:results:{job_id}"


def log(job_id: str) -> str:
    """List of the lines that a job's handler logged, over all attempts, the last one at the end."""
    return f"cgjobs:log:{job_id}"


def waiting(queue: str, priority: Priority = Priority.NORMAL) -> str:
    """List of waiting jobs; the normal level is RQ's own list, the others are lists beside it."""
    return f"rq:queue:{queue}" if priority is Priority.NORMAL else f"rq:queue:{queue}:{priority}"


def active(queue: str) -> str:
    """Sorted set of running jobs, ``<job id>:<attempt token>``, scored far in the future."""
    return f"rq:wip:{queue}"


def completed(queue: str) -> str:
    """Sorted set of completed jobs that are kept, scored by when they go."""
    return f"rq:finished:{queue}"


def failed(queue: str) -> str:
    """Sorted set of failed jobs, scored by when they go."""
    return f"rq:failed:{queue}"


def delayed(queue: str) -> str:
    """Sorted set of delayed jobs, scored by when they are due, in seconds."""
    return f"rq:scheduled:{queue}"


def deferred(queue: str) -> str:
    """Sorted set of jobs that wait for other jobs, and of held ones, scored 1e10 plus when they were held."""
    return f"rq:deferred:{queue}"


def cancelled(queue: str) -> str:
    """Sorted set of cancelled jobs."""
    return f"rq:canceled:{queue}"


def dependents(job_id: str) -> str:
    """Set of the jobs that wait for one job."""
    return f"rq:job:{job_id}:dependents"


def depends_on(job_id: str) -> str:
    """Set of the jobs that one job depends on, for RQ, which writes two colons."""
    return f"rq:job::{job_id}:dependencies"


def dependencies(job_id: str) -> str:
    """Hash of what became of the jobs that one job depends on."""
    return f"cgjobs:dependencies:{job_id}"


def worker(name: str) -> str:
    """Hash of one worker, gone when the worker is silent too long."""
    return f"rq:worker:{name}"


def workers_of(queue: str) -> str:
    """Set of the workers of one queue."""
    return f"rq:workers:{queue}"


def queue(name: str) -> str:
    """Hash of a queue's own facts: ``paused``, ``until`` (ms), ``completed``, the claim counter."""
    return f"cgjobs:queue:{name}"


def heard(queue: str) -> str:
    """Hash of a paused queue: each worker that knows, and of which pause."""
    return f"cgjobs:heard:{queue}"


def wake(name: str) -> str:
    """List with one token while a queue has work that no worker was woken for."""
    return f"cgjobs:wake:{name}"


def schedule(name: str) -> str:
    """Hash of a schedule: its last fire and its history."""
    return f"cgjobs:schedule:{name}"


def cancels(worker: str) -> str:
    """Set of the running jobs, ``<job id>:<attempt token>``, that a worker shall cancel."""
    return f"cgjobs:cancels:{worker}"


def starts(name: str) -> str:
    """List of when jobs of a queue, or of ``<queue>:<limit key>``, started: microseconds, for one window."""
    return f"cgjobs:starts:{name}"


def groups(queue: str) -> str:
    """Sorted set of the groups of a queue's held jobs, all with the score 0."""
    return f"cgjobs:groups:{queue}"


def held(group: str) -> str:
    """List of the held jobs of one group, ``<queue>:<group>``, in their order."""
    return f"cgjobs:held:{group}"


def running(name: str) -> str:
    """Set of the running jobs, ``<job id>:<attempt token>``, of one ``<queue>:<limit key>``."""
    return f"cgjobs:running:{name}"


def limited(name: str) -> str:
    """There while a rate limit that a handler met holds one ``<queue>:<limit key>``."""
    return f"cgjobs:limited:{name}"


def due(queue: str) -> str:
    """Sorted set of the limit keys with held jobs, scored by when to look at them, in ms."""
    return f"cgjobs:due:{queue}"


def unique(name: str) -> str:
    """Id of the job that has a unique key, ``<queue>:<key>``."""
    return f"cgjobs:unique:{name}"


def answer(nonce: str) -> str:
    """What a call answered, for the same call sent again: an enqueue that did not add all its jobs, say."""
    return f"cgjobs:answer:{nonce}"


def history(cell: str) -> str:
    """Hash of what happened in one hour: ``<hour since the epoch>:<queue>:<subtype>``, none for the queue."""
    return f"cgjobs:history:{cell}"

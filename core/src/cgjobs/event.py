"""What happened to a job or a queue, as observers (``cgjobs_event``) are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import attrs

EventName = Literal[
    "job_enqueued",
    "job_started",
    "job_progress",
    "job_completed",
    "job_failed",
    "job_retrying",
    "job_snoozed",
    "job_rate_limited",
    "job_held",
    "job_cancelled",
    "job_returned",
    "job_recovered",
    "job_quarantined",
    "job_stale",
    "queue_paused",
    "queue_resumed",
    "schedule_fired",
    "schedule_skipped",
    "schedule_refused",
    "worker_started",
    "worker_stopped",
    "broker_lost",
    "broker_back",
    "data_loss_suspected",
    "plugin_quarantined",
]


@attrs.frozen
class Event:
    """One thing that happened.

    Args:
        name: What happened.
        queue: Name of the queue, or ``""``.
        job_id: Id of the job, or ``""``.
        subtype: Full name of the job's subtype, or ``""``.
        correlation_id: The job's correlation id, or ``""``.
        attempt: The attempt concerned, from 1; 0 where there is none.
        duration: How long the attempt ran, or None.
        error: Class and message of an error, one line, or ``""``.
        detail: Whatever else is worth saying, for people, or ``""``.
    """

    name: EventName
    queue: str = ""
    job_id: str = ""
    subtype: str = ""
    correlation_id: str = ""
    attempt: int = 0
    duration: timedelta | None = None
    error: str = ""
    detail: str = ""

"""Every event as a log line; the specification's four to the letter."""

from __future__ import annotations

from typing import Any

import structlog

from cgjobs.event import Event
from cgjobs.hookspecs import hookimpl

_LEVELS = {
    "job_failed": "error",
    "job_quarantined": "error",
    "job_retrying": "warning",
    "job_cancelled": "warning",
    "job_recovered": "warning",
    "job_stale": "warning",
    "queue_paused": "warning",
    "schedule_skipped": "warning",
    "broker_lost": "error",
    "data_loss_suspected": "error",
    "plugin_quarantined": "error",
    "job_enqueued": "debug",
    "job_progress": "debug",
}


class Logs:
    """The plugin. Made after `cgjobs.logs.configure`, since it keeps its logger."""

    def __init__(self) -> None:
        log = structlog.get_logger()
        self._write = {name: getattr(log, level) for name, level in _LEVELS.items()}
        self._write_info = log.info

    @hookimpl
    def cgjobs_event(self, event: Event) -> None:
        """Log one event: queue, jobId, duration in milliseconds, error, and what else there is."""
        fields: dict[str, Any] = {"correlation_id": event.correlation_id}
        if event.queue:
            fields["queue"] = event.queue
        if event.job_id:
            fields["job_id"] = event.job_id
        if event.subtype:
            fields["type"] = event.subtype
        if event.attempt:
            fields["attempt"] = event.attempt
        if event.duration is not None:
            fields["duration"] = round(event.duration.total_seconds() * 1000, 3)
        if event.error:
            fields["error"] = event.error
        if event.detail:
            fields["detail"] = event.detail
        self._write.get(event.name, self._write_info)(event.name, **fields)

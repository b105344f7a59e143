"""Every event as a log line; the specification's four to the letter."""

from __future__ import annotations

from typing import Any

import structlog

from cgjobs.event import Event
from cgjobs.hookspecs import hookimpl
from cgjobs.logs import JsonLines
from cgjobs.redaction import without_userinfo

_LEVELS = {
    "job_failed": "error",
    "job_quarantined": "error",
    "job_retrying": "warn",
    "job_cancelled": "warn",
    "job_held": "warn",
    "job_recovered": "warn",
    "job_stale": "warn",
    "queue_paused": "warn",
    "schedule_skipped": "warn",
    "schedule_refused": "warn",
    "broker_lost": "error",
    "data_loss_suspected": "error",
    "plugin_quarantined": "error",
    "job_enqueued": "debug",
    "job_progress": "debug",
}


class Logs:
    """The plugin. Made after `cgjobs.logs.configure`, since it keeps where lines go."""

    def __init__(self) -> None:
        self._lines = JsonLines.configured()
        self._log = structlog.get_logger()

    @hookimpl
    def cgjobs_event(self, event: Event) -> None:
        """Log one event: queue, jobId, duration in milliseconds, error, and what else there is."""
        level = _LEVELS.get(event.name, "info")
        fields: dict[str, Any] = {}
        if event.queue:
            fields["queue"] = event.queue
        if event.job_id:
            fields["jobId"] = event.job_id
        if event.subtype:
            fields["type"] = event.subtype
        if event.attempt:
            fields["attempt"] = event.attempt
        if event.duration is not None:
            fields["duration"] = round(event.duration.total_seconds() * 1000, 3)
        if event.error:
            fields["error"] = without_userinfo(event.error)
        if event.detail:
            fields["detail"] = without_userinfo(event.detail)
        if self._lines is not None:  # twice for each job: the processors take three times as long
            # A batch of jobs has ended; what begins is said before its handler can do any harm.
            ended = event.name == "job_completed"
            self._lines.write(level, event.name, event.correlation_id, fields, at_once=not ended)
        else:
            write = getattr(self._log, "warning" if level == "warn" else level)
            write(event.name, correlation_id=event.correlation_id, **fields)

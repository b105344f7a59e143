"""The options of one job, checked all at once."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import attrs

from cgjobs.errors import Fault, InvalidOption
from cgjobs.model import Backoff, Priority

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
CORRELATION_ID = re.compile(r"[\x20-\x7e]{1,128}\Z")
MAX_ATTEMPTS = 1000
MAX_DELAY = timedelta(days=3653)


@attrs.frozen(kw_only=True)
class JobOptions:
    """What may be said of a job when it is enqueued. None: the queue's default.

    Args:
        delay: Wait at least this long before the first attempt, at most ten years. Workers look once a
            second at the latest, so up to 1 s more.
        at: Not before this time (aware). A time in the past means at once. Not together with ``delay``.
        priority: ``critical``, ``high``, ``normal`` or ``low``.
        attempts: How often it is tried in all, 1 to 1000.
        backoff: The wait between attempts.
        timeout: Longest run of one attempt, above zero.
        job_id: Its id: 1 to 128 of ``A-Z a-z 0-9 _ -``. A second job with the id of one that still exists
            adds nothing; the first one is given back.
        correlation_id: Ties log lines together; 1 to 128 printable ASCII characters. None: a new one.
        keep_completed: How long the job is kept once completed; zero removes it at once.
        keep_failed: How long the job is kept once failed.
    """

    delay: timedelta | None = None
    at: datetime | None = None
    priority: Priority | str = Priority.NORMAL
    attempts: int | None = None
    backoff: Backoff | None = None
    timeout: timedelta | None = None
    job_id: str | None = None
    correlation_id: str | None = None
    keep_completed: timedelta | None = None
    keep_failed: timedelta | None = None

    def check(self) -> None:
        """Raise `InvalidOption` with every fault, each by its name on the wire."""
        faults = [*self._when(), *self._numbers(), *self._names()]
        if faults:
            raise InvalidOption("the job's options", faults)

    @property
    def due(self) -> timedelta | datetime | None:
        """When the job is ready: after this long, at this time, or None for at once."""
        return self.at if self.at is not None else self.delay

    def _when(self) -> list[Fault]:
        faults = []
        if self.delay is not None and not timedelta(0) <= self.delay <= MAX_DELAY:
            faults.append(Fault("delay", f"{self.delay} is not from 0 to 10 years"))
        if self.at is not None and self.at.tzinfo is None:
            faults.append(Fault("at", f"{self.at} has no time zone; give an aware datetime"))
        if self.at is not None and self.delay is not None:
            faults.append(Fault("at", "give either delay or at, not both"))
        for name in ("keep_completed", "keep_failed"):
            kept = getattr(self, name)
            if kept is not None and not timedelta(0) <= kept <= MAX_DELAY:
                faults.append(
                    Fault(name.replace("_c", "C").replace("_f", "F"), f"{kept} is not from 0 to 10 years")
                )
        return faults

    def _numbers(self) -> list[Fault]:
        faults = []
        if self.attempts is not None and not 1 <= self.attempts <= MAX_ATTEMPTS:
            faults.append(Fault("attempts", f"{self.attempts} is not from 1 to {MAX_ATTEMPTS}"))
        if self.timeout is not None and self.timeout <= timedelta(0):
            faults.append(Fault("timeout", f"{self.timeout} is not above zero"))
        return faults

    def _names(self) -> list[Fault]:
        faults = []
        if self.priority not in set(Priority):
            faults.append(Fault("priority", f"{self.priority!r} is none of {', '.join(Priority)}"))
        if self.job_id is not None and not JOB_ID.match(self.job_id):
            faults.append(Fault("jobId", f"{self.job_id[:140]!r} is not 1 to 128 of A-Z a-z 0-9 _ -"))
        if self.correlation_id is not None and not CORRELATION_ID.match(self.correlation_id):
            faults.append(Fault("correlationId", "it is not 1 to 128 printable ASCII characters"))
        return faults

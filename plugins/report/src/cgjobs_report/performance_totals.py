"""Hours of the history added up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from cgjobs import Histogram, JobHour, QueueHour

PERCENTILES = (50, 95, 99)
"""Those that are told of waits and runs."""


@attrs.frozen(kw_only=True)
class Totals:
    """Sums over a period.

    Args:
        completed: Jobs that completed.
        failed: Jobs that failed for good, without having run or with their worker too.
        retried: Attempts that failed and are tried again.
        wait, run: Of attempts.
        busy, slots: How long jobs ran, and how long the places of all workers were there.
        oldest: How long the job that waited longest had been ready.
    """

    completed: int = 0
    failed: int = 0
    retried: int = 0
    wait: Histogram = attrs.field(factory=Histogram)
    run: Histogram = attrs.field(factory=Histogram)
    busy: timedelta = timedelta(0)
    slots: timedelta = timedelta(0)
    oldest: timedelta = timedelta(0)

    @classmethod
    def of(cls, jobs: Sequence[JobHour], queues: Sequence[QueueHour]) -> Totals:
        """Add up hours."""
        return cls(
            completed=sum(hour.completed for hour in jobs),
            failed=sum(hour.failed for hour in jobs) + sum(hour.dropped for hour in queues),
            retried=sum(hour.retried for hour in jobs),
            wait=sum((hour.wait for hour in jobs), Histogram()),
            run=sum((hour.run for hour in jobs), Histogram()),
            busy=sum((hour.busy for hour in jobs), timedelta(0)),
            slots=sum((hour.slots for hour in queues), timedelta(0)),
            oldest=max((hour.oldest for hour in queues), default=timedelta(0)),
        )

    @property
    def ended(self) -> int:
        """Jobs that ended by themselves."""
        return self.completed + self.failed

    @property
    def failing(self) -> float | None:
        """Which share of them failed."""
        return self.failed / self.ended if self.ended else None

    @property
    def utilisation(self) -> float | None:
        """Which share of the workers' places was used."""
        return min(self.busy / self.slots, 1.0) if self.slots else None


def seconds(histogram: Histogram, percent: float) -> float | None:
    """A percentile in seconds, to the digits that it is good for."""
    found = histogram.percentile(percent)
    return None if found is None else float(f"{found.total_seconds():.2g}")

"""The options that say which jobs are meant, of the commands that list or move many."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
from cyclopts import Parameter

from cgjobs.broker.search import Filter
from cgjobs.cli.job_options import past_time
from cgjobs.cli.session import Session
from cgjobs.errors import Fault, InvalidOption


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class JobFilter:
    """Which jobs.

    Args:
        queue: Only those of this queue.
        type: Only those of this subtype, such as notification.email.
        tag: Only those with this tag.
        since: Only those created in this time, such as 1h, or since a time such as 2026-01-31T12:00:00Z.
        until: Only those created before that.
        ended_since: Only those that ended in this time, or since a time.
        ended_until: Only those that ended before that.
        error: Only those whose last error contains this, in capitals or not.
        error_type: Only those whose last error is of this class, such as ConnectionError.
    """

    queue: str | None = None
    type: str | None = None
    tag: str | None = None
    since: str | None = None
    until: str | None = None
    ended_since: str | None = None
    ended_until: str | None = None
    error: str | None = None
    error_type: str | None = None

    def wanted(self) -> Filter:
        """What jobs are compared with; raises `InvalidOption` with all wrong times."""
        now, faults = datetime.now(UTC), list[Fault]()
        times: dict[str, datetime | None] = {}
        for name in ("since", "until", "ended_since", "ended_until"):
            try:
                text = getattr(self, name)
                times[name] = None if text is None else past_time(text, now)
            except ValueError as error:
                faults.append(Fault(f"--{name.replace('_', '-')}", str(error)))
        if faults:
            raise InvalidOption("the jobs", faults)
        return Filter(self.type, self.tag, error=self.error, error_type=self.error_type, **times)

    def queues(self, session: Session) -> list[str]:
        """Where to look; raises `QueueNotFound`."""
        queue = self.queue or (self.type or "").partition(".")[0]
        return [session.queue(queue)] if queue else session.run(session.operations.queue_names())

    def __str__(self) -> str:
        """The same as it was written, for people."""
        given = attrs.asdict(self, filter=lambda _, value: value is not None)
        return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())

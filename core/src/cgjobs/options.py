"""The options of one job, checked all at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

from cgjobs.errors import Fault, InvalidOption
from cgjobs.model import Backoff, Job, Keep, Priority

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
UNIQUE = re.compile(r"[\x20-\x7e]{1,200}\Z")
CORRELATION_ID = re.compile(r"[\x20-\x7e]{1,128}\Z")
MAX_ATTEMPTS = 1000
MAX_DEPENDENCIES = 1000
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
        expires: Not worth starting after this long, or after this time (aware): a job that no worker started
            by then fails, saying so. Retries do not expire.
        unique: A key of 1 to 200 printable ASCII characters that one job of the queue can have at a time. A
            second job with it adds nothing; the one that has it is given back.
        unique_until: How long the key is held: until the job has ``started``, until it is ``done``, or for a
            time from now, whatever becomes of the job. A job that fails gives it back in any case.
        depends_on: Jobs, or ids of jobs, that must complete first, at most 1000, in whatever queues. Until
            then it is deferred; a delay begins when the last one has ended.
        on_dependency_failure: What becomes of it when one of them fails, or is cancelled or removed: it is to
            ``fail`` too, or to ``ignore`` that and run when all have ended.
        limit_key: Only so many jobs of the queue with this key, 1 to 200 printable ASCII characters, run at
            once or start in a window: see ``key_concurrency`` and ``key_rate`` of a queue. None: what
            ``limit_by`` of the subtype says.
        keep_completed: How long the job is kept once completed; zero removes it at once. A `Keep` says also
            with how many others of its queue.
        keep_failed: The same once failed.
    """

    delay: timedelta | None = None
    at: datetime | None = None
    priority: Priority | str = Priority.NORMAL
    attempts: int | None = None
    backoff: Backoff | None = None
    timeout: timedelta | None = None
    job_id: str | None = None
    correlation_id: str | None = None
    expires: timedelta | datetime | None = None
    unique: str | None = None
    unique_until: Literal["started", "done"] | timedelta = "done"
    depends_on: Sequence[Job | str] = ()
    on_dependency_failure: Literal["fail", "ignore"] = "fail"
    limit_key: str | None = None
    keep_completed: timedelta | Keep | None = None
    keep_failed: timedelta | Keep | None = None

    def check(self) -> None:
        """Raise `InvalidOption` with every fault, each by its name on the wire."""
        faults = [*self._when(), *self._numbers(), *self._names(), *self._dependencies()]
        if faults:
            raise InvalidOption("the job's options", faults)

    @property
    def dependency_ids(self) -> tuple[str, ...]:
        """The ids of the jobs that must complete first, each once. Call `check` first."""
        found = (other.id if isinstance(other, Job) else other for other in self.depends_on)
        return tuple(dict.fromkeys(found))

    @property
    def due(self) -> timedelta | datetime | None:
        """When the job is ready: after this long, at this time, or None for at once."""
        return self.at if self.at is not None else self.delay

    @property
    def is_later(self) -> bool:
        """Whether the job has to wait, by this host's clock."""
        return bool(self.delay) or (self.at is not None and self.at > datetime.now(UTC))

    def extra(self) -> dict[str, str]:
        """What stands in further fields of the job's hash. Call `check` first."""
        fields: dict[str, str] = {}
        if self.expires is not None:
            # By this host's clock: a few seconds of difference to the broker's do not matter to what expires.
            by = datetime.now(UTC) + self.expires if isinstance(self.expires, timedelta) else self.expires
            fields["expires_at"] = f"{by.timestamp():.3f}"
        if self.limit_key is not None:
            fields["limit_key"] = self.limit_key
        if self.unique is not None:
            until = self.unique_until
            fields["unique"] = self.unique
            fields["unique_until"] = (
                until if isinstance(until, str) else str(math.ceil(until.total_seconds() * 1000))
            )
        if dependencies := self.dependency_ids:
            fields |= dependency_fields(dependencies, ignore_failures=self.on_dependency_failure == "ignore")
        return fields

    def _when(self) -> list[Fault]:
        faults = []
        if self.delay is not None and not timedelta(0) <= self.delay <= MAX_DELAY:
            faults.append(Fault("delay", f"{self.delay} is not from 0 to 10 years"))
        if self.at is not None and self.at.tzinfo is None:
            faults.append(Fault("at", f"{self.at} has no time zone; give an aware datetime"))
        if self.at is not None and self.delay is not None:
            faults.append(Fault("at", "give either delay or at, not both"))
        if isinstance(self.expires, datetime) and self.expires.tzinfo is None:
            faults.append(Fault("expires", f"{self.expires} has no time zone; give an aware datetime"))
        if isinstance(self.expires, timedelta) and not timedelta(0) < self.expires <= MAX_DELAY:
            faults.append(Fault("expires", f"{self.expires} is not above 0 and up to 10 years"))
        for name in ("keep_completed", "keep_failed"):
            kept = getattr(self, name)
            age = kept.age if isinstance(kept, Keep) else kept
            if age is not None and not timedelta(0) <= age <= MAX_DELAY:
                faults.append(
                    Fault(name.replace("_c", "C").replace("_f", "F"), f"{age} is not from 0 to 10 years")
                )
        return faults

    def _numbers(self) -> list[Fault]:
        faults = []
        if self.attempts is not None and not 1 <= self.attempts <= MAX_ATTEMPTS:
            faults.append(Fault("attempts", f"{self.attempts} is not from 1 to {MAX_ATTEMPTS}"))
        if self.timeout is not None and self.timeout <= timedelta(0):
            faults.append(Fault("timeout", f"{self.timeout} is not above zero"))
        return faults

    def _dependencies(self) -> list[Fault]:
        if isinstance(self.depends_on, (str, Job)):
            return [Fault("dependsOn", f"give a list: [{getattr(self.depends_on, 'id', self.depends_on)!r}]")]
        faults = [
            Fault("dependsOn", f"{str(other)[:140]!r} is no job and no id of a job")
            for other in self.depends_on
            if not isinstance(other, Job) and not (isinstance(other, str) and JOB_ID.match(other))
        ]
        if (size := len(self.depends_on)) > MAX_DEPENDENCIES:
            faults.append(
                Fault("dependsOn", f"{size} are more than {MAX_DEPENDENCIES}; use a batch for more")
            )
        if self.on_dependency_failure not in ("fail", "ignore"):
            hint = f"{self.on_dependency_failure!r} is neither fail nor ignore"
            faults.append(Fault("onDependencyFailure", hint))
        return faults

    def _names(self) -> list[Fault]:
        faults = []
        if self.priority not in set(Priority):
            faults.append(Fault("priority", f"{self.priority!r} is none of {', '.join(Priority)}"))
        if self.job_id is not None and not JOB_ID.match(self.job_id):
            faults.append(Fault("jobId", f"{self.job_id[:140]!r} is not 1 to 128 of A-Z a-z 0-9 _ -"))
        if self.unique is not None and not UNIQUE.match(self.unique):
            faults.append(Fault("unique", "it is not 1 to 200 printable ASCII characters"))
        if self.limit_key is not None and not UNIQUE.match(self.limit_key):
            faults.append(Fault("limitKey", "it is not 1 to 200 printable ASCII characters"))
        if isinstance(self.unique_until, timedelta):
            if not timedelta(milliseconds=1) <= self.unique_until <= MAX_DELAY:
                faults.append(Fault("uniqueUntil", f"{self.unique_until} is not from 1 ms to 10 years"))
        elif self.unique_until not in ("started", "done"):
            hint = "write started, done or a duration such as 5m"
            faults.append(Fault("uniqueUntil", f"{self.unique_until!r} is no end of a unique key; {hint}"))
        if self.correlation_id is not None and not CORRELATION_ID.match(self.correlation_id):
            faults.append(Fault("correlationId", "it is not 1 to 128 printable ASCII characters"))
        return faults


def dependency_fields(ids: Sequence[str], *, ignore_failures: bool) -> dict[str, str]:
    """What a job depends on, in the fields of its hash that RQ has for it."""
    fields = {"dependency_id": ids[0], "dependency_ids": json.dumps(ids)}
    return {**fields, "allow_dependency_failures": "1"} if ignore_failures else fields

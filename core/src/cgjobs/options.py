"""The options of one job, checked all at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs
import orjson

from cgjobs.errors import Fault, InvalidOption
from cgjobs.model import Backoff, Job, Keep, Priority

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
UNIQUE = re.compile(r"[\x20-\x7e]{1,200}\Z")
TAG = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,64}\Z")
MOST_TAGS = 10
CORRELATION_ID = re.compile(r"[\x20-\x7e]{1,128}\Z")
MAX_ATTEMPTS = 1000
MAX_DEPENDENCIES = 1000
MAX_DELAY = timedelta(days=3653)
_RIVALS = {
    "throttle": ("unique_until",),
    "debounce": ("unique_until", "throttle", "delay", "at", "depends_on"),
}
UniqueUntil = Literal["started", "done"] | timedelta
"""How long a unique key is held."""


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
            second job with it adds nothing; the one that has it is given back. None: what the subtype's
            ``unique_by`` makes of the payload. False: no key, whatever the subtype says.
        unique_until: How long the key is held: until the job has ``started``, until it is ``done``, or for a
            time from now, whatever becomes of the job. A job that fails gives it back in any case. None: as
            the subtype says, else ``done``.
        throttle: At most one job of the key in this time, the first: ``unique_until=throttle``. Needs a key.
        debounce: Wait this long for a further job with the key; each one that comes replaces the payload and
            the options of the one that waits, and starts the wait anew, so the last one runs. A job that has
            started is left alone. Needs a key, not together with ``delay``, ``at``, ``throttle``,
            ``unique_until`` or ``depends_on``.
        debounce_at_most: No longer than this in all, however many come; at least ``debounce``, ten times that
            when None.
        tags: Up to 10 words to find it by, each 1 to 64 printable ASCII characters without space and comma.
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
    unique: str | Literal[False] | None = None
    unique_until: UniqueUntil | None = None
    throttle: timedelta | None = None
    debounce: timedelta | None = None
    debounce_at_most: timedelta | None = None
    tags: Sequence[str] = ()
    depends_on: Sequence[Job | str] = ()
    on_dependency_failure: Literal["fail", "ignore"] = "fail"
    limit_key: str | None = None
    keep_completed: timedelta | Keep | None = None
    keep_failed: timedelta | Keep | None = None

    def check(self, *, keyed: bool = False) -> None:
        """Raise `InvalidOption` with every fault, each by its name on the wire.

        Args:
            keyed: Whether the job has a unique key even when none is given here.
        """
        faults = [*self._when(), *self._numbers(), *self._names(), *self._keys(keyed), *self._dependencies()]
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
        if self.debounce is not None:
            return self.debounce
        return self.at if self.at is not None else self.delay

    @property
    def is_later(self) -> bool:
        """Whether the job has to wait, by this host's clock."""
        return bool(self.delay or self.debounce) or (self.at is not None and self.at > datetime.now(UTC))

    def extra(self) -> dict[str, str]:
        """What stands in further fields of the job's hash. Call `check` first."""
        fields: dict[str, str] = {}
        if self.expires is not None:
            # By this host's clock: a few seconds of difference to the broker's do not matter to what expires.
            by = datetime.now(UTC) + self.expires if isinstance(self.expires, timedelta) else self.expires
            fields["expires_at"] = f"{by.timestamp():.3f}"
        if self.limit_key is not None:
            fields["limit_key"] = self.limit_key
        if self.unique:
            until = self.throttle or self.unique_until or ("done" if self.debounce is None else "started")
            fields["unique"] = self.unique
            fields["unique_until"] = until if isinstance(until, str) else _milliseconds(until)
        if self.debounce is not None:
            fields["debounce"] = _milliseconds(self.debounce_at_most or 10 * self.debounce)
        if self.tags:
            fields["tags"] = orjson.dumps(list(dict.fromkeys(self.tags))).decode()
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
        if self.limit_key is not None and not UNIQUE.match(self.limit_key):
            faults.append(Fault("limitKey", "it is not 1 to 200 printable ASCII characters"))
        if self.correlation_id is not None and not CORRELATION_ID.match(self.correlation_id):
            faults.append(Fault("correlationId", "it is not 1 to 128 printable ASCII characters"))
        if isinstance(self.tags, str):
            faults.append(Fault("tags", f"{self.tags[:70]!r} is one text; give a list of tags"))
        elif len(set(self.tags)) > MOST_TAGS:
            faults.append(Fault("tags", f"{len(set(self.tags))} are more than {MOST_TAGS}"))
        for tag in () if isinstance(self.tags, str) else self.tags:
            if not isinstance(tag, str) or not TAG.match(tag):
                hint = "it is not 1 to 64 printable ASCII characters without space and comma"
                faults.append(Fault("tags", f"{str(tag)[:70]!r}: {hint}"))
        return faults

    def _keys(self, keyed: bool) -> list[Fault]:
        faults = []
        if self.unique is not None and self.unique is not False and not UNIQUE.match(self.unique):
            faults.append(Fault("unique", "it is not 1 to 200 printable ASCII characters"))
        if reason := until_fault(self.unique_until):
            faults.append(Fault("uniqueUntil", reason))
        for name in ("throttle", "debounce"):
            wait = getattr(self, name)
            if wait is not None and not timedelta(milliseconds=1) <= wait <= MAX_DELAY:
                faults.append(Fault(name, f"{wait} is not from 1 ms to 10 years"))
            if wait is not None and not (self.unique or (keyed and self.unique is None)):
                faults.append(Fault(name, "needs a key: give unique, or unique_by to the subtype"))
            rivals = _RIVALS[name] if wait is not None else ()
            faults += [
                Fault(name, f"give either {name} or {other}, not both")
                for other in rivals
                if getattr(self, other)
            ]
        most = self.debounce_at_most
        if most is not None and self.debounce is None:
            faults.append(Fault("debounceAtMost", "is of use with debounce only"))
        elif most is not None and self.debounce is not None and not self.debounce <= most <= MAX_DELAY:
            faults.append(Fault("debounceAtMost", f"{most} is not from {self.debounce} to 10 years"))
        return faults


def until_fault(until: object) -> str:
    """What is wrong with an end of a unique key, or ``""``."""
    if isinstance(until, timedelta):
        if not timedelta(milliseconds=1) <= until <= MAX_DELAY:
            return f"{until} is not from 1 ms to 10 years"
    elif until not in ("started", "done", None):
        return f"{until!r} is no end of a unique key; write started, done or a duration such as 5m"
    return ""


def _milliseconds(duration: timedelta) -> str:
    return str(math.ceil(duration.total_seconds() * 1000))


def dependency_fields(ids: Sequence[str], *, ignore_failures: bool) -> dict[str, str]:
    """What a job depends on, in the fields of its hash that RQ has for it."""
    fields = {"dependency_id": ids[0], "dependency_ids": json.dumps(ids)}
    return {**fields, "allow_dependency_failures": "1"} if ignore_failures else fields


PLAIN = JobOptions()
"""The options of a job of which nothing was said; what is worked out for this object is kept."""

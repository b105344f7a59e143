"""What can go wrong, as one tree.

::

    CgjobsError
    ├── ConfigError            (ValueError)       a setting is wrong; lists every fault
    ├── PluginError            (RuntimeError)     a plugin cannot be used
    │   └── PluginConflict                        two distributions provide the same name
    ├── InvalidPayload         (ValueError)       fields are wrong; lists every fault
    │   └── PayloadTooLarge                       too many bytes or too deep
    ├── InvalidOption          (ValueError)       a job option is out of range
    ├── QueueNotFound          (LookupError)
    ├── ProcessorNotFound      (LookupError)
    ├── SubtypeNotFound        (LookupError)
    ├── JobNotFound            (LookupError)
    │   └── DependencyNotFound                    a new job depends on one that does not exist
    ├── JobStateError          (RuntimeError)     the job's state forbids the move
    ├── JobFailed              (RuntimeError)     the awaited job ended in a failure
    ├── WaitTimeout            (TimeoutError)     the awaited job has not ended yet
    ├── QueueFull              (OverflowError)    no more jobs may wait in the queue
    └── BrokerError            (RuntimeError)
        ├── BrokerUnavailable  (ConnectionError)  not reachable, or not answering in time
        ├── BrokerDenied       (PermissionError)  wrong password, or an ACL forbids it
        ├── BrokerFull                            its memory is used up, or nearly so
        ├── BrokerUnsupported                     the server is too old, or would evict jobs
        └── FunctionsMissing                      the server lacks our functions
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import attrs


class CgjobsError(Exception):
    """The root of every error that this package raises on purpose."""


@attrs.frozen
class Fault:
    """One thing that is wrong with a payload, a setting or an option.

    Args:
        path: Where: the wire name of the field (``recipients[2].email``), or ``""`` for the whole.
        message: What is wrong and what to do. Never contains the value of a secret field.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class _Faulty(CgjobsError, ValueError):
    """An error that lists all faults at once."""

    def __init__(self, what: str, faults: Iterable[Fault]) -> None:
        self.what = what
        self.faults = tuple(faults)
        super().__init__(what, self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"{self.what}: {self.faults[0]}"
        return "\n".join(
            [f"{self.what}: {len(self.faults)} faults", *(f"  {fault}" for fault in self.faults)]
        )


class ConfigError(_Faulty):
    """A setting is wrong. ``faults`` has them all, each with its origin (file, variable)."""


class InvalidPayload(_Faulty):
    """A payload does not fit its class. ``faults`` has every wrong field by its wire name."""


class PayloadTooLarge(InvalidPayload):
    """A payload has too many bytes or is nested too deeply."""


class InvalidOption(_Faulty):
    """A job option is out of range or contradicts another."""


class PluginError(CgjobsError, RuntimeError):
    """A plugin cannot be used; the message names its distribution."""


class PluginConflict(PluginError):
    """Two distributions provide the same name."""


class _Unknown(CgjobsError, LookupError):
    """A name that nothing answers to."""

    noun = "thing"

    def __init__(self, name: str, known: Iterable[str] = (), hint: str = "") -> None:
        self.name = name
        self.known = tuple(known)
        self.hint = hint
        super().__init__(name, self.known, hint)

    def __str__(self) -> str:
        text = f"no {self.noun} named {self.name!r}."
        if close := suggest(self.name, self.known):
            text += f" Did you mean {close!r}?"
        elif self.known:
            text += f" Known: {', '.join(sorted(self.known))}."
        return f"{text} {self.hint}".rstrip()


class QueueNotFound(_Unknown):
    """No queue has this name."""

    noun = "queue"


class ProcessorNotFound(_Unknown):
    """No installed plugin provides this job type."""

    noun = "job type"


class SubtypeNotFound(_Unknown):
    """No installed plugin provides this subtype."""

    noun = "subtype"


class JobNotFound(_Unknown):
    """No job has this id: never enqueued, removed, or its retention has ended."""

    noun = "job"


class DependencyNotFound(JobNotFound):
    """A new job depends on an id that no job has; nothing was enqueued.

    Args:
        job_id: The new job.
        dependency: The id that it depends on.
    """

    def __init__(self, job_id: str, dependency: str) -> None:
        self.job_id, self.dependency = job_id, dependency
        hint = (
            f"Job {job_id!r} cannot depend on it, and nothing was enqueued: it was never enqueued, it was "
            "removed, or it has completed and was not kept. Enqueue both as a flow, or keep the first with "
            "keep_completed."
        )
        super().__init__(dependency, hint=hint)

    def __reduce__(self) -> tuple[type[DependencyNotFound], tuple[str, str]]:
        return type(self), (self.job_id, self.dependency)


class JobStateError(CgjobsError, RuntimeError):
    """The job's present state forbids the move, such as removing a running job."""

    def __init__(self, job_id: str, state: str, move: str, hint: str = "") -> None:
        self.job_id, self.state, self.move, self.hint = job_id, state, move, hint
        super().__init__(job_id, state, move, hint)

    def __str__(self) -> str:
        return f"job {self.job_id!r} is {self.state} and cannot be {self.move}. {self.hint}".rstrip()


class JobFailed(CgjobsError, RuntimeError):
    """The awaited job ended without a result.

    Args:
        job_id: Which job.
        state: Its final state: ``failed`` or ``cancelled``.
        reason: The last attempt's error, class and message.
    """

    def __init__(self, job_id: str, state: str, reason: str) -> None:
        self.job_id, self.state, self.reason = job_id, state, reason
        super().__init__(job_id, state, reason)

    def __str__(self) -> str:
        return f"job {self.job_id!r} {self.state}: {self.reason}"


class WaitTimeout(CgjobsError, TimeoutError):
    """The awaited job has not ended within the time given. It goes on by itself."""


class QueueFull(CgjobsError, OverflowError):
    """As many jobs wait in the queue as may (``max_length``); nothing of the call was added.

    Args:
        queue: Which queue.
        waiting: How many jobs wait, are held or are delayed.
        max_length: How many may.
        added: Ids of the jobs that earlier calls added: more than 500 jobs are sent in several.
    """

    def __init__(self, queue: str, waiting: int, max_length: int, added: Sequence[str] = ()) -> None:
        self.queue, self.waiting, self.max_length = queue, waiting, max_length
        self.added = tuple(added)
        super().__init__(queue, waiting, max_length)

    def __str__(self) -> str:
        text = f"queue {self.queue!r} is full: {self.waiting} of at most {self.max_length} jobs wait."
        if self.added:
            text += f" {len(self.added)} jobs were added before."
        return f"{text} Enqueue again later, or raise queues.{self.queue}.max_length"


class BrokerError(CgjobsError, RuntimeError):
    """The broker (Redis or Valkey) did not do what was asked."""


class BrokerUnavailable(BrokerError, ConnectionError):
    """The broker cannot be reached or does not answer in time."""


class BrokerDenied(BrokerError, PermissionError):
    """The broker refused the user, the password or the command."""


class BrokerFull(BrokerError):
    """The server has used its memory up, or so much of it that the rest is kept for the workers.

    Nothing of the call was done. Workers go on and make room.

    Args:
        added: Ids of the jobs that earlier calls added: more than 500 jobs are sent in several.
    """

    def __init__(self, message: str, added: Sequence[str] = ()) -> None:
        self.added = tuple(added)
        super().__init__(message)


class BrokerUnsupported(BrokerError):
    """The server is older than Redis 7.0 or Valkey 7.2, or would throw jobs away when it is full."""


class FunctionsMissing(BrokerError):
    """The server does not have this release's functions and we may not load them."""


def suggest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` was probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)

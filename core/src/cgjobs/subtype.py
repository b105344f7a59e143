"""``@subtype``: a handler, its full name and its payload class, checked at import."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar, get_type_hints, overload

import attrs

from cgjobs.context import Context
from cgjobs.errors import suggest
from cgjobs.model import Backoff
from cgjobs.options import UniqueUntil, until_fault
from cgjobs.retry_rules import BackoffFunction, RetryRules, check_rules

P_contra = TypeVar("P_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
P = TypeVar("P")
R = TypeVar("R")

MAX_KEY = 200
Isolation = Literal["inline", "process"]
Upcaster = Callable[[dict[str, Any]], Mapping[str, Any]]
"""From a payload of one version on the wire to that of the next version."""
MAX_VERSION = 1_000_000
_SHOWN = 5  # missing steps
FULL_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\.[a-z][a-z0-9_-]{0,63}\Z")


@attrs.frozen(eq=False)
class Subtype(Generic[P, R]):
    """One kind of job: what ``@subtype`` makes of a handler.

    Calling it calls the handler, so that a unit test needs no worker.

    Args:
        name: Full name, ``<job type>.<subtype>``.
        payload: The attrs class of its payload.
        handler: ``def`` runs on a thread, ``async def`` on the worker's event loop.
        timeout: Longest run of one attempt; None for no limit.
        isolation: ``inline`` as above, or ``process`` for a child process of the worker.
        memory: Bytes that an isolated handler may use; None for no limit.
        unique_by: Fields of the payload that make its unique key; none: it has none of its own.
        unique_until: How long that key is held.
        limit_by: Fields of the payload that make a job's limit key.
        attempts: How often a job is tried in all; None: the queue's number.
        backoff: The wait between attempts, or a function of attempt and error; None: the queue's.
        retry_on, no_retry_on: Which errors are tried again, see `RetryRules`.
        idempotent: Whether it may run twice without harm; None: the author did not say.
        destructive: Whether it destroys something.
        at_most_once: Whether it is never run again once it has begun, whatever became of it.
        version: Version of the payload.
        upcasters: For each older version the function from its wire form to that of the next version.
    """

    name: str
    payload: type[P]
    handler: Callable[[P, Context], Any]
    timeout: timedelta | None = None
    isolation: Isolation = "inline"
    memory: int | None = None
    unique_by: tuple[str, ...] = ()
    unique_until: UniqueUntil = "done"
    attempts: int | None = None
    backoff: Backoff | BackoffFunction | None = None
    retry_on: tuple[type[BaseException], ...] | None = None
    no_retry_on: tuple[type[BaseException], ...] = ()
    idempotent: bool | None = None
    destructive: bool = False
    at_most_once: bool = False
    version: int = 1
    upcasters: Mapping[int, Upcaster] = attrs.field(factory=dict)
    limit_by: tuple[str, ...] = ()

    def __call__(self, payload: P, ctx: Context) -> R:
        """Run the handler as the plain function it is."""
        return self.handler(payload, ctx)  # type: ignore[no-any-return]

    @property
    def job_type(self) -> str:
        """The part before the dot: which processor, and thereby which queue."""
        return self.name.partition(".")[0]

    @property
    def kind(self) -> str:
        """The part after the dot: the wire's ``type``."""
        return self.name.partition(".")[2]

    def limit_key(self, payload: P) -> str | None:
        """The limit key of a job with this payload: ``user_id=7``, or a digest of what cannot be a key."""
        if not self.limit_by:
            return None
        text = ",".join(f"{name}={getattr(payload, name)}" for name in self.limit_by)
        if len(text) <= MAX_KEY and text.isascii() and text.isprintable():
            return text
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()

    @property
    def is_async(self) -> bool:
        """Whether the handler is ``async def``."""
        return inspect.iscoroutinefunction(self.handler)

    @cached_property
    def rules(self) -> RetryRules:
        """Which errors of the handler are tried again."""
        return RetryRules(self.retry_on, self.no_retry_on, self.at_most_once)

    @property
    def traits(self) -> tuple[str, ...]:
        """For operators: ``destructive``, ``at most once``, ``idempotent``, ``not idempotent``."""
        said = {"destructive": self.destructive, "at most once": self.at_most_once}
        said |= {"idempotent": self.idempotent is True, "not idempotent": self.idempotent is False}
        return tuple(trait for trait, holds in said.items() if holds)

    @property
    def summary(self) -> str:
        """First line of the handler's docstring, its help text."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    @property
    def location(self) -> str:
        """Where the handler is written: module and name."""
        return f"{self.handler.__module__}.{self.handler.__qualname__}"


class _Decorator:
    """Makes a `Subtype` of a handler; ``traits`` are the fields of `Subtype` that the author gave."""

    def __init__(self, name: str, **traits: Any) -> None:
        self._name, self._traits = name, traits

    @overload
    def __call__(self, handler: Callable[[P, Context], Awaitable[R]]) -> Subtype[P, Awaitable[R]]: ...
    @overload
    def __call__(self, handler: Callable[[P, Context], R]) -> Subtype[P, R]: ...

    def __call__(self, handler: Callable[[P, Context], Any]) -> Subtype[P, Any]:
        if self._traits["isolation"] == "process" and inspect.iscoroutinefunction(handler):
            raise ValueError(f"the handler of {self._name!r} is 'async def'; only 'def' can be isolated")
        payload = _payload_class(self._name, handler)
        _check_unique_by(self._name, payload, self._traits["unique_by"])
        known = {field.name for field in attrs.fields(payload)}
        if unknown := [name for name in self._traits["limit_by"] if name not in known]:
            raise ValueError(
                f"limit_by of {self._name!r} has {unknown[0]!r}; the payload has {', '.join(sorted(known))}"
            )
        return Subtype(self._name, payload, handler, **self._traits)


def subtype(
    name: str,
    *,
    timeout: timedelta | None = None,
    isolation: Isolation = "inline",
    memory: int | None = None,
    unique_by: Sequence[str] = (),
    unique_until: UniqueUntil | None = None,
    limit_by: tuple[str, ...] = (),
    attempts: int | None = None,
    backoff: Backoff | BackoffFunction | None = None,
    retry_on: tuple[type[BaseException], ...] | None = None,
    no_retry_on: tuple[type[BaseException], ...] = (),
    idempotent: bool | None = None,
    destructive: bool = False,
    at_most_once: bool = False,
    version: int = 1,
    upcasters: Mapping[int, Upcaster] | None = None,
) -> _Decorator:
    """Make a function the handler of one kind of job.

    The function takes the payload and the `Context`; the annotation of its first argument is the payload
    class, an attrs class. Nothing is registered: a plugin returns what it adds from ``cgjobs_subtypes``.

    Args:
        name: Full name, ``<job type>.<subtype>``, each part ``a-z``, digits, ``_`` and ``-``.
        timeout: Longest run of one attempt, above zero. None: no limit.
        isolation: ``inline`` runs the handler in the worker: on a thread, or on its loop when ``async def``.
            ``process`` runs it in a child process, which can be killed and may crash.
        memory: Bytes that an isolated handler may use beyond what its process has when the job starts. Linux.
        unique_by: Names of fields of the payload. While there is a job of this kind with the same values in
            them, a further one adds nothing, whoever enqueues it, unless it is given a ``unique`` of its own.
        unique_until: How long: until that job has ``started``, until it is ``done`` (when None), or a time.
        limit_by: Names of fields of the payload. The jobs of a queue with the same values there have the same
            limit key: see ``key_concurrency`` and ``key_rate`` of a queue.
        attempts: How often a job is tried in all, from 1. None: the queue's number. A job's own option wins.
        backoff: The wait between attempts: a `Backoff`, or a function that is given the attempt that failed,
            from 1, and its error, and gives a timedelta. None: the queue's. A job's own option wins.
        retry_on: Errors of these classes alone are tried again, any other one fails the job at once; that
            goes for `JobTimeout` too. None: every error is.
        no_retry_on: Errors of these classes fail the job at once; they win over ``retry_on``.
        idempotent: Whether it may run twice without harm. Shown to operators; changes nothing.
        destructive: Whether it destroys something; ``cgjobs enqueue`` then asks.
        at_most_once: Never run it again once it has begun: when its worker dies, its process crashes, its
            time is over or the worker stops, it ends failed with "Outcome unknown". An error fails it, unless
            it is `Retry` or `Snooze`, with which the handler says that nothing happened. Costs one call to
            the broker before each run.
        version: Version of the payload, from 1. Raise it when jobs that are queued no longer fit the class.
        upcasters: For each version from 1 to ``version - 1`` a function that is given the payload of that
            version as it was written (a dict of wire names, with ``type``) and gives that of the next one.

    Raises:
        ValueError: The name, the timeout, the memory or the attempts are out of range, an ``async def``
            handler is isolated, there is memory without isolation or ``unique_until`` without ``unique_by``,
            two rules contradict each other, ``limit_by`` names no field of the payload, or an upcaster is
            missing or of no version.
        AttributeError: The payload's class has no field of a name in ``unique_by``.
        TypeError: The function's first argument is not annotated with an attrs class, ``unique_by`` is one
            text, or a rule is of a wrong type.
    """
    if not FULL_NAME.match(name):
        raise ValueError(f"{name!r} is no full name of a subtype: write '<job type>.<subtype>' in lower case")
    if timeout is not None and timeout <= timedelta(0):
        raise ValueError(f"timeout of {name!r} is {timeout}; it must be above zero")
    if isolation not in ("inline", "process"):
        raise ValueError(f"isolation of {name!r} is {isolation!r}; it is 'inline' or 'process'")
    if memory is not None and isolation != "process":
        raise ValueError(f"memory of {name!r} needs isolation='process'; a thread has no memory of its own")
    if memory is not None and memory <= 0:
        raise ValueError(f"memory of {name!r} is {memory}; it must be above zero")
    if isinstance(unique_by, str):
        raise TypeError(f"unique_by of {name!r} is one text; write ({unique_by!r},)")
    if unique_until is not None and not unique_by:
        raise ValueError(f"unique_until of {name!r} needs unique_by: which fields make the key?")
    if reason := until_fault(unique_until):
        raise ValueError(f"unique_until of {name!r}: {reason}")
    check_rules(
        name,
        retry_on=retry_on,
        no_retry_on=no_retry_on,
        attempts=attempts,
        backoff=backoff,
        idempotent=idempotent,
        at_most_once=at_most_once,
    )
    if version.__class__ is not int or not 1 <= version <= MAX_VERSION:
        raise ValueError(f"version of {name!r} is {version!r}; it is a whole number from 1 to {MAX_VERSION}")
    steps = dict(upcasters or {})
    _check_steps(name, version, steps)
    return _Decorator(
        name,
        timeout=timeout,
        isolation=isolation,
        memory=memory,
        limit_by=tuple(limit_by),
        attempts=attempts,
        backoff=backoff,
        retry_on=retry_on,
        no_retry_on=no_retry_on,
        idempotent=idempotent,
        destructive=destructive,
        at_most_once=at_most_once,
        version=version,
        upcasters=steps,
        unique_by=tuple(unique_by),
        unique_until=unique_until or "done",
    )


def _check_unique_by(name: str, payload: type, unique_by: Sequence[str]) -> None:
    fields = [field.name for field in attrs.fields(payload)]
    for wanted in unique_by:
        if wanted not in fields:
            close = suggest(wanted, fields)
            hint = f"did you mean {close!r}?" if close else f"it has {', '.join(fields) or 'none'}"
            raise AttributeError(
                f"unique_by of {name!r} names {wanted!r}, which is no field of {payload.__name__}; {hint}"
            )


def _check_steps(name: str, version: int, steps: Mapping[int, Upcaster]) -> None:
    """Raise `ValueError` with every step that is missing or too many."""
    missing = [str(step) for step in range(1, version) if step not in steps]
    if len(missing) > _SHOWN:
        missing = [", ".join(missing[:_SHOWN]) + f" and {len(missing) - _SHOWN} more"]
    strange = [repr(step) for step in steps if step not in range(1, version)]
    wrong = [str(step) for step, upcast in steps.items() if not callable(upcast)]
    faults = []
    if missing:
        faults.append(f"no upcaster from version {', '.join(missing)}")
    if strange:
        faults.append(f"an upcaster from {', '.join(strange)}, which is no version before {version}")
    if wrong:
        faults.append(f"the upcaster from version {', '.join(wrong)} is no function")
    if faults:
        raise ValueError(
            f"{name!r} has payload version {version} and {'; '.join(faults)}: "
            "give upcasters={n: function} for each n from 1 to the version before"
        )


def _payload_class(name: str, handler: Callable[..., Any]) -> Any:
    parameters = list(inspect.signature(handler).parameters.values())
    if len(parameters) != 2:
        raise TypeError(f"handler of {name!r} takes {len(parameters)} arguments; it must take (payload, ctx)")
    hints = get_type_hints(handler)
    cls = hints.get(parameters[0].name)
    if not (isinstance(cls, type) and attrs.has(cls)):
        raise TypeError(
            f"annotate {parameters[0].name!r} of the handler of {name!r} with its payload, an attrs class; "
            f"it is {cls!r}"
        )
    return cls

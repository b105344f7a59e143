"""A job type: its name, its queue's defaults and its schedule."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

import attrs

from cgjobs.model import Backoff, Cron, Rate

JOB_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
LIMITS = ("rate", "max_running", "key_rate", "key_concurrency", "max_length")
T = TypeVar("T")


class Slot(Protocol):
    """One point of time at which a schedule fires, as ``on_schedule`` sees it."""

    @property
    def at(self) -> datetime:
        """When the slot was due (aware, UTC); the same however late it is handled."""

    def settings(self, cls: type[T]) -> T:
        """The plugin's settings, like ``ctx.settings`` in a handler."""


@attrs.frozen
class Processor:
    """A job type, owned by the plugin that returns it from ``cgjobs_processors``.

    Its jobs wait in the queue of the same name. All numbers are defaults: ``[queues.<name>]`` in the
    configuration overrides them.

    Args:
        name: ``a-z``, digits, ``_`` and ``-``; at most 64 characters.
        concurrency: Jobs run at once by one worker; from 1.
        attempts: How often a job is tried in all; from 1.
        backoff: The wait between attempts.
        schedule: When ``on_schedule`` is asked for jobs, or None.
        on_schedule: Given the `Slot`, yields the payloads to enqueue. It may raise ``Discard(reason)`` to say
            why there is nothing to do; the slot is then logged as skipped.
        rate: Most starts in any window, over all workers; None for no limit. A limit holds as well when
            ``[queues.<name>]`` has other keys, unlike the numbers above: only that limit there replaces it.
        max_running: Most jobs that run at once, over all workers; from 1, or None.
        key_rate, key_concurrency: The same for the jobs with one ``limit_key``.
        max_length: Most jobs that wait, are held, deferred or delayed; from 1, or None.
    """

    name: str = attrs.field()
    concurrency: int = attrs.field(default=1, kw_only=True)
    attempts: int = attrs.field(default=3, kw_only=True)
    backoff: Backoff = attrs.field(factory=Backoff, kw_only=True)
    schedule: Cron | None = attrs.field(default=None, kw_only=True)
    on_schedule: Callable[[Slot], Iterable[object]] | None = attrs.field(default=None, kw_only=True)
    rate: Rate | None = attrs.field(default=None, kw_only=True)
    max_running: int | None = attrs.field(default=None, kw_only=True)
    key_rate: Rate | None = attrs.field(default=None, kw_only=True)
    key_concurrency: int | None = attrs.field(default=None, kw_only=True)
    max_length: int | None = attrs.field(default=None, kw_only=True)
    limits: Mapping[str, Any] = attrs.field(init=False, repr=False, eq=False)
    """Those of the five limits that are set, by name."""

    @limits.default
    def _set(self) -> Mapping[str, Any]:
        return {name: value for name in LIMITS if (value := getattr(self, name)) is not None}

    @name.validator
    def _named(self, attribute: attrs.Attribute[str], value: str) -> None:
        if not JOB_TYPE.match(value):
            raise ValueError(
                f"{value!r} is no name for a job type: use a-z, 0-9, _ and -, a letter first, at most 64"
            )

    @concurrency.validator
    @attempts.validator
    @max_running.validator
    @key_concurrency.validator
    @max_length.validator
    def _positive(self, attribute: attrs.Attribute[int | None], value: int | None) -> None:
        if value is not None and value < 1:
            raise ValueError(f"{attribute.name} of {self.name!r} is {value}; it must be at least 1")

    @rate.validator
    @key_rate.validator
    def _a_rate(self, attribute: attrs.Attribute[Rate | None], value: object) -> None:
        if value is not None and not isinstance(value, Rate):
            what = f"{attribute.name} of {self.name!r} is {value!r}"
            raise ValueError(f"{what}; it must be a Rate, such as Rate.parse('100/1m')")

    def __attrs_post_init__(self) -> None:
        if self.schedule is not None and self.on_schedule is None:
            raise ValueError(f"{self.name!r} has a schedule but no on_schedule that yields its payloads")

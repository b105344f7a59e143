"""Puts a `Config` together from what was written, section by section, with every fault."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import attrs

from cgjobs import cron
from cgjobs.config import (
    Config,
    LimitConfig,
    PluginsConfig,
    Profile,
    QueueConfig,
    RedisConfig,
    WorkerConfig,
)
from cgjobs.duration import format_duration
from cgjobs.errors import Fault, suggest
from cgjobs.model import Cron
from cgjobs.processor import JOB_TYPE
from cgjobs.setting import INVALID, SettingReader, dotted, fields_of, unknown
from cgjobs.written import Source, Table, Written, plain, unwrap

T = TypeVar("T")
_SHORTEST_LEASE = timedelta(seconds=1)


@attrs.frozen
class ScheduleLayout:
    """One ``[schedules.<name>]``."""

    cron: str
    timezone: str = "UTC"
    enabled: bool = True


@attrs.frozen
class Layout:
    """The keys of the file, which are those of the ``CGJOBS_`` variables too."""

    env: Profile
    redis: RedisConfig
    queues: dict[str, QueueConfig]
    schedules: dict[str, ScheduleLayout]
    worker: WorkerConfig
    limits: LimitConfig
    plugins: dict[str, Any]


class Assembly:
    """Puts a configuration together, section by section."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._reader = SettingReader()

    def config(self) -> tuple[Config, list[Fault]]:
        """The configuration, to be used only when there is no fault."""
        reader = self._reader
        layout = fields_of(Layout)
        for key, entry in self._table.entries.items():
            if key not in layout:
                reader.refuse(entry.source, key, unknown("key", key, layout))
        base = self._profile()
        self._check_lease()
        schedules, unscheduled = self._schedules(base)
        config = attrs.evolve(
            base,
            redis=self._redis(base),
            queues=self._queues(base),
            schedules=schedules,
            unscheduled=unscheduled,
            worker=self._section("worker", WorkerConfig, base.worker),
            limits=self._section("limits", LimitConfig, base.limits),
            plugins=self._plugins(),
            origins=reader.origins,
        )
        return config, reader.faults

    def _profile(self) -> Config:
        env: object = "development"
        if entry := self._table.get("env"):
            env = self._reader.value(Profile, entry, "env", secret=False)
        return Config.production() if env == "production" else Config.development()

    def _section(self, key: str, cls: type[T], base: T) -> T:
        return self._reader.read(cls, self._subtable(key), key, base=base) or base

    def _subtable(self, key: str) -> Table:
        entry = self._table.get(key)
        return Table() if entry is None else self._as_table(entry, key)

    def _as_table(self, entry: Written | Table, key: str) -> Table:
        if isinstance(entry, Written):
            self._reader.refuse(entry.source, key, "is a single value, not a table")
            return Table()
        return entry

    def _check_lease(self) -> None:
        # Not the business of WorkerConfig: tests have shorter leases.
        if written := self._table.get("worker", "lease"):
            lease = SettingReader().value(timedelta, written, "worker.lease", secret=False)
            if lease is not INVALID and timedelta(0) < lease < _SHORTEST_LEASE:
                message = f"{format_duration(lease)} is too short; a lease is at least 1s"
                self._reader.refuse(written.source, "worker.lease", message)

    def _redis(self, base: Config) -> RedisConfig:
        table = self._subtable("redis")
        redis = self._reader.read(RedisConfig, table, "redis", base=base.redis)
        given = {plain(key) for key, entry in table.entries.items() if unwrap(entry) != ""}
        if base.env == "production" and not given & {"password", "socket"}:
            self._reader.refuse(
                Source(),
                "redis.password",
                "production needs a password: set REDIS_PASSWORD, REDIS_PASSWORD_FILE or redis.password",
            )
        return redis or base.redis

    def _queues(self, base: Config) -> dict[str, QueueConfig]:
        queues = dict(base.queues)
        for name, entry in self._subtable("queues").entries.items():
            key = f"queues.{name}"
            if not JOB_TYPE.match(name):
                self._reader.refuse(entry.source, key, "is no name for a queue; use a-z, 0-9, _ and -")
            table = self._as_table(entry, key)
            start = base.queues.get(name) or QueueConfig(name)
            queue = self._reader.read(QueueConfig, table, key, base=start, hidden={"name"})
            if queue:
                queues[name] = self._with_ceiling(queue, table, key)
        return queues

    def _with_ceiling(self, queue: QueueConfig, table: Table, key: str) -> QueueConfig:
        backoff = queue.backoff
        if backoff.delay <= backoff.ceiling:
            return queue
        if ceiling := table.get("backoff", "ceiling"):
            message = f"is shorter than the delay of {format_duration(backoff.delay)}"
            self._reader.refuse(ceiling.source, f"{key}.backoff.ceiling", message)
            return queue
        return attrs.evolve(queue, backoff=attrs.evolve(backoff, ceiling=backoff.delay))

    def _schedules(self, base: Config) -> tuple[dict[str, Cron], frozenset[str]]:
        schedules, off = dict(base.schedules), set()
        for name, entry in self._subtable("schedules").entries.items():
            key = f"schedules.{name}"
            if not JOB_TYPE.match(name):
                self._reader.refuse(entry.source, key, "is no name for a job type; use a-z, 0-9, _ and -")
            if isinstance(entry, Written):
                if entry.value is False:
                    self._reader.origins[f"{key}.enabled"] = entry.source.origin
                    off.add(name)
                else:
                    self._reader.refuse(entry.source, key, "is neither a table nor false")
                continue
            before = base.schedules.get(name)
            start = ScheduleLayout(before.expression, before.timezone) if before else None
            if not start and "cron" not in entry.entries and "enabled" in entry.entries:
                start = ScheduleLayout("@daily")  # switched off; never read
            self._check_schedule(entry, key)
            schedule = self._reader.read(ScheduleLayout, entry, key, base=start)
            if schedule and not schedule.enabled:
                off.add(name)
            elif schedule:
                schedules[name] = Cron(schedule.cron, schedule.timezone)
        return {name: schedules[name] for name in schedules if name not in off}, frozenset(off)

    def _check_schedule(self, table: Table, key: str) -> None:
        for name, check in (("cron", cron.parse), ("timezone", _check_zone)):
            written = table.get(name)
            if isinstance(written, Written) and isinstance(written.value, str):
                try:
                    check(written.value)
                except ValueError as error:
                    self._reader.refuse(written.source, f"{key}.{name}", str(error))

    def _plugins(self) -> PluginsConfig:
        block: Any = ()
        settings: dict[str, Mapping[str, Any]] = {}
        for name, entry in self._subtable("plugins").entries.items():
            key = f"plugins.{name}"
            if name == "block":
                block = self._reader.value(tuple[str, ...], entry, key, secret=False)
            elif isinstance(entry, Written):
                self._reader.refuse(entry.source, key, "is a single value, not the table of a plugin")
            else:
                settings[name] = {key: unwrap(item) for key, item in entry.entries.items()}
                self._reader.origins |= _origins(entry, key)
        return PluginsConfig(() if block is INVALID else block, settings)


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "Europe" is a directory
        close = suggest(name, available_timezones())
        hint = f"did you mean {close!r}?" if close else "write an IANA name such as 'Europe/Berlin'"
        raise ValueError(f"{name!r} is no time zone; {hint}") from None


def _origins(entry: Written | Table, key: str) -> dict[str, str]:
    if isinstance(entry, Written):
        return {key: entry.source.origin}
    return {
        k: o for name, item in entry.entries.items() for k, o in _origins(item, dotted(key, name)).items()
    }

"""What can be configured: frozen values and the specification's two profiles. `loading.py` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import attrs

from cgjobs.model import Backoff, Cron, Keep, Rate

Profile = Literal["development", "production"]
_ZERO = timedelta(0)
MEMORY_SHARE = 0.8
"""The default of `LimitConfig.memory_share`, which functions/enqueue.lua knows too."""


def _at_least(low: Any, high: Any = None) -> Any:
    """A validator: ``low`` to ``high``, both included; None is left alone."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and (value < low or (high is not None and value > high)):
            bounds = f"at least {low}" if high is None else f"from {low} to {high}"
            raise ValueError(f"{attribute.name} is {value}; it must be {bounds}")

    return check


def _positive(_instance: object, attribute: attrs.Attribute[Any], value: timedelta | None) -> None:
    if value is not None and value <= _ZERO:
        raise ValueError(f"{attribute.name} is {value}; it must be longer than zero")


def _not_negative(_instance: object, attribute: attrs.Attribute[Any], value: timedelta | Keep) -> None:
    if isinstance(value, timedelta) and value < _ZERO:
        raise ValueError(f"{attribute.name} is {value}; it must be at least {_ZERO}")


@attrs.frozen
class RedisConfig:
    """Where the broker is.

    Args:
        host: Host name or address.
        port: TCP port.
        db: Database number.
        username: ACL user, or None for the default user.
        password: Its password; never shown.
        tls: Whether to speak TLS, verified against the system's authorities or ``ca_file``.
        ca_file: PEM file of the authority that signed the server's certificate.
        socket: Path of a Unix socket; wins over host and port.
        timeout: Longest wait for a connection or a reply before `BrokerUnavailable`.
        allow_eviction: Whether a worker starts although a full broker would throw jobs away
            (a ``maxmemory-policy`` other than ``noeviction``).
    """

    host: str = "localhost"
    port: int = attrs.field(default=6379, validator=_at_least(0, 65_535))
    db: int = attrs.field(default=0, validator=_at_least(0))
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    tls: bool = False
    ca_file: Path | None = None
    socket: Path | None = None
    timeout: timedelta = attrs.field(default=timedelta(seconds=2), validator=_positive)
    allow_eviction: bool = False


@attrs.frozen
class QueueConfig:
    """One queue.

    Args:
        name: Its name, that of its job type.
        concurrency: Jobs run at once by one worker.
        attempts: How often a job is tried in all.
        backoff: The wait between attempts.
        timeout: Longest run of one attempt where the subtype says nothing; None for no limit.
        keep_completed: How long a completed job is kept; zero removes it at once (the specification's
            ``removeOnComplete: true``), and only the counters stay. A `Keep` limits their number, too.
        keep_failed: How long a failed job is kept, or a `Keep`.
        rate: Most starts in any window, over all workers; None for no limit.
        max_running: Most jobs that run at once, over all workers; None for no limit.
        key_rate, key_concurrency: The same for the jobs with one ``limit_key``.
        max_length: Most jobs that wait, are held, deferred or delayed; an enqueue beyond raises `QueueFull`.
    """

    name: str
    concurrency: int = attrs.field(default=1, validator=_at_least(1))
    attempts: int = attrs.field(default=3, validator=_at_least(1))
    backoff: Backoff = attrs.field(factory=Backoff)
    timeout: timedelta | None = attrs.field(default=None, validator=_positive)
    keep_completed: timedelta | Keep = attrs.field(default=_ZERO, validator=_not_negative)
    keep_failed: timedelta | Keep = attrs.field(default=timedelta(days=30), validator=_not_negative)
    rate: Rate | None = None
    max_running: int | None = attrs.field(default=None, validator=_at_least(1))
    key_rate: Rate | None = None
    key_concurrency: int | None = attrs.field(default=None, validator=_at_least(1))
    max_length: int | None = attrs.field(default=None, validator=_at_least(1))

    @property
    def is_limited(self) -> bool:
        """Whether a claim has to be told of limits."""
        return any((self.rate, self.max_running, self.key_rate, self.key_concurrency))


@attrs.frozen
class WorkerConfig:
    """How a worker behaves.

    Args:
        lease: A job whose worker is silent this long is given to another one; from a file at least 1 s.
        reap_interval: How often each worker looks for such jobs.
        grace: How long running jobs may go on after SIGTERM before they are handed back.
        loop_stall: A worker whose event loop stands still this long stops renewing its leases.
        max_crashes: A job that was taken back this often fails as poison.
        threads: Threads for ``def`` handlers; None for as many as the queues' concurrency in sum.
        metrics_host, metrics_port: Where ``/metrics`` and ``/healthz`` are served; port None: not at all,
            port 0: a free one, which the worker logs.
        history: How long the numbers of each hour are kept (`cgjobs history`); zero records none.
    """

    lease: timedelta = attrs.field(default=timedelta(seconds=30), validator=_positive)
    reap_interval: timedelta = attrs.field(default=timedelta(seconds=5), validator=_positive)
    grace: timedelta = attrs.field(default=timedelta(seconds=30), validator=_at_least(_ZERO))
    loop_stall: timedelta = attrs.field(default=timedelta(seconds=15), validator=_positive)
    max_crashes: int = attrs.field(default=3, validator=_at_least(1))
    threads: int | None = attrs.field(default=None, validator=_at_least(1))
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = attrs.field(default=None, validator=_at_least(0, 65_535))
    history: timedelta = attrs.field(default=timedelta(days=35), validator=_at_least(_ZERO))


@attrs.frozen
class LimitConfig:
    """What a payload and a result may be.

    Args:
        payload_bytes: Largest payload on the wire.
        payload_depth: Deepest nesting of a payload.
        result_bytes: Largest result on the wire.
        checkpoint_bytes: Largest checkpoint, as JSON.
        log_lines: So many lines that a job's handlers logged are kept with the job, the last ones; 0 for
            none.
        memory_share: Above this share of the server's ``maxmemory`` an enqueue raises `BrokerFull`; the rest
            is for the workers, which go on.
    """

    payload_bytes: int = attrs.field(default=256 * 1024, validator=_at_least(1))
    payload_depth: int = attrs.field(default=32, validator=_at_least(1))
    result_bytes: int = attrs.field(default=1024 * 1024, validator=_at_least(0))
    checkpoint_bytes: int = attrs.field(default=64 * 1024, validator=_at_least(0))
    log_lines: int = attrs.field(default=200, validator=_at_least(0, 10_000))
    memory_share: float = attrs.field(default=MEMORY_SHARE, validator=_at_least(0.01, 1.0))


@attrs.frozen
class PluginsConfig:
    """Which plugins are used, and their own tables.

    Args:
        block: Distributions or entry-point names that are not loaded.
        settings: The table ``[plugins.<name>]`` of each plugin, unparsed.
    """

    block: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)


def _queues(**rows: tuple[int, int]) -> dict[str, QueueConfig]:
    return {
        name: QueueConfig(name, concurrency=concurrency, attempts=attempts)
        for name, (concurrency, attempts) in rows.items()
    }


def _schedules() -> dict[str, Cron]:
    return {"cleanup": Cron("0 0 * * *"), "maintenance": Cron("0 0 * * 0"), "report": Cron("0 0 1 * *")}


@attrs.frozen
class Config:
    """Everything that is configured, checked.

    Args:
        env: The profile whose defaults apply.
        redis: The broker.
        queues: The queues by name. A job type without an entry has its processor's defaults.
        schedules: The schedules by job type. A job type without an entry has its processor's.
        unscheduled: Job types whose schedule is switched off, their processor's too.
        worker: How a worker behaves.
        limits: What a payload and a result may be.
        plugins: Which plugins are used, and their settings.
        origins: Where each value came from, by dotted key; keys at their default are absent.
    """

    env: Profile = "development"
    redis: RedisConfig = attrs.field(factory=RedisConfig)
    queues: Mapping[str, QueueConfig] = attrs.field(factory=dict)
    schedules: Mapping[str, Cron] = attrs.field(factory=dict)
    unscheduled: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)
    worker: WorkerConfig = attrs.field(factory=WorkerConfig)
    limits: LimitConfig = attrs.field(factory=LimitConfig)
    plugins: PluginsConfig = attrs.field(factory=PluginsConfig)
    origins: Mapping[str, str] = attrs.field(factory=dict, repr=False, eq=False)

    @classmethod
    def development(cls) -> Config:
        """The specification's development table."""
        return cls(
            env="development",
            queues=_queues(cleanup=(1, 3), maintenance=(1, 3), notification=(5, 5), report=(2, 3)),
            schedules=_schedules(),
        )

    @classmethod
    def production(cls) -> Config:
        """The specification's production table. Its password is required: `loading.load` refuses without."""
        return cls(
            env="production",
            redis=RedisConfig(host="redis.chatgenius.com"),
            queues=_queues(cleanup=(2, 5), maintenance=(1, 5), notification=(10, 7), report=(3, 5)),
            schedules=_schedules(),
        )

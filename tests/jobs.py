"""What the engine's tests share: payloads, a way to make a plugin of handlers, a worker at work, waiting."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import timedelta
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, overload
from urllib.parse import urlsplit

import attrs
import redis

from cgjobs import (
    AsyncClient,
    Backoff,
    Config,
    Context,
    Event,
    Processor,
    Subtype,
    hookimpl,
    plugins,
    subtype,
)
from cgjobs.config import LimitConfig, QueueConfig, RedisConfig, WorkerConfig
from cgjobs.plugins import Registry
from cgjobs.worker import Worker

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE = 60.0
"""Seconds after which a test gives up waiting; far more than anything here takes."""
AT_ONCE = Backoff.fixed(timedelta(0), jitter=0)


@attrs.frozen
class Note:
    """A payload with one field."""

    text: str = ""


@attrs.frozen
class Count:
    """A payload with a number that must not be negative."""

    number: int = attrs.field(default=0, validator=attrs.validators.ge(0))


@attrs.frozen
class Login:
    """A payload with a secret."""

    user: str
    password: str = attrs.field(repr=False)


@subtype("work.note")
async def note(payload: Note, ctx: Context) -> str:
    """Give the text back."""
    return payload.text


@subtype("work.count")
def count(payload: Count, ctx: Context) -> int:
    """Give the next number."""
    return payload.number + 1


def plugin(
    *subtypes: Subtype[Any, Any], processors: Sequence[Processor] = (), **hooks: Callable[..., Any]
) -> ModuleType:
    """A plugin's module that provides these; further hooks by name, ``hookimpl`` already applied."""
    module = ModuleType("cgjobs_of_a_test")
    vars(module).update(hooks)
    module.cgjobs_processors = hookimpl(lambda: list(processors))  # type: ignore[attr-defined]
    module.cgjobs_subtypes = hookimpl(lambda: list(subtypes))  # type: ignore[attr-defined]
    return module


def registry(
    *subtypes: Subtype[Any, Any],
    processors: Sequence[Processor] = (Processor("work", concurrency=5, backoff=AT_ONCE),),
    events: list[Event] | None = None,
    **hooks: Callable[..., Any],
) -> Registry:
    """A registry of one plugin: these subtypes, or `note` and `count`, of the job type ``work``.

    Args:
        subtypes: What it provides.
        processors: The job types.
        events: Where every event is appended.
        hooks: Further hooks by name.
    """
    if events is not None:
        seen = events

        @hookimpl
        def cgjobs_event(event: Event) -> None:
            seen.append(event)

        hooks["cgjobs_event"] = cgjobs_event
    extra = [("test", plugin(*(subtypes or (note, count)), processors=processors, **hooks))]
    return plugins.load(found=(), extra=extra, strict=True)


def redis_config(url: str, **changes: Any) -> RedisConfig:
    """The broker behind a ``redis://`` address."""
    parts = urlsplit(url)
    given = RedisConfig(host=parts.hostname or "", port=parts.port or 0, password=parts.password)
    return attrs.evolve(given, **changes)


def config(
    url: str,
    *,
    queues: Sequence[QueueConfig] = (),
    limits: LimitConfig | None = None,
    broker: dict[str, Any] | None = None,
    **worker: Any,
) -> Config:
    """A configuration for this broker; ``worker`` are settings of the worker."""
    return Config(
        redis=redis_config(url, **(broker or {})),
        queues={queue.name: queue for queue in queues},
        limits=limits or LimitConfig(),
        worker=WorkerConfig(**worker),
    )


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    """A worker that runs until the end of the block; what it raised is raised there."""
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, PATIENCE)


@attrs.frozen
class AtWork:
    """A worker that runs, a client beside it and what happened so far."""

    client: AsyncClient
    worker: Worker
    events: list[Event]

    def names(self, job_id: str = "") -> list[str]:
        """The names of the events, of one job only when asked, in order."""
        return [event.name for event in self.events if job_id in ("", event.job_id)]


@contextlib.asynccontextmanager
async def at_work(
    url: str,
    *subtypes: Subtype[Any, Any],
    processors: Sequence[Processor] = (Processor("work", concurrency=5, backoff=AT_ONCE),),
    settings: Config | None = None,
    **hooks: Callable[..., Any],
) -> AsyncIterator[AtWork]:
    """A worker with these subtypes at work, and a client of the same broker."""
    events: list[Event] = []
    provided = registry(*subtypes, processors=processors, events=events, **hooks)
    chosen = settings or config(url)
    async with AsyncClient(chosen, provided) as client, running(Worker(chosen, provided)) as worker:
        yield AtWork(client, worker, events)


@overload
async def until(condition: Callable[[], Awaitable[T]], seconds: float = PATIENCE) -> T: ...
@overload
async def until(condition: Callable[[], T], seconds: float = PATIENCE) -> T: ...


async def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Look again and again until ``condition`` holds; gives what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        value = await found if inspect.isawaitable(found) else found
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {seconds:g} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.005)


def awaited(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of an ``async def``."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@contextlib.contextmanager
def raw(url: str) -> Iterator[redis.Redis]:
    """A plain connection to the broker, to look behind the engine's back."""
    client = redis.Redis.from_url(url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def listened_to(url: str) -> bool:
    """Whether the wait of a worker, the only one, has reached the broker."""
    with raw(url) as broker:
        return int(broker.info("clients")["blocked_clients"]) == 1


def server_time(client: redis.Redis) -> float:
    """The server's clock, seconds since the epoch."""
    seconds, microseconds = client.time()
    return float(seconds) + microseconds / 1e6

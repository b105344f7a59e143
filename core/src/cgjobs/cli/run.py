"""From a configuration to a running worker: plugins, built-in observers, scheduler, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from cgjobs import builtin, loading, loop, plugins
from cgjobs.cli.exits import OK, exit_code
from cgjobs.cli.output import talk
from cgjobs.config import Config
from cgjobs.event import Event
from cgjobs.plugins import Registry

if TYPE_CHECKING:  # `cgjobs plugins` needs neither
    from cgjobs.scheduler import Scheduler
    from cgjobs.worker import Worker

_STOPS = (signal.SIGTERM, signal.SIGINT)


class _Part(Protocol):
    def run(self) -> Coroutine[Any, Any, None]: ...
    def stop(self) -> None: ...


def worker_registry(config: Config, only: Sequence[str] | None = None, *, strict: bool = False) -> Registry:
    """The plugins as a worker has them: with their settings, and the built-in observers.

    Args:
        config: The configuration.
        only: Names of the plugins to load; None loads all.
        strict: Raise `PluginError` when one is broken.
    """
    return plugins.load(
        only,
        block=config.plugins.block,
        strict=strict,
        read_settings=loading.settings_reader(config),
        extra=builtin.plugins(),
    )


def tell_quarantined(registry: Registry) -> None:
    """Tell the observers, which log it, of each broken plugin."""
    for plugin in registry.plugins:
        if plugin.state == "quarantined":
            registry.tell(Event("plugin_quarantined", detail=plugin.name, error=plugin.reason))


def run(worker: Worker | None, scheduler: Scheduler | None) -> None:
    """Run both until a signal, or until the worker's burst is over.

    The first SIGTERM or SIGINT lets running jobs end, the second one hands them back at once.

    Raises:
        BrokerDenied, BrokerUnsupported, FunctionsMissing: The broker refuses us.
    """
    loop.run(_serve(worker, scheduler))


@contextmanager
def leaving_stuck_threads() -> Iterator[None]:
    """End the process after the block when a handler still runs that does not stop.

    Python would wait for it for ever, also when the block has raised: what it raised is then told here.
    """
    code = OK
    try:
        yield
    except Exception as error:
        code = exit_code(error)
        if _is_stuck():
            talk(str(error))
        else:
            raise
    if _is_stuck():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _is_stuck() -> bool:
    for thread in threading.enumerate():
        if thread.name.startswith("cgjobs-job"):
            thread.join(0.5)
            if thread.is_alive():
                return True
    return False


async def _serve(worker: Worker | None, scheduler: Scheduler | None) -> None:
    parts: list[_Part] = [part for part in (worker, scheduler) if part is not None]
    tasks = [asyncio.create_task(part.run()) for part in parts]
    await asyncio.sleep(0)  # from here on they can be stopped

    def stop() -> None:
        for part in parts:
            part.stop()

    def stop_at_once() -> None:
        stop()
        if worker is not None:
            worker.stop(at_once=True)

    with _signals(stop, stop_at_once):
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        stop()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended


@contextmanager
def _signals(first: Callable[[], None], second: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def once() -> None:
        for number in _STOPS:
            loop.add_signal_handler(number, second)
        first()

    for number in _STOPS:
        loop.add_signal_handler(number, once)
    try:
        yield
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)

"""A worker as plugins see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from cgjobs.config import Config
from cgjobs.plugins import Registry


@attrs.frozen
class WorkerHandle:
    """What ``cgjobs_worker_start`` and ``cgjobs_worker_stop`` see of a worker.

    Args:
        name: Its name.
        queues: The queues it serves, with their concurrency.
        config: The configuration.
        registry: The plugins.
        ready: Gives whether it has reached the broker and is not stopping.
        alive: Gives whether its loop turns.
        trouble: Gives why it is not ready, or ``""``.
    """

    name: str
    queues: Mapping[str, int]
    config: Config
    registry: Registry = attrs.field(repr=False)
    ready: Callable[[], bool] = attrs.field(repr=False)
    alive: Callable[[], bool] = attrs.field(repr=False)
    trouble: Callable[[], str] = attrs.field(default=str, repr=False)

"""What the commands share: configuration, plugins and the way to the broker, each made when first used."""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import attrs
from cyclopts import Parameter

from cgjobs import loading, plugins
from cgjobs.cli.exits import Refused
from cgjobs.cli.output import talk
from cgjobs.config import Config, RedisConfig
from cgjobs.embedded import EmbeddedBroker, default_directory
from cgjobs.errors import PluginError, QueueNotFound
from cgjobs.plugins import Registry

if TYPE_CHECKING:  # the client of Redis is slow to import and not needed by every command
    from cgjobs.broker import Call, Sender, Steps
    from cgjobs.operations import Operations

T = TypeVar("T")


class Session:
    """One run of the command line.

    Args:
        config_file: What ``--config`` named, or None.
    """

    def __init__(self, config_file: Path | None = None) -> None:
        self.config_file = config_file

    @cached_property
    def config(self) -> Config:
        """The configuration as it is written."""
        return loading.load(self.config_file)

    @cached_property
    def reachable(self) -> Config:
        """The configuration with the broker that commands talk to.

        It is the configured one. Only when no setting and no variable says anything about Redis, and
        `cgjobs dev` runs, it is that one's: in development a second shell just works.
        """
        if not self.redis_configured and (redis := running_broker()):
            talk(f"using the broker of `cgjobs dev` at {redis.socket}")
            return attrs.evolve(self.config, redis=redis)
        return self.config

    @property
    def redis_configured(self) -> bool:
        """Whether anything was said about where Redis is."""
        return self.config.env == "production" or any(key.startswith("redis.") for key in self.config.origins)

    @cached_property
    def registry(self) -> Registry:
        """The plugins without their settings, which are the workers' affair."""
        return plugins.load(block=self.config.plugins.block, read_settings=lambda name, cls: None)

    def settings(self, cls: type[T]) -> T:
        """The settings of a plugin, read as a worker reads them.

        Raises:
            PluginError: No plugin that works announces this class.
        """
        try:
            return self.worker_registry.settings[cls]  # type: ignore[return-value]
        except KeyError:
            broken = [item for item in self.worker_registry.plugins if item.state == "quarantined"]
            reasons = "; ".join(f"{item.name}: {item.reason}" for item in broken) or "see `cgjobs plugins`"
            raise PluginError(f"no plugin that works has {cls.__qualname__} ({reasons})") from None

    @cached_property
    def worker_registry(self) -> Registry:
        """The plugins as a worker has them, with their settings."""
        return plugins.load(
            block=self.config.plugins.block, read_settings=loading.settings_reader(self.config)
        )

    @cached_property
    def operations(self) -> Operations:
        """What can be done, as steps for `run`."""
        from cgjobs.codec import Codec
        from cgjobs.operations import Operations

        return Operations(self.reachable, self.registry, Codec(self.config.limits))

    @cached_property
    def sender(self) -> Sender:
        """The way to the broker."""
        from cgjobs.broker import Sender

        return Sender(self.reachable.redis)

    def run(self, steps: Steps[T]) -> T:
        """Carry out an operation."""
        return self.sender.run(steps)

    def send(self, call: Call[T]) -> T:
        """Send one call."""
        return self.sender.send(call)

    def queue(self, name: str) -> str:
        """The name, when a queue has it: a configured one, a plugin's, or one that the broker knows.

        Raises:
            QueueNotFound: None has; suggests one.
        """
        if name not in self.config.queues and name not in self.registry.processors:
            known = self.run(self.operations.queue_names())
            if name not in known:
                raise QueueNotFound(name, known)
        return name

    def max_length(self, name: str) -> int | None:
        """How many jobs a queue may have; None for no limit, and where only the broker knows the queue."""
        from cgjobs.preparation import queue_config

        try:
            return queue_config(self.config, self.registry, name).max_length
        except QueueNotFound:
            return None

    def close(self) -> None:
        """Close the connections, if there are any."""
        if "sender" in vars(self):
            self.sender.close()


Shared = Annotated[Session, Parameter(parse=False)]
"""The parameter through which a command gets its session."""


def running_broker() -> RedisConfig | None:
    """Where the broker of ``cgjobs dev`` answers, or None."""
    return EmbeddedBroker(default_directory()).find()


def confirm(what: str, *, yes: bool) -> None:
    """Make sure that something destructive is meant: by ``--yes``, or by asking on a terminal.

    Raises:
        Refused: Nobody said yes.
    """
    if yes:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write(f"{what} Go on? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
        raise Refused("nothing was done")
    raise Refused(f"{what} Add --yes if that is meant; nothing was done")

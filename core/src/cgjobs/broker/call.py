"""A prepared call: what is sent to the broker and how its reply is read. Sending it is somebody else's work.

One call serves the blocking and the asynchronous client alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from cgjobs.broker.library import PREFIX

T = TypeVar("T")
R = TypeVar("R")

Command: TypeAlias = tuple[Any, ...]
Steps: TypeAlias = Generator["Call[Any] | Ahead[Any]", Any, R]
"""An operation of several calls: yields each call, is sent its reply, returns the result."""


@attrs.frozen
class Call(Generic[T]):
    """One round trip; none without commands.

    Args:
        commands: One command, or several that are sent as one transaction.
        parse: From the reply (of several commands: the list of replies) to the result.
        resent: The commands to send when the reply to the first try was lost; None when the first ones can be
            sent again as they are.
        block: Seconds that the server may take on purpose before it answers; without commands, how long to
            wait.
    """

    commands: tuple[Command, ...]
    parse: Callable[[Any], T]
    resent: tuple[Command, ...] | None = None
    block: float = 0.0

    @property
    def again(self) -> tuple[Command, ...]:
        """What to send on a second try."""
        return self.commands if self.resent is None else self.resent


def rest(seconds: float) -> Call[None]:
    """No command: whoever sends it waits this long."""
    return Call((), lambda reply: None, block=seconds)


Send: TypeAlias = "Callable[[Call[Any]], Awaitable[Any]]"
"""Sends a call and waits, however long, until the broker has answered."""


@attrs.frozen
class Ahead(Generic[T]):
    """Calls that do not need each other's replies.

    The reply to it is the list of theirs; the last one may be the error that ended it. A sender may send
    one before it has the reply to the one before, so that the broker works while the next one is made ready.

    Args:
        calls: The calls, each of one command, made when they are sent.
    """

    calls: Iterable[Call[T]]


def together(commands: Iterable[Command], parse: Callable[[list[Any]], T]) -> Call[T]:
    """Any number of commands as one transaction; ``parse`` gets the list of their replies."""
    chosen = tuple(commands)
    if len(chosen) == 1:
        return Call(chosen, lambda reply: parse([reply]))
    return Call(chosen, parse)


def fcall(name: str, *args: Any) -> Command:
    """The command that calls one of our functions."""
    return ("FCALL", PREFIX + name, 0, *args)


def fcall_ro(name: str, *args: Any) -> Command:
    """The command that calls one of our functions that only read."""
    return ("FCALL_RO", PREFIX + name, 0, *args)


_READS = frozenset(
    [
        "EXISTS",
        "FCALL_RO",
        "GET",
        "HGET",
        "HGETALL",
        "HMGET",
        "INFO",
        "LLEN",
        "LRANGE",
        "SCAN",
        "SCARD",
        "SMEMBERS",
        "TIME",
        "XLEN",
        "XRANGE",
        "XREVRANGE",
        "ZCARD",
        "ZRANGE",
        "ZREVRANGE",
        "ZSCORE",
    ]
) | {"FUNCTION LIST"}


def reads_only(commands: Iterable[Command]) -> bool:
    """Whether these can be sent one by one when a full server takes no transaction, not even of reads."""
    return all(command[0] in _READS for command in commands)

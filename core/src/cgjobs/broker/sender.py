"""Sending prepared calls, blocking and asynchronously; again within a deadline when a reply is lost."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from typing import Any, TypeVar

import attrs
from redis import exceptions

from cgjobs.broker import library
from cgjobs.broker.call import Ahead, Call, Command, Steps, fcall_ro, reads_only
from cgjobs.broker.connection import (
    AsyncIdleConnections,
    IdleConnections,
    connect,
    connect_async,
    refuse_evicting,
    refuse_unsupported,
    translated,
)
from cgjobs.config import RedisConfig
from cgjobs.errors import BrokerDenied, BrokerError, BrokerUnavailable, CgjobsError, FunctionsMissing

T = TypeVar("T")
_PAUSE = 0.05  # seconds between two tries within the deadline


def _readable(reply: Any) -> Any:
    """Of a key of a wrong type nothing can be read; every other error is raised, a function's too."""
    if (
        isinstance(reply, exceptions.ResponseError)
        and "WRONGTYPE" in str(reply)
        and "script" not in str(reply)
    ):
        return None
    if isinstance(reply, Exception):
        raise reply
    return reply


class Sender:
    """Sends calls over a pool of blocking connections; safe to share between threads.

    Args:
        config: The broker, and how long one call may take in all.
    """

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._client = connect(config)
        self._idle = IdleConnections(self._client)

    def send(self, call: Call[T]) -> T:
        """Send one call.

        Raises:
            BrokerUnavailable: No answer within the configured time. A move may have happened all the same.
            BrokerError: The broker refused.
        """
        if not call.commands:
            time.sleep(call.block)
            return call.parse([])
        deadline = time.monotonic() + self._config.timeout.total_seconds() + call.block
        commands, loaded = call.commands, False
        pause = 0.0  # at first it may only be the connection, closed by the server while it was idle
        while True:
            try:
                return call.parse(self._once(commands))
            except FunctionsMissing:
                if loaded:
                    raise
                self.load_functions()
                loaded = True
            except BrokerUnavailable:
                if time.monotonic() + pause >= deadline:
                    raise
                time.sleep(pause)
                pause = _PAUSE
            commands = call.again

    def send_ahead(self, ahead: Ahead[T]) -> list[T | CgjobsError]:
        """Send calls, each before the reply to the one before is read; see `Ahead`. Does not raise."""
        calls, made = iter(ahead.calls), deque[Call[T]]()
        replies: list[T | CgjobsError] = []

        def commands() -> Iterator[Command]:
            for call in calls:
                made.append(call)
                [command] = call.commands
                yield command

        answered = time.monotonic()
        try:
            with translated(self._config), closing(self._idle.execute_ahead(commands())) as found:
                for reply in found:
                    replies.append(made[0].parse(_readable(reply)))
                    made.popleft()
                    answered = time.monotonic()
        except CgjobsError as error:
            silence = time.monotonic() - answered
            if isinstance(error, BrokerUnavailable) and silence >= self._config.timeout.total_seconds():
                return [*replies, error]
            # Those under way once more, one by one: this tells what is wrong if it still is.
            again = (attrs.evolve(call, commands=call.again) for call in made)
            for call in chain(again, calls):
                try:
                    replies.append(self.send(call))
                except CgjobsError as error:
                    return [*replies, error]
        return replies

    def step(self, step: Call[Any] | Ahead[Any]) -> Any:
        """Carry out one step of an operation."""
        return self.send_ahead(step) if isinstance(step, Ahead) else self.send(step)

    def run(self, steps: Steps[T]) -> T:
        """Carry out an operation of several calls."""
        try:
            step = next(steps)
            while True:
                try:
                    reply = self.step(step)
                except CgjobsError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _once(self, commands: tuple[Command, ...]) -> Any:
        with translated(self._config):
            if len(commands) == 1:
                try:
                    return self._idle.execute(commands[0])
                except exceptions.ResponseError as error:
                    return _readable(error)
            try:
                return self._pipeline(commands, transaction=True)
            except exceptions.OutOfMemoryError:
                if not reads_only(commands):
                    raise
                return self._pipeline(commands, transaction=False)

    def _pipeline(self, commands: tuple[Command, ...], *, transaction: bool) -> list[Any]:
        pipeline = self._client.pipeline(transaction=transaction)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        return [_readable(reply) for reply in pipeline.execute(raise_on_error=False)]

    def load_functions(self) -> str:
        """Check the server and load this release's functions where they are missing or other ones.

        Returns:
            The server's name and version.

        Raises:
            BrokerUnsupported: The server is too old, or throws jobs away when it is full.
            FunctionsMissing: They are missing and this user may not load them.
        """
        with translated(self._config):
            version = refuse_unsupported(self._client.info("server"))
            refuse_evicting(self._client.info("memory"), self._config)
        try:
            if self._digest() != library.digest():
                with translated(self._config):
                    self._client.function_load(library.source(), replace=True)
        except BrokerDenied as error:
            raise _may_not_load(error) from error
        return version

    def _digest(self) -> str | None:
        try:
            reply = self._once((fcall_ro("digest"),))
        except FunctionsMissing:
            return None
        return str(reply, "ascii")

    def close(self) -> None:
        """Close all connections."""
        self._idle.close()
        self._client.close()


class AsyncSender:
    """Sends calls over asynchronous connections; belongs to one event loop.

    Args:
        config: The broker, and how long one call may take in all.
    """

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._client = connect_async(config)
        self._idle = AsyncIdleConnections(self._client, config.timeout.total_seconds())

    async def send(self, call: Call[T]) -> T:
        """Send one call; raises like `Sender.send`."""
        if not call.commands:
            await asyncio.sleep(call.block)
            return call.parse([])
        deadline = time.monotonic() + self._config.timeout.total_seconds() + call.block
        commands, loaded = call.commands, False
        while True:
            try:
                return call.parse(await self._once(commands))
            except FunctionsMissing:
                if loaded:
                    raise
                await self.load_functions()
                loaded = True
            except BrokerUnavailable:
                if time.monotonic() + _PAUSE >= deadline:
                    raise
                await asyncio.sleep(_PAUSE)
            commands = call.again

    async def step(self, step: Call[Any] | Ahead[Any]) -> Any:
        """Carry out one step of an operation."""
        if not isinstance(step, Ahead):
            return await self.send(step)
        replies: list[Any] = []
        for call in step.calls:
            try:
                replies.append(await self.send(call))
            except CgjobsError as error:
                return [*replies, error]
        return replies

    async def run(self, steps: Steps[T]) -> T:
        """Carry out an operation of several calls."""
        try:
            step = next(steps)
            while True:
                try:
                    reply = await self.step(step)
                except CgjobsError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _once(self, commands: tuple[Command, ...]) -> Any:
        with translated(self._config):
            if len(commands) == 1:
                try:
                    return await self._idle.execute(commands[0])
                except exceptions.ResponseError as error:
                    return _readable(error)
            try:
                return await self._pipeline(commands, transaction=True)
            except exceptions.OutOfMemoryError:
                if not reads_only(commands):
                    raise
                return await self._pipeline(commands, transaction=False)

    async def _pipeline(self, commands: tuple[Command, ...], *, transaction: bool) -> list[Any]:
        pipeline = self._client.pipeline(transaction=transaction)
        for command in commands:
            pipeline.execute_command(*command)
        return [_readable(reply) for reply in await pipeline.execute(raise_on_error=False)]

    async def load_functions(self) -> str:
        """Check the server and load the functions; returns and raises like `Sender.load_functions`."""
        return await asyncio.to_thread(_load_once, self._config)

    async def close(self) -> None:
        """Close all connections."""
        await self._idle.close()
        await self._client.aclose()


def _load_once(config: RedisConfig) -> str:
    sender = Sender(config)
    try:
        return sender.load_functions()
    finally:
        sender.close()


def _may_not_load(error: BrokerError) -> FunctionsMissing:
    return FunctionsMissing(
        f"the broker lacks this release's functions and this user may not load them ({error}). "
        "Run `cgjobs setup` as a user that may"
    )

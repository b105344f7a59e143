"""Connections to the broker, and its errors in our words."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import redis
import redis.asyncio
from hiredis import pack_command
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from cgjobs.config import RedisConfig
from cgjobs.errors import (
    BrokerDenied,
    BrokerError,
    BrokerFull,
    BrokerUnavailable,
    BrokerUnsupported,
    FunctionsMissing,
)

OLDEST_REDIS = (7, 0)
OLDEST_VALKEY = (7, 2)


def _options(config: RedisConfig) -> dict[str, Any]:
    seconds = config.timeout.total_seconds()
    options: dict[str, Any] = {
        "db": config.db,
        "username": config.username,
        "password": config.password,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "protocol": 2,
    }
    if config.socket is not None:
        options["unix_socket_path"] = str(config.socket)
        return options
    options |= {"host": config.host, "port": config.port, "socket_keepalive": True}
    if config.tls:
        options |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
        if config.ca_file is not None:
            options["ssl_ca_certs"] = str(config.ca_file)
    return options


def connect(config: RedisConfig) -> redis.Redis:
    """A blocking client. It never sends a command twice by itself, and connects at the first one."""
    return redis.Redis(**_options(config), retry=Retry(NoBackoff(), 0))


def connect_async(config: RedisConfig) -> redis.asyncio.Redis:
    """An asynchronous client of the same kind."""
    return redis.asyncio.Redis(**_options(config), retry=AsyncRetry(NoBackoff(), 0))


def _packed(command: Sequence[Any]) -> list[bytes]:
    """A command as it is sent; a connection's own way looks at each argument before it does the same."""
    whole: Any = tuple(command)
    return [pack_command(whole)]


class IdleConnections:
    """The connections of a blocking client that nobody uses now. One call takes one and puts it back.

    A client's own ``execute_command`` takes longer over a short call than the server does: its pool looks at
    the socket, and its hooks for telemetry run, whether or not anybody listens.

    Args:
        client: Says how to connect.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._idle: list[Any] = []
        self._pid = os.getpid()

    @contextlib.contextmanager
    def taken(self) -> Iterator[Any]:
        """A connection for one call; any error but one that the server replied closes it."""
        if os.getpid() != self._pid:  # after a fork: the connections are the parent's
            self._idle, self._pid = [], os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
        try:
            yield connection
        except exceptions.ResponseError:
            raise
        except BaseException:  # a reply may still come, which nobody shall take for the next call's
            connection.disconnect()
            raise
        finally:
            self._idle.append(connection)

    def execute(self, command: Sequence[Any]) -> Any:
        """Send one command and give its reply; an error reply is raised. Nothing is sent twice."""
        with self.taken() as connection:
            connection.send_packed_command(_packed(command), check_health=False)
            return connection.read_response()

    def execute_ahead(self, commands: Iterable[Sequence[Any]]) -> Generator[Any, None, None]:
        """Send commands, each before the reply to the one before is read, and give their replies in order.

        The first error reply is raised; the command after it has been sent by then.
        """
        with self.taken() as connection:
            waiting = 0
            try:
                for command in commands:
                    connection.send_packed_command(_packed(command), check_health=False)
                    waiting += 1
                    if waiting > 1:
                        waiting -= 1
                        yield connection.read_response()
                if waiting:
                    waiting -= 1
                    yield connection.read_response()
            finally:
                if waiting:
                    connection.disconnect()

    def close(self) -> None:
        """Close them; one that is in use is closed by its garbage collection."""
        while self._idle:
            self._idle.pop().disconnect()


class AsyncIdleConnections:
    """The same for an asynchronous client; one timer for a call, where the client's own way takes two tasks.

    Args:
        client: Says how to connect.
        seconds: Longest wait for a reply.
    """

    def __init__(self, client: redis.asyncio.Redis, seconds: float) -> None:
        self._pool, self._seconds = client.connection_pool, seconds
        self._idle: list[Any] = []
        self._closed = False

    async def execute(self, command: Sequence[Any]) -> Any:
        """Send one command and give its reply; an error reply is raised. Nothing is sent twice."""
        [reply] = await self.execute_all([command])
        return reply

    async def execute_all(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands on one connection, all before the first reply is read, and give their replies.

        The server carries out each when the one before has ended, so also behind one that blocks. The first
        error reply is raised when all have been read.
        """
        packed = [data for command in commands for data in _packed(command)]
        try:
            connection = self._idle.pop()
        except IndexError:
            options = {**self._pool.connection_kwargs, "socket_timeout": None}
            connection = self._pool.connection_class(**options)
        try:
            async with asyncio.timeout(self._seconds):
                if not connection.is_connected:
                    await connection.connect()
                await connection.send_packed_command(packed, check_health=False)
                replies = [await _reply(connection) for _ in commands]
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if type(error) is TimeoutError:
                raise exceptions.TimeoutError(f"no reply within {self._seconds:g} s") from None
            raise
        finally:
            if self._closed:
                await connection.disconnect(nowait=True)
            else:
                self._idle.append(connection)
        for reply in replies:
            if isinstance(reply, exceptions.ResponseError):
                raise reply
        return replies

    async def close(self) -> None:
        """Close them; one that is in use is closed when its call ends."""
        self._closed = True
        while self._idle:
            await self._idle.pop().disconnect()


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


def address(config: RedisConfig) -> str:
    """Where the broker is, for people; without secrets."""
    if config.socket is not None:
        return str(config.socket)
    return f"{'rediss' if config.tls else 'redis'}://{config.host}:{config.port}/{config.db}"


# The last two inside a function: Valkey's and Redis 7.2's words, and those of Redis 7.0.
_DENIED = ("NOAUTH", "WRONGPASS", "NOPERM", "ACL failure", "can't run this command")
_PASSING = ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MISCONF", "NOREPLICAS")


def translate(error: exceptions.RedisError | OSError, config: RedisConfig) -> BrokerError:
    """The broker's error as one of ours, with what to do."""
    where = address(config)
    text = str(error) or type(error).__name__
    denied = (exceptions.AuthenticationError, exceptions.NoPermissionError)
    if isinstance(error, denied) or any(word in text for word in _DENIED):
        return BrokerDenied(
            f"the broker at {where} refused: {text}. Check the user, the password and its ACL"
        )
    if "Function not found" in text:
        return FunctionsMissing(f"the broker at {where} lacks this release's functions. Run `cgjobs setup`")
    if "unknown command" in text.lower() and "fcall" in text.lower():
        return BrokerUnsupported(
            f"the broker at {where} knows no functions; Redis 7.0 or Valkey 7.2 is needed"
        )
    passing = isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError))
    if passing or text.startswith(_PASSING) or isinstance(error, exceptions.BusyLoadingError):
        return BrokerUnavailable(
            f"no answer from the broker at {where}: {text}. Is it running and reachable?"
        )
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM" in text:
        return BrokerFull(
            f"the broker at {where} is full: {text}. Raise its maxmemory or remove jobs; workers go on"
        )
    return BrokerError(f"the broker at {where} answered: {text}")


@contextlib.contextmanager
def translated(config: RedisConfig) -> Iterator[None]:
    """Raise the broker's errors as ours."""
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        raise translate(error, config) from error


def refuse_evicting(info: dict[str, Any], config: RedisConfig) -> None:
    """Check ``INFO memory``, which a managed service shows too, unlike ``CONFIG``.

    Raises:
        BrokerUnsupported: A full server would throw jobs away, and that is not allowed.
    """
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and not config.allow_eviction:
        raise BrokerUnsupported(
            f"the broker at {address(config)} has maxmemory-policy {policy}: when it is full it throws jobs "
            "away. Set it to noeviction, or redis.allow_eviction = true if jobs may be lost"
        )


def refuse_unsupported(info: dict[str, Any]) -> str:
    """Check ``INFO server``.

    Returns:
        Name and version, such as ``valkey 9.1.2``.

    Raises:
        BrokerUnsupported: Older than Redis 7.0 or Valkey 7.2.
    """
    name, oldest, version = "redis", OLDEST_REDIS, str(info.get("redis_version", "0"))
    if "valkey_version" in info:
        name, oldest, version = "valkey", OLDEST_VALKEY, str(info["valkey_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        raise BrokerUnsupported(f"the broker is {name} {version}; {name} {wanted} or newer is needed")
    return f"{name} {version}"

"""The servers of a cache in Redis: how they are reached, and what their errors mean for a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry as RedisRetry

from cgjobs import Discard, Retry

COMMANDS = "CLIENT, INFO, DBSIZE, SCAN, TTL, OBJECT, EXPIRE, UNLINK, MEMORY and, in a cluster, CLUSTER"
_PATIENCE = 5.0  # seconds for a connection or a reply
_LATER = (
    "LOADING",
    "CLUSTERDOWN",
    "READONLY",
    "MASTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
    "UNBLOCKED",
)
_NEVER = ("NOAUTH", "WRONGPASS", "NOPERM", "DENIED")


@attrs.frozen
class Node:
    """One server that holds keys: the only one, or a primary of a cluster.

    Args:
        name: ``host:port``, or the path of its socket.
        client: Its connection; replies are bytes.
        run_id: Changes with each start of the server, and with it what a cursor means.
        keys: How many keys its database has.
        memory: Bytes that it uses.
        policy: Its ``maxmemory-policy``.
    """

    name: str
    client: redis.Redis
    run_id: str
    keys: int
    memory: int
    policy: str

    @property
    def counts_uses(self) -> bool:
        """Whether it keeps access counters (LFU) in the place of idle times."""
        return self.policy.endswith("-lfu")

    def used_memory(self) -> int:
        """Bytes that it uses now."""
        return int(self.client.info("memory")["used_memory"])


@contextmanager
def opened(target: str, url: str, name: str) -> Iterator[list[Node]]:
    """Connect to a cache's server, or to every primary of its cluster.

    Args:
        target: What the cache is called, for messages.
        url: Where it is.
        name: What the servers' lists of clients shall show.

    Raises:
        Retry: It cannot be reached, or not now.
        Discard: It does not let us in.
    """
    options: dict[str, Any] = {
        "socket_timeout": _PATIENCE,
        "socket_connect_timeout": _PATIENCE,
        "client_name": name,
        "retry": RedisRetry(NoBackoff(), 0),
    }
    with explained(target):
        client = redis.Redis.from_url(url, protocol=2, **options)
        cluster: RedisCluster | None = None
        try:
            if client.info("cluster").get("cluster_enabled"):
                cluster = RedisCluster.from_url(url, protocol=2, **options)
                clients = [cluster.get_redis_connection(node) for node in _primaries(cluster)]
            else:
                clients = [client]
            yield sorted((_node(each) for each in clients), key=lambda node: node.name)
        finally:
            client.close()
            if cluster is not None:
                cluster.close()


def _primaries(cluster: RedisCluster) -> list[Any]:
    return list(cluster.get_primaries())  # type: ignore[no-untyped-call]


def _node(client: redis.Redis) -> Node:
    where = client.connection_pool.connection_kwargs
    info = client.info()
    return Node(
        name=str(where.get("path") or f"{where.get('host')}:{where.get('port')}"),
        client=client,
        run_id=str(info["run_id"]),
        keys=int(client.dbsize()),
        memory=int(info["used_memory"]),
        policy=str(info.get("maxmemory_policy", "noeviction")),
    )


@contextmanager
def explained(target: str) -> Iterator[None]:
    """Turn the errors of the client into what they mean for a job on this cache."""
    try:
        yield
    except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
        raise meaning(target, error) from error


def meaning(target: str, error: Exception) -> Retry | Discard | Exception:
    """What an error of the client means: to try again later, never again, or nothing that is known."""
    words = str(error)
    denied = isinstance(
        error, (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
    )
    if denied or words.startswith(_NEVER):
        return Discard(
            f"cache {target!r} refuses its user: {words}; correct the user and password in the url in "
            f"[plugins.maintenance.caches.{target}], or let the user call {COMMANDS}"
        )
    if "unknown command" in words.lower():
        return Discard(f"cache {target!r} lacks a command: {words}; the sweep calls {COMMANDS}")
    away = isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError))
    moving = isinstance(
        error,
        (
            exceptions.ClusterError,
            exceptions.RedisClusterException,
            exceptions.AskError,
            exceptions.TryAgainError,
            exceptions.ReadOnlyError,
        ),
    )
    if away or moving or words.startswith(_LATER):
        return Retry(f"cache {target!r} is not ready: {words or type(error).__name__}")
    return error

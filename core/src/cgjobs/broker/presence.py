"""A worker's entry, as RQ's own classes read it, as prepared calls."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cgjobs import keys
from cgjobs.broker.call import Call, Command

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_AFTER_DEATH = 60  # seconds for which RQ keeps the entry of a worker that said goodbye


def register(name: str, queues: Sequence[str], version: str, ttl: timedelta) -> Call[None]:
    """Enter a worker; also after the broker lost its entry."""
    now = datetime.now(UTC).strftime(_TIME)
    key = keys.worker(name)
    fields = {
        "birth": now,
        "last_heartbeat": now,
        "queues": ",".join(queues),
        "pid": os.getpid(),
        "hostname": socket.gethostname(),
        "ip_address": "",
        "version": f"cgjobs {version}",
        "python_version": platform.python_version(),
        "state": "idle",
    }
    commands: list[Command] = [
        ("DEL", key),
        ("HSET", key, *(part for item in fields.items() for part in item)),
        ("EXPIRE", key, int(ttl.total_seconds())),
        ("SADD", keys.WORKERS, key),
    ]
    commands += [("SADD", keys.workers_of(queue), key) for queue in queues]
    commands += [("SADD", keys.QUEUES, keys.waiting(queue)) for queue in queues]
    return Call(tuple(commands), lambda replies: None)


def unregister(name: str, queues: Sequence[str]) -> Call[None]:
    """Take a worker's entry out."""
    key = keys.worker(name)
    commands: list[Command] = [("SREM", keys.WORKERS, key)]
    commands += [("SREM", keys.workers_of(queue), key) for queue in queues]
    commands += [("HSET", key, "death", datetime.now(UTC).strftime(_TIME)), ("EXPIRE", key, _AFTER_DEATH)]
    return Call(tuple(commands), lambda replies: None)

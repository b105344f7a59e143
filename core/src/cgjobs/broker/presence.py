"""A worker's entry, as RQ's own classes read it, as prepared calls."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Sequence
from datetime import timedelta

from cgjobs.broker.call import Call, fcall


def register(name: str, queues: Sequence[str], version: str, ttl: timedelta) -> Call[None]:
    """Enter a worker; also after the broker lost its entry."""
    fields = {
        "pid": os.getpid(),
        "hostname": socket.gethostname(),
        "ip_address": "",
        "version": f"cgjobs {version}",
        "python_version": platform.python_version(),
    }
    facts = [part for fact in fields.items() for part in fact]
    seconds = int(ttl.total_seconds())
    return Call((fcall("register", name, seconds, ",".join(queues), *facts),), lambda reply: None)


def unregister(name: str, queues: Sequence[str]) -> Call[None]:
    """Take a worker's entry out."""
    return Call((fcall("unregister", name, ",".join(queues)),), lambda reply: None)

"""A worker's entry, as RQ's own classes read it, as prepared calls."""

from __future__ import annotations

import os
import platform
import secrets
import socket
from collections.abc import Sequence
from datetime import timedelta

from cgjobs.broker.call import Call, fcall
from cgjobs.broker.replies import text


def register(name: str, queues: Sequence[str], version: str, ttl: timedelta, epoch: str = "") -> Call[str]:
    """Enter a worker; also after the broker lost its entry.

    Args:
        name, queues, version: The worker's.
        ttl: How long the entry stays when it is not renewed.
        epoch: What this gave before.

    Gives the epoch, which another one follows when the broker has lost its data.
    """
    fields = {
        "pid": os.getpid(),
        "hostname": socket.gethostname(),
        "ip_address": "",
        "version": f"cgjobs {version}",
        "python_version": platform.python_version(),
    }
    facts = [part for fact in fields.items() for part in fact]
    seconds = int(ttl.total_seconds())
    command = fcall("register", name, secrets.token_hex(8), epoch, seconds, ",".join(queues), *facts)
    return Call((command,), text)


def unregister(name: str, queues: Sequence[str]) -> Call[None]:
    """Take a worker's entry out."""
    return Call((fcall("unregister", name, ",".join(queues)),), lambda reply: None)

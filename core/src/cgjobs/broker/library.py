"""The functions as one Redis Function library, named by the version of their protocol.

Format: https://redis.io/docs/latest/develop/programmability/functions-intro/
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

PROTOCOL = 1
"""Raised when arguments or replies change; both libraries then live side by side in one server."""

PREFIX = f"cgjobs{PROTOCOL}_"
NAME = f"cgjobs{PROTOCOL}"

# In the order of use: a file may call what an earlier one defines.
_FILES = (
    "prelude",
    "dependents",
    "held",
    "limits",
    "enqueue",
    "claim",
    "settle",
    "register",
    "renew",
    "progress",
    "log",
    "checkpoint",
    "begin",
    "once",
    "reap",
    "promote",
    "pause",
    "operators",
    "remove",
    "retry",
    "cancel",
    "drain",
    "fire",
    "stats",
    "history",
)


@cache
def source() -> str:
    """The whole library as text, as ``FUNCTION LOAD`` takes it."""
    folder = files("cgjobs.functions")
    body = "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in _FILES)
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    return (
        f"#!lua name={NAME}\n"
        f"local PREFIX, DIGEST = '{PREFIX}', '{digest}'\n"
        f"{body}\n"
        "define('digest', {'no-writes', 'allow-oom'}, function() return DIGEST end)\n"
    )


@cache
def digest() -> str:
    """Tells one release's functions from another's within the same protocol."""
    return source().split("'")[3]


def function(name: str) -> str:
    """The function's name on the server."""
    return PREFIX + name

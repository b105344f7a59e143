"""How a command ends: which error is which exit code."""

from __future__ import annotations

from cyclopts import CycloptsError

from cgjobs.errors import (
    BrokerError,
    BrokerFull,
    CgjobsError,
    ConfigError,
    InvalidOption,
    InvalidPayload,
    JobStateError,
    PluginError,
    QueueFull,
)

OK, FAILED, USAGE, UNREACHABLE, NOT_FOUND, REFUSED = range(6)
INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell gives for a program that the signal SIGPIPE has ended."""


class Refused(CgjobsError):
    """Something that destroys was asked for without saying that it is meant."""


_CODES: tuple[tuple[type[Exception], int], ...] = (
    (CycloptsError, USAGE),
    (ConfigError, USAGE),
    (InvalidPayload, USAGE),
    (InvalidOption, USAGE),
    (PluginError, USAGE),
    (BrokerFull, REFUSED),
    (BrokerError, UNREACHABLE),
    (JobStateError, REFUSED),
    (QueueFull, REFUSED),
    (Refused, REFUSED),
    (LookupError, NOT_FOUND),
)


def exit_code(error: Exception) -> int:
    """The exit code of a command that ended with this error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)

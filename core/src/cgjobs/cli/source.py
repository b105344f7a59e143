"""Where a command reads JSON from: the words themselves, a file, or standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from cgjobs.errors import Fault, InvalidOption


def read_source(source: str) -> bytes:
    """The bytes of ``-`` (standard input), ``@FILE``, or anything else as it is."""
    if source == "-":
        return sys.stdin.buffer.read()
    if source.startswith("@"):
        return read_file(source[1:])
    return source.encode()


def read_file(name: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``.

    Raises:
        InvalidOption: The file cannot be read.
    """
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidOption("the command line", [Fault(name, f"cannot be read: {error.strerror}")]) from None

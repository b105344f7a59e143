"""What went wrong with single items: listed, counted, and too much of it ends the run."""

from __future__ import annotations

import errno
import os

from cgjobs import Retry
from cgjobs_cleanup.results import PathError

_LISTED = 20
_TOO_MANY = 0.1


class Troubles:
    """The errors of one run."""

    def __init__(self) -> None:
        self.listed: list[PathError] = []
        self.total = 0
        self._failed = 0

    def note(self, path: str, error: OSError, *, failed: bool = False) -> None:
        """Add what could not be read; or, when ``failed``, what could not be deleted or changed."""
        self.add(printable(path), errno.errorcode.get(error.errno or 0, "EUNKNOWN"), failed=failed)

    def add(self, path: str, code: str, *, failed: bool) -> None:
        """The same with a code of another system."""
        self.total += 1
        self._failed += failed
        if len(self.listed) < _LISTED:
            self.listed.append(PathError(path, code))

    def retry_when_too_many(self, done: int, where: str) -> None:
        """Raise `Retry` when more than a tenth of what was tried failed.

        Args:
            done: How many items went well.
            where: For the message, such as ``root 'uploads'``.
        """
        tried = done + self._failed
        if self._failed > _TOO_MANY * tried:
            first = next((f"{error.code} for {error.path!r}" for error in self.listed), "")
            raise Retry(
                f"{self._failed} of {tried} files of {where} could not be deleted, the first trouble: {first}"
            )


def printable(path: str) -> str:
    """The path as text that any encoder takes: names of files are bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")

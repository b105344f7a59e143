"""Whether some process has a file open, asked of the kernel in two ways."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator

_SCAN_HOLDS = 1.0  # seconds
_SET_LEASE, _SET_SIGNAL = getattr(fcntl, "F_SETLEASE", None), getattr(fcntl, "F_SETSIG", None)


class OpenFiles:
    """Tells what is open. Neither way sees a process on another machine.

    Args:
        clock: Seconds since any start, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._scanned_at = float("-inf")
        self._scanned: set[tuple[int, int]] = set()

    def seen(self, device: int, inode: int) -> bool:
        """Whether a process whose descriptors may be listed had the file open, at most a second ago.

        Ask before opening the file, since this process is looked at too. Without ``/proc``, always False.
        """
        now = self._clock()
        if now - self._scanned_at > _SCAN_HOLDS:
            self._scanned = _scan()
            self._scanned_at = self._clock()
        return (device, inode) in self._scanned


@contextlib.contextmanager
def alone_with(fd: int) -> Iterator[bool | None]:
    """Whether nobody else has the file open, kept true inside the block by a lease.

    Who opens the file meanwhile waits until the block ends, so it must be short.

    Args:
        fd: The file, open for reading.

    Yields:
        False when somebody has it open, None when the system cannot tell: the file belongs to somebody else,
        or lies on a file system without leases, or this is no Linux.
    """
    alone = _lease(fd)
    try:
        yield alone
    finally:
        if alone:
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, _SET_LEASE or 0, fcntl.F_UNLCK)


def _lease(fd: int) -> bool | None:
    if _SET_LEASE is None or _SET_SIGNAL is None:
        return None
    try:
        # Who opens a leased file makes the kernel send a signal, SIGIO unless told otherwise, which ends
        # the process. SIGURG is ignored by default.
        fcntl.fcntl(fd, _SET_SIGNAL, signal.SIGURG)
        fcntl.fcntl(fd, _SET_LEASE, fcntl.F_WRLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    return True


def _scan() -> set[tuple[int, int]]:
    """Device and inode of each file that a process has open, as far as this one may look."""
    found: set[tuple[int, int]] = set()
    with contextlib.suppress(OSError):
        for process in os.listdir("/proc"):
            if process.isdigit():
                with contextlib.suppress(OSError):
                    for fd in os.listdir(f"/proc/{process}/fd"):
                        with contextlib.suppress(OSError):
                            at = os.stat(f"/proc/{process}/fd/{fd}")
                            found.add((at.st_dev, at.st_ino))
    return found

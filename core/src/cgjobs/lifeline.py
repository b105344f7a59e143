"""Run a command that ends with its owner: ``python -I -S lifeline.py OWNER_PID COMMAND ...``.

A program of its own, with the standard library alone, since it has to work between fork and exec: a
``preexec_fn`` would run Python code in the forked copy of a process that has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1  # prctl(2)
_INTERVAL = 0.2


def follow(owner: int, number: int = signal.SIGTERM) -> bool:
    """Have the kernel send us a signal when the thread that started us ends. Linux.

    Args:
        owner: Process id of our parent.
        number: The signal.

    Returns:
        Whether the parent is still there: False when it died before the kernel knew of our wish.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    return os.getppid() == owner


def become(owner: int, command: list[str]) -> None:
    """Replace this process by ``command``, which gets SIGTERM when the thread that started us ends. Linux.

    Args:
        owner: Process id of our parent; when it is gone already, nothing is started.
        command: Path of the program and its arguments. It inherits our file descriptors.
    """
    if follow(owner):
        os.execv(command[0], command)  # noqa: S606 - no shell is the point


def watch(owner: int, command: list[str]) -> int:
    """Run ``command`` beside us and end it when our parent is gone, where the kernel does not do it.

    Not promised: that it ends when this process is killed with SIGKILL.

    Args:
        owner: Process id of our parent.
        command: Path of the program and its arguments. It inherits our file descriptors.

    Returns:
        The exit code of ``command``.
    """
    child = subprocess.Popen(command, close_fds=False)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while child.poll() is None:
        if os.getppid() != owner:
            child.terminate()
        time.sleep(_INTERVAL)
    return child.returncode


if __name__ == "__main__":
    run = become if sys.platform == "linux" else watch
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))

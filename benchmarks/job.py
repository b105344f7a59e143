"""What every measured job does, in all libraries alike: note the time, and nothing else.

A note is 8 bytes, the machine's monotonic clock in nanoseconds, appended by one `write` to a file in memory.
So the harness knows how many jobs ran, and when, without a word to the server; processes, threads and forked
children share the file. It costs 1 to 2 µs a job.
"""

from __future__ import annotations

import os
import struct
import time

PAYLOAD = "x" * 180  # about 200 bytes with its name around it: {"text": "xxx..."}
SLEEP = 0.05  # seconds of pretended I/O
WORK = 0.001  # seconds of processor time
_NOTE = struct.Struct("<q")
_file = os.open(path, os.O_WRONLY | os.O_APPEND) if (path := os.environ.get("BENCH_NOTES")) else -1


def note() -> None:
    """Append the time."""
    os.write(_file, _NOTE.pack(time.monotonic_ns()))


def noop(text: str) -> None:
    """The empty job of the libraries whose handlers are plain functions."""
    note()


def sleep(text: str) -> None:
    """The job of pretended I/O of those that run it on a thread."""
    note()
    time.sleep(SLEEP)
    note()


def work() -> None:
    """Use a processor for a millisecond, by the clock of this thread, and note the time."""
    end = time.thread_time() + WORK
    while time.thread_time() < end:
        pass
    note()


def count(notes: str) -> int:
    """How many notes a file has."""
    return os.stat(notes).st_size // _NOTE.size


def read(notes: str) -> list[int]:
    """The notes of a file, sorted: nanoseconds."""
    with open(notes, "rb") as file:
        return sorted(moment for (moment,) in _NOTE.iter_unpack(file.read()))

"""A sweep over one directory of cached files: by when they were last used, and by how much they take.

Nothing is shared with the cleanup plugin, which keeps what it lists and comes back to it: here a file is
judged and deleted while its directory is open, so that no path is ever walked a second time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import attrs
from platformdirs import user_state_path

from cgjobs import Context, Discard, Snooze
from cgjobs_maintenance.payloads import Cache
from cgjobs_maintenance.results import CacheResult, CacheSkipped

BATCH = 1_000
"""Files between two reports; a cancelled job deletes no more than the rest of these."""
DEEPEST = 128
SAMPLES = 5
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Found(NamedTuple):
    """A regular file in a directory that is open.

    Args:
        directory: The open directory.
        name: What the file is called in it.
        path: Where it is below the root, for people.
        used: When it was last read or written, in nanoseconds since 1970. A file system that is mounted with
            ``noatime`` does not know of reads, one with ``relatime`` to the day.
        size: What deleting it frees.
    """

    directory: int
    name: str
    path: str
    used: int
    size: int


@attrs.define
class Passed:
    """What a walk passed by, counted."""

    other: int = 0
    errors: int = 0

    def note(self, error: OSError) -> None:
        """Count an error; what is gone by now is none."""
        self.errors += not isinstance(error, FileNotFoundError)


class DirectorySweep:
    """Sweeps one directory. Use it once.

    Args:
        root: The open directory.
        payload: What to do.
        ctx: The job that runs.
        cutoff: What was used after this is not idle.
        clock: Seconds since any start, never going back.
    """

    def __init__(
        self, root: int, payload: Cache, ctx: Context, *, cutoff: datetime, clock: Callable[[], float]
    ) -> None:
        self._root, self._payload, self._ctx, self._clock = root, payload, ctx, clock
        self._device = os.fstat(root).st_dev
        self._cutoff = int(cutoff.timestamp() * 1_000_000_000)
        self._deadline = clock() + payload.max_duration.total_seconds()
        self._limit = payload.max_items or float("inf")
        self._files = self._bytes = self._victims = self._deleted = self._freed = 0
        self._passed = Passed()
        self._failed = 0
        self._samples: list[str] = []

    def run(self) -> CacheResult:
        """Look at every file, then delete what was used before a moment that the first look has found.

        Raises:
            Snooze: ``max_duration`` is over and files are left.
        """
        latest = self._choose()
        try:
            self._delete(latest)
        finally:  # whatever ends it, this is the record of what is gone
            self._ctx.log.info(
                "cache_swept",
                target=self._payload.target,
                dry_run=self._payload.dry_run,
                matched=self._victims,
                unlinked=self._deleted,
                bytes_freed=self._freed,
                errors=self._passed.errors + self._failed,
            )
        return self._result()

    def _choose(self) -> int:
        """When the last file was used that has to go, in nanoseconds since 1970; -1 when none has."""
        uses: list[tuple[int, int]] = []  # some 130 bytes for each file
        for file in self._walk(self._passed):
            uses.append((file.used, file.size))
            if len(uses) % BATCH == 0:
                self._ctx.progress(0, None, f"looking: {len(uses)} files")
        uses.sort()
        self._files, self._bytes = len(uses), sum(size for _, size in uses)
        left, most = self._bytes, self._payload.max_bytes
        for used, size in uses:
            wanted = self._payload.only == "all" or (self._payload.idle is not None and used < self._cutoff)
            if not (wanted or (most is not None and left > most)) or self._victims >= self._limit:
                break
            left -= size
            self._victims += 1
        return uses[self._victims - 1][0] if self._victims else -1

    def _delete(self, latest: int) -> None:
        if not self._victims:
            return
        verb = "would be deleted" if self._payload.dry_run else "deleted"
        gone = 0  # in a dry run too
        for number, file in enumerate(self._walk(Passed()), 1):
            if number % BATCH == 0:
                self._ctx.progress(gone, self._victims, f"{gone} files {verb}")
                if gone and self._clock() >= self._deadline and not self._payload.dry_run:
                    raise Snooze(
                        timedelta(0), f"max_duration: {gone} of {self._victims} files deleted, going on"
                    )
            if file.used > latest or not self._gone(file):
                continue
            gone += 1
            self._freed += file.size
            if len(self._samples) < SAMPLES:
                self._samples.append(os.fsencode(file.path).decode("utf-8", "backslashreplace"))
            if gone >= self._victims:
                break
        self._ctx.progress(gone, self._victims, f"{gone} files {verb}")

    def _gone(self, file: Found) -> bool:
        if self._payload.dry_run:
            return True
        try:
            os.unlink(file.name, dir_fd=file.directory)
        except FileNotFoundError:
            return False
        except OSError:
            self._failed += 1
            return False
        self._deleted += 1
        return True

    def _walk(self, passed: Passed) -> Iterator[Found]:
        """The regular files, each while its directory is open; no link is followed, not even a new one."""
        for path, directories, names, fd in os.fwalk(".", dir_fd=self._root, onerror=passed.note):
            if os.fstat(fd).st_dev != self._device:
                directories.clear()
                passed.other += 1
                continue
            if path.count("/") >= DEEPEST and directories:
                directories.clear()
                passed.errors += 1
            for name in names:
                if file := self._look(fd, path, name, passed):
                    yield file

    def _look(self, directory: int, path: str, name: str, passed: Passed) -> Found | None:
        try:
            seen = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            passed.note(error)
            return None
        pattern = self._payload.pattern
        if not stat.S_ISREG(seen.st_mode) or (pattern is not None and not fnmatchcase(name, pattern)):
            passed.other += 1
            return None
        used = max(seen.st_mtime_ns, seen.st_atime_ns)
        return Found(directory, name, f"{path}/{name}"[2:], used, seen.st_size if seen.st_nlink == 1 else 0)

    def _result(self) -> CacheResult:
        return CacheResult(
            dry_run=self._payload.dry_run,
            scanned=self._files,
            matched=self._victims,
            unlinked=self._deleted,
            ttl_set=0,
            memory_before=self._bytes,
            memory_after=self._bytes if self._payload.dry_run else self._bytes - self._freed,
            matched_bytes=self._freed if self._payload.dry_run else None,
            skipped=CacheSkipped(young=self._files - self._victims, other=self._passed.other),
            evicted_policy="",
            samples=tuple(self._samples),
            errors=self._passed.errors + self._failed,
            stopped_by="max_items" if self._victims >= self._limit else None,
        )


@contextmanager
def opened(target: str, directory: Path) -> Iterator[int]:
    """Open a cache's directory.

    Raises:
        Discard: It is missing, a link or unreadable, or too much depends on it.
    """
    try:
        root = os.open(directory, _ROOT)
    except OSError as error:
        raise Discard(
            f"the directory of cache {target!r} cannot be opened: {error.strerror}: '{directory}'; "
            "it must be a directory that the worker may list, and no symbolic link"
        ) from error
    try:
        mine = os.fstat(root)
        for kept in (Path.home(), user_state_path("cgjobs")):
            real = kept.resolve()
            if any(path.exists() and os.path.samestat(mine, path.stat()) for path in (real, *real.parents)):
                raise Discard(
                    f"the directory of cache {target!r} is '{directory}', which is or contains '{kept}'; "
                    "choose a directory below it"
                )
        yield root
    finally:
        os.close(root)

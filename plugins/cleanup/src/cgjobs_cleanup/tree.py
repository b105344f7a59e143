"""One directory tree, held by file descriptors, so that no link leads out of it.

Paths are text only for people and patterns. Every system call names one part of a path, relative to an open
directory, and follows no link: swapping a directory for a link between listing and deleting gains nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import attrs

MAX_DEPTH = 128
"""Deepest directory entered. Each level costs two descriptors, and a worker has other uses for them."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}  # the last two: a link where a directory was


class File(NamedTuple):  # a tuple, since a hundred thousand of them may wait in memory
    """A regular file as it was listed.

    Args:
        mtime_ns: When it was last written, in nanoseconds since 1970.
        path: Where it is below the root.
        size: Its size in bytes.
        inode: Its number in the file system.
        links: How many names it has.
    """

    mtime_ns: int
    path: str
    size: int
    inode: int
    links: int


@attrs.define
class Tally:
    """What a walk passed by, counted.

    Args:
        on_error: Told the path and the error of what could not be read; the walk goes on.
    """

    on_error: Callable[[str, OSError], None]
    unselected: int = 0
    symlink: int = 0
    special: int = 0
    excluded_dirs: int = 0
    other_fs: int = 0


class Tree:
    """An open tree; a context manager.

    Args:
        root: The directory. Links on the way to it are followed, it must not be one itself.

    Raises:
        OSError: The root is missing, a link, no directory, or not readable.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _DIRECTORY)
        self._device = os.fstat(self._root).st_dev
        self._parent: tuple[str, int] | None = None

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give its descriptors back."""
        self._forget_parent()
        os.close(self._root)

    def is_or_contains(self, path: Path) -> bool:
        """Whether the root is this path or one of its ancestors, by whatever name."""
        mine = os.fstat(self._root)
        real = path.resolve()
        for candidate in (real, *real.parents):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if os.path.samestat(mine, candidate.stat()):
                    return True
        return False

    def files(
        self, selects: Callable[[str], bool], enters: Callable[[str], bool], tally: Tally
    ) -> Generator[File, None, None]:
        """Walk the tree, in constant memory; close the iterator when leaving it early.

        Args:
            selects: Given a file's path; those it refuses are counted and not looked at.
            enters: Given a directory's path; those it refuses are not entered.
            tally: Counts what is passed by.
        """
        levels = [_Level(self._root, ".", "")]
        try:
            while levels:
                entry = levels[-1].next_entry(tally)
                if entry is None:
                    levels.pop().close()
                    continue
                path = levels[-1].prefix + entry.name
                try:
                    if entry.is_file(follow_symlinks=False):
                        if not selects(path):
                            tally.unselected += 1
                            continue
                        seen = entry.stat(follow_symlinks=False)
                        if seen.st_dev == self._device:
                            yield File(seen.st_mtime_ns, path, seen.st_size, seen.st_ino, seen.st_nlink)
                        else:
                            tally.other_fs += 1
                    elif entry.is_symlink():
                        tally.symlink += 1
                    elif not entry.is_dir(follow_symlinks=False):
                        tally.special += 1
                    elif not enters(path):
                        tally.excluded_dirs += 1
                    elif below := self._enter(levels, entry.name, tally):
                        levels.append(below)
                except OSError as error:
                    if error.errno not in _GONE:
                        tally.on_error(path, error)
        finally:
            for level in levels:
                level.close()

    def find(self, path: str) -> File | None:
        """The regular file at a path; None when there is none, or only by way of a link.

        Raises:
            OSError: It cannot be looked at.
        """
        try:
            parent, name = self.parent(path)
            seen = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        if not stat.S_ISREG(seen.st_mode):
            return None
        return File(seen.st_mtime_ns, path, seen.st_size, seen.st_ino, seen.st_nlink)

    def delete(self, file: File) -> bool:
        """Delete a file, if it still is the one that was listed.

        Returns:
            False when it was written, replaced or gone since; nothing is deleted then.

        Raises:
            OSError: It could not be deleted.
        """
        try:
            parent, name = self.parent(file.path)
            now = os.stat(name, dir_fd=parent, follow_symlinks=False)
            seen = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
            if seen != (self._device, file.inode, file.size, file.mtime_ns) or not stat.S_ISREG(now.st_mode):
                return False
            os.unlink(name, dir_fd=parent)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
        return True

    def parent(self, path: str) -> tuple[int, str]:
        """The open directory of a path, until the next call of this kind, and the last part of the path.

        Raises:
            OSError: There is no such directory any more.
        """
        directory, _, name = path.rpartition("/")
        return self._open_parent(directory), name

    def remove_empty(self, directories: Iterable[str]) -> int:
        """Remove those of the directories that are empty, and their parents that become empty.

        Returns:
            How many directories were removed.
        """
        removed = 0
        self._forget_parent()
        for directory in directories:
            while directory:
                above, _, name = directory.rpartition("/")
                try:
                    parent = self._open(above)
                except OSError:
                    break
                try:
                    os.rmdir(name, dir_fd=parent)
                except OSError:  # not empty, mostly; whatever it is, an empty directory may stay
                    break
                finally:
                    os.close(parent)
                removed += 1
                directory = above
        return removed

    def _enter(self, levels: list[_Level], name: str, tally: Tally) -> _Level | None:
        """List a directory below; None when it is on another file system."""
        if len(levels) >= MAX_DEPTH:
            raise OSError(errno.ENAMETOOLONG, f"nested deeper than {MAX_DEPTH} directories")
        level = _Level(levels[-1].fd, name, f"{levels[-1].prefix}{name}/")
        if os.fstat(level.fd).st_dev == self._device:
            return level
        level.close()
        tally.other_fs += 1
        return None

    def _open(self, directory: str) -> int:
        fd = os.dup(self._root)
        try:
            for name in filter(None, directory.split("/")):
                below = os.open(name, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
        except OSError:
            os.close(fd)
            raise
        return fd

    def _open_parent(self, directory: str) -> int:
        """Open a directory and keep it open: the next file mostly lies in the same one."""
        if self._parent is None or self._parent[0] != directory:
            self._forget_parent()
            self._parent = (directory, self._open(directory))
        return self._parent[1]

    def _forget_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None


class _Level:
    """A directory that is being listed."""

    def __init__(self, parent: int, name: str, prefix: str) -> None:
        self.prefix = prefix
        self.fd = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            self._entries = os.scandir(self.fd)
        except OSError:
            os.close(self.fd)
            raise

    def next_entry(self, tally: Tally) -> os.DirEntry[str] | None:
        """The next entry; None at the end, or when the rest cannot be read."""
        try:
            return next(self._entries, None)
        except OSError as error:
            tally.on_error(self.prefix.rstrip("/") or ".", error)
            return None

    def close(self) -> None:
        """Give both descriptors back."""
        self._entries.close()
        os.close(self.fd)

"""Compressing one file so that at every moment one whole copy of it has a name."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Literal, cast

import attrs

from cgjobs import Discard
from cgjobs_cleanup.open_files import alone_with
from cgjobs_cleanup.tree import File

Codec = Literal["gzip", "zstd"]
SUFFIX = {"gzip": ".gz", "zstd": ".zst"}
_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Busy(Exception):
    """Somebody has the file open."""


class Changed(Exception):
    """The file is not the one that was listed, or was written to meanwhile."""


@attrs.frozen
class Packer:
    """Compresses files below open directories.

    Args:
        codec: ``gzip``, or ``zstd``, which needs Python 3.14 or the extra ``zstd``.
        tick: Called after each megabyte or so; what it raises ends the work, and nothing is left behind.
        may: Asked with what `alone_with` said whether the file counts as closed.
    """

    codec: Codec
    tick: Callable[[], None]
    may: Callable[[bool | None], bool]

    def pack(self, parent: int, name: str, file: File) -> File:
        """Replace a file by its compressed copy, which has its mode, owner and time of writing.

        The copy is written beside it, forced to the disk, read back and compared, before it gets its name;
        only then the original goes, unless somebody wrote to it.

        Args:
            parent: The open directory.
            name: The file's name in it.
            file: The file as it was listed.

        Returns:
            The compressed file.

        Raises:
            Busy: Somebody has it open; nothing is changed.
            Changed: It is another file than the one listed, or was written to; nothing is changed.
            OSError: It could not be read or written; nothing is changed. ``EEXIST``: there is a file with the
                compressed file's name and other contents.
        """
        target = name + SUFFIX[self.codec]
        source = os.open(name, _READ, dir_fd=parent)
        try:
            with self._closed(parent, name, source, file):
                pass
            if not self._is_packed_already(parent, source, target):
                self._write(parent, name, source, file)
            try:
                with self._closed(parent, name, source, file):
                    os.unlink(name, dir_fd=parent)
            except BaseException:
                os.unlink(target, dir_fd=parent)  # one copy must go, and the original has more in it
                raise
            made = os.stat(target, dir_fd=parent, follow_symlinks=False)
            path = file.path + SUFFIX[self.codec]
            return File(made.st_mtime_ns, path, made.st_size, made.st_ino, made.st_nlink)
        finally:
            os.close(source)

    @contextlib.contextmanager
    def _closed(self, parent: int, name: str, source: int, file: File) -> Iterator[None]:
        """Around what may only happen while the file is as it was listed, and nobody has it open."""
        with alone_with(source) as alone:
            if not self.may(alone):
                raise Busy
            named, now = os.stat(name, dir_fd=parent, follow_symlinks=False), os.fstat(source)
            if not stat.S_ISREG(now.st_mode) or not os.path.samestat(named, now):
                raise Changed
            if (now.st_ino, now.st_size, now.st_mtime_ns) != (file.inode, file.size, file.mtime_ns):
                raise Changed
            yield

    def _is_packed_already(self, parent: int, source: int, target: str) -> bool:
        """Whether a run before this one died after it had given the copy its name."""
        try:
            found = os.open(target, _READ, dir_fd=parent)
        except FileNotFoundError:
            return False
        try:
            same = self._read_packed(found) == self._copy(source, None)
        except (EOFError, ValueError, gzip.BadGzipFile, self._broken()):
            same = False
        finally:
            os.close(found)
        if not same:
            raise FileExistsError(errno.EEXIST, "has other contents", target)
        return True

    def _write(self, parent: int, name: str, source: int, file: File) -> None:
        target = name + SUFFIX[self.codec]
        part = f"{target}.part"
        _remove_leftover(parent, part)
        made = os.open(part, _MAKE, 0o600, dir_fd=parent)
        try:
            with open(made, "wb", closefd=False) as raw, self._packing(raw) as packing:
                length, digest = self._copy(source, packing)
            _dress(made, os.fstat(source))
            os.fsync(made)
            if self._read_packed(made) != (length, digest):
                raise OSError(errno.EIO, "reads back as something else", part)
            with self._closed(parent, name, source, file):
                _name(parent, part, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=parent)
            raise
        finally:
            os.close(made)
        os.fsync(parent)

    def _copy(self, source: int, packing: IO[bytes] | None) -> tuple[int, bytes]:
        os.lseek(source, 0, os.SEEK_SET)
        length, digest = 0, hashlib.blake2b()
        while chunk := os.read(source, _CHUNK):
            length += len(chunk)
            digest.update(chunk)
            if packing:
                packing.write(chunk)
            self.tick()
        return length, digest.digest()

    def _read_packed(self, fd: int) -> tuple[int, bytes]:
        os.lseek(fd, 0, os.SEEK_SET)
        length, digest = 0, hashlib.blake2b()
        with open(fd, "rb", closefd=False) as raw, self._unpacking(raw) as unpacking:
            while chunk := unpacking.read(_CHUNK):
                length += len(chunk)
                digest.update(chunk)
                self.tick()
        return length, digest.digest()

    def _packing(self, raw: IO[bytes]) -> IO[bytes]:
        if self.codec == "gzip":
            return cast(
                IO[bytes], gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0)
            )
        zstd = load_zstd()
        options = {zstd.CompressionParameter.checksum_flag: True}
        return cast(IO[bytes], zstd.ZstdFile(raw, "wb", options=options))

    def _unpacking(self, raw: IO[bytes]) -> IO[bytes]:
        if self.codec == "gzip":
            return cast(IO[bytes], gzip.GzipFile(mode="rb", fileobj=raw))
        return cast(IO[bytes], load_zstd().ZstdFile(raw, "rb"))

    def _broken(self) -> type[Exception]:
        return cast(type[Exception], load_zstd().ZstdError) if self.codec == "zstd" else zlib.error


def load_zstd() -> Any:
    """The module for zstd: Python's own from 3.14 on, the same by the same author before.

    Raises:
        Discard: There is none.
    """
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd
    try:
        from backports import zstd
    except ImportError:
        raise Discard(
            "codec zstd needs Python 3.14, or pip install 'chatgenius-jobs-cleanup[zstd]'; "
            "codec gzip is always there"
        ) from None
    return zstd


def _remove_leftover(parent: int, part: str) -> None:
    """Remove what a run that was killed left behind; another run at work has it open."""
    try:
        left = os.open(part, _READ, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        with alone_with(left) as alone:
            if alone is False:
                raise Busy
            os.unlink(part, dir_fd=parent)
    finally:
        os.close(left)


def _dress(made: int, like: os.stat_result) -> None:
    with contextlib.suppress(PermissionError):  # only root may give files away
        os.fchown(made, like.st_uid, like.st_gid)
    os.fchmod(made, stat.S_IMODE(like.st_mode))
    os.utime(made, ns=(like.st_atime_ns, like.st_mtime_ns))  # else its age would begin anew


def _name(parent: int, part: str, target: str) -> None:
    """Give the finished copy its name; unlike a rename, a link replaces nothing."""
    try:
        os.link(part, target, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(part, target, src_dir_fd=parent, dst_dir_fd=parent)
    else:
        os.unlink(part, dir_fd=parent)

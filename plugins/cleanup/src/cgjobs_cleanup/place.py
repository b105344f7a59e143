"""Where the files of ChatGenius' table ``files`` lie: a tree or a bucket, and the URLs that the table has."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote

import attrs

from cgjobs_cleanup.bucket import Bucket, Entry
from cgjobs_cleanup.tree import File, Tally, Tree

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Item(NamedTuple):
    """A file of a tree, or an object of a bucket.

    Args:
        path: Where it is below the root.
        modified: When it was last written; None when only the path is known.
        size: In bytes.
        found: As it was listed.
    """

    path: str
    modified: datetime | None
    size: int
    found: File | Entry | None = None


@attrs.frozen
class Gone:
    """What became of an item.

    Args:
        item: Which.
        code: Why it stays; empty when it is gone, or was not there.
        marked: Whether it was only hidden, since its bucket keeps versions.
        changed: Whether it stays because it was written since it was listed.
    """

    item: Item
    code: str = ""
    marked: bool = False
    changed: bool = False


class Place(Protocol):
    """A tree or a bucket."""

    def items(self) -> Iterator[Item]:
        """All that is there."""

    def remove(self, items: Sequence[Item]) -> list[Gone]:
        """Delete up to 1,000 items, with an answer for each."""


class BucketPlace:
    """A bucket, or what is below a prefix of it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def items(self) -> Iterator[Item]:
        """The current objects."""
        for entry in self._bucket.objects():
            yield Item(entry.path, entry.modified, entry.size, entry)

    def remove(self, items: Sequence[Item]) -> list[Gone]:
        """One request."""
        entries = [
            item.found if isinstance(item.found, Entry) else Entry(_EPOCH, item.path, item.size, "")
            for item in items
        ]
        answers = self._bucket.delete(entries)
        return [
            Gone(item, "" if answer.changed else answer.code, answer.marked, answer.changed)
            for item, answer in zip(items, answers, strict=True)
        ]


class TreePlace:
    """A directory tree."""

    def __init__(self, tree: Tree, tally: Tally) -> None:
        self._tree, self._tally = tree, tally

    def items(self) -> Iterator[Item]:
        """Its regular files."""
        for file in self._tree.files(lambda path: True, lambda path: True, self._tally):
            at = _EPOCH + timedelta(microseconds=file.mtime_ns // 1_000)
            yield Item(file.path, at, file.size, file)

    def remove(self, items: Sequence[Item]) -> list[Gone]:
        """One by one."""
        return [self._remove(item) for item in items]

    def _remove(self, item: Item) -> Gone:
        try:
            file = item.found if isinstance(item.found, File) else self._tree.find(item.path)
            if file is None:
                return Gone(item)
            return Gone(item, changed=not self._tree.delete(file))
        except OSError as error:
            return Gone(item, errno.errorcode.get(error.errno or 0, "EUNKNOWN"))


class Addresses:
    """Which URL means which path below a root.

    Args:
        prefixes: What URLs of files below the root begin with; the first that fits counts.
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = tuple(dict.fromkeys(prefixes))

    def path(self, url: str) -> str | None:
        """The path of a URL; None when it lies elsewhere, or is none that can be trusted."""
        for prefix in self._prefixes:
            if url.startswith(prefix):
                path = url[len(prefix) :]
                if _is_encoded(prefix):
                    path = unquote(path.partition("?")[0].partition("#")[0])
                parts = path.split("/")
                if "\0" in path or "\\" in path or any(part in ("", ".", "..") for part in parts):
                    return None
                return path
        return None

    def urls(self, path: str) -> tuple[str, ...]:
        """All URLs that may mean this path."""
        found = [prefix + path for prefix in self._prefixes]
        found += [prefix + quote(path) for prefix in self._prefixes if _is_encoded(prefix)]
        return tuple(dict.fromkeys(found))


def _is_encoded(prefix: str) -> bool:
    return "://" in prefix and not prefix.startswith("s3://")

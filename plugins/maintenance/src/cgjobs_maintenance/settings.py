"""The table ``[plugins.maintenance]``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import attrs

from cgjobs_maintenance.cache_keys import check_prefix
from cgjobs_maintenance.payloads import Cache, Vacuum

_SCHEMES = ("redis", "rediss", "unix")


@attrs.frozen
class CacheTarget:
    """One cache: in a Redis or Valkey server, or in a directory.

    Args:
        url: Where the server is: ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads them. Of a
            cluster any node will do.
        prefixes: What the cache's keys begin with; a payload's pattern must begin with one of these.
        protected: Further prefixes of keys that are left alone, besides the queue's own.
        directory: The directory of a cache of files.
    """

    url: str | None = attrs.field(default=None, repr=False)
    prefixes: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    directory: Path | None = None

    @url.validator
    def _known_scheme(self, attribute: attrs.Attribute[str | None], value: str | None) -> None:
        if value is not None and urlsplit(value).scheme not in _SCHEMES:
            raise ValueError(f"a cache's url begins with {', '.join(f'{name}://' for name in _SCHEMES)}")

    def __attrs_post_init__(self) -> None:
        if (self.url is None) == (self.directory is None):
            raise ValueError("a cache has either a url or a directory")
        if self.directory is not None and (self.prefixes or self.protected):
            raise ValueError("a cache in a directory has no prefixes; they are for keys in Redis")
        if self.url is not None and not self.prefixes:
            raise ValueError('a cache in Redis needs its prefixes, such as ["chatgenius:"]')
        for prefix in self.prefixes:
            check_prefix(prefix)


@attrs.frozen
class Weekly:
    """What the schedule enqueues: payloads as they are written here.

    Args:
        vacuum: Not set: a vacuum of each database, as it is without further fields.
        cache: None unless written.
    """

    vacuum: tuple[Vacuum, ...] | None = None
    cache: tuple[Cache, ...] = ()


@attrs.frozen
class Settings:
    """What is maintained: a payload names one thing of these tables and can reach nothing else.

    Args:
        databases: The files of SQLite databases by name. A symbolic link is followed: whoever writes this
            table decides what it leads to.
        caches: The caches by name.
        weekly: What the schedule enqueues.
    """

    databases: dict[str, Path] = attrs.field(factory=dict)
    caches: dict[str, CacheTarget] = attrs.field(factory=dict)
    weekly: Weekly = attrs.field(factory=Weekly)

    def __attrs_post_init__(self) -> None:
        for cache in self.weekly.cache:
            if cache.target not in self.caches:
                known = ", ".join(self.caches) or "none"
                raise ValueError(
                    f"weekly.cache names {cache.target!r}, which is no cache; there are: {known}"
                )

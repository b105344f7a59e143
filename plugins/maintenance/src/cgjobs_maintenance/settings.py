"""The table ``[plugins.maintenance]``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs

from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance.cache_keys import check_prefix
from cgjobs_maintenance.payloads import Cache, Reindex, Vacuum

CHATGENIUS = "chatgenius"
"""The database of ``[plugins.data]``, unless the settings have one of this name."""

_SCHEMES = ("redis", "rediss", "unix")
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,99}\Z")


def _as_text(databases: Mapping[str, str | Path]) -> dict[str, str]:
    return {name: str(place) for name, place in databases.items()}


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
class SearchTarget:
    """An alias on Elasticsearch or OpenSearch, and what its index holds.

    Args:
        url: Where the server is, ``https://`` or ``http://``.
        entity: ChatGenius' table whose rows it holds, by its name in ``[plugins.data.tables]``.
        alias: What searches use; empty: the entity's name. Indexes are ``<alias>_v<time>``.
        fields: The entity's columns that become fields; empty: all. ``deleted_at`` is none: deleted rows are
            left out.
        mapping: A JSON file with ``mappings`` and ``settings`` of a new index; None: the present one's.
        username, password: For HTTP basic authentication.
        api_key: In their place.
    """

    url: str = attrs.field()
    entity: Literal["messages", "users", "files"] = "messages"
    alias: str = attrs.field(default="")
    fields: tuple[str, ...] = ()
    mapping: Path | None = None
    username: str = ""
    password: str | None = attrs.field(default=None, repr=False)
    api_key: str | None = attrs.field(default=None, repr=False)

    @url.validator
    def _web(self, attribute: attrs.Attribute[str], value: str) -> None:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the url of a search server begins with https:// or http://")
        if parts.password:
            raise ValueError("write username and password beside the url, not in it")

    @alias.validator
    def _plain(self, attribute: attrs.Attribute[str], value: str) -> None:
        if value and not _ALIAS.match(value):
            raise ValueError(f"alias {value!r} must be a-z, 0-9, _ and -, a letter first, at most 100")

    def shape(self) -> dict[str, Any]:
        """What `mapping` has."""
        assert self.mapping is not None, "asked for when there is one"
        found: dict[str, Any] = json.loads(self.mapping.read_text("utf-8"))
        return found


@attrs.frozen
class Weekly:
    """What the schedule enqueues: payloads as they are written here.

    Args:
        vacuum: Not set: a vacuum of each database, as it is without further fields.
        reindex: None unless written.
        cache: None unless written.
    """

    vacuum: tuple[Vacuum, ...] | None = None
    reindex: tuple[Reindex, ...] = ()
    cache: tuple[Cache, ...] = ()


@attrs.frozen
class Settings:
    """What is maintained: a payload names one thing of these tables and can reach nothing else.

    Args:
        databases: Databases by name: the file of a SQLite database, from ``/``, or a URL as in
            ``[plugins.data] url``. A symbolic link is followed: whoever writes this table decides what it
            leads to. ``chatgenius``, when it is not here, is the database of ``[plugins.data]``.
        caches: The caches by name.
        search: Search indexes by name.
        weekly: What the schedule enqueues.
    """

    databases: dict[str, str] = attrs.field(factory=dict, converter=_as_text, repr=False)
    caches: dict[str, CacheTarget] = attrs.field(factory=dict)
    search: dict[str, SearchTarget] = attrs.field(factory=dict)
    weekly: Weekly = attrs.field(factory=Weekly)
    files: dict[str, Path] = attrs.field(init=False, repr=False)
    """The SQLite databases that were written as a path."""
    servers: dict[str, DataSettings] = attrs.field(init=False, repr=False)
    """Those that were written as a URL."""

    @databases.validator
    def _reachable(self, attribute: attrs.Attribute[dict[str, str]], value: dict[str, str]) -> None:
        for name, place in value.items():
            if "://" not in place and not place.startswith("/"):
                raise ValueError(
                    f"databases.{name} is neither a path from / nor a URL such as postgresql://host/name"
                )
            if "://" in place:
                try:
                    DataSettings(url=place)
                except ValueError as error:
                    raise ValueError(f"databases.{name} {error}") from None

    @files.default
    def _files(self) -> dict[str, Path]:
        return {name: Path(place) for name, place in self.databases.items() if "://" not in place}

    @servers.default
    def _servers(self) -> dict[str, DataSettings]:
        places = {name: place for name, place in self.databases.items() if "://" in place}
        return {name: _server(place) for name, place in places.items()}

    def __attrs_post_init__(self) -> None:
        databases = [*self.databases, CHATGENIUS]
        named = [("vacuum", "database", each.database, databases) for each in self.weekly.vacuum or ()]
        known = [*databases, *self.search]
        named += [("reindex", "database or search index", each.target, known) for each in self.weekly.reindex]
        named += [("cache", "cache", each.target, list(self.caches)) for each in self.weekly.cache]
        for key, noun, name, there in named:
            if name not in there:
                raise ValueError(
                    f"weekly.{key} names {name!r}, which is no {noun}; "
                    f"there are: {', '.join(there) or 'none'}"
                )
        if both := set(databases) & set(self.search):
            raise ValueError(f"{', '.join(sorted(both))} names a database and a search index; rename one")


def _server(url: str) -> DataSettings:
    try:
        return DataSettings(url=url)
    except ValueError:  # the validator says so
        return DataSettings()

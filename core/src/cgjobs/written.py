"""Settings as they were written: values in tables, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs


@attrs.frozen
class Source:
    """Where a setting was written: in a file, in an environment variable, or (neither) in code."""

    file: Path | None = None
    variable: str = ""

    @property
    def origin(self) -> str:
        """How people are told."""
        return f"environment {self.variable}" if self.variable else str(self.file or "code")

    @classmethod
    def parse(cls, origin: str | None) -> Source:
        """The source that has this origin."""
        if origin is None or origin == "code":
            return cls()
        if origin.startswith("environment "):
            return cls(variable=origin.removeprefix("environment "))
        return cls(file=Path(origin))

    def at(self, key: str) -> str:
        """The path of a fault at this dotted key."""
        if self.variable:
            return self.variable
        return f"{self.file}: {key}" if self.file else key


@attrs.frozen
class Written:
    """One value as it was written; None when it could not be had and a fault says so already."""

    value: object = attrs.field(repr=False)
    source: Source


@attrs.frozen
class Table:
    """A table of settings. Keys keep their spelling; ``keep-failed`` and ``keep_failed`` are one key."""

    source: Source = attrs.field(factory=Source)
    entries: dict[str, Written | Table] = attrs.field(factory=dict)

    def find(self, name: str) -> str | None:
        """The key with this name, as it is spelled here."""
        if name in self.entries:
            return name
        return next((key for key in self.entries if plain(key) == plain(name)), None)

    def get(self, *path: str) -> Written | Table | None:
        """What is at this path, or None."""
        here: Written | Table | None = self
        for name in path:
            key = here.find(name) if isinstance(here, Table) else None
            here = here.entries[key] if isinstance(here, Table) and key else None
        return here

    def put(self, path: tuple[str, ...], written: Written) -> None:
        """Set one value over what was there.

        A single value where a table belongs stays as it is: the reader refuses it.
        """
        name, *rest = path
        key = self.find(name) or name
        if not rest:
            self.entries[key] = written
            return
        below = self.entries.setdefault(key, Table(written.source))
        if isinstance(below, Table):
            below.put(tuple(rest), written)


def plain(name: str) -> str:
    """A key with kebab-case and snake_case made equal."""
    return name.replace("-", "_")


def write(value: object, source: Source) -> Written | Table:
    """A parsed TOML value together with its source."""
    if isinstance(value, Mapping):
        return Table(source, {str(key): write(item, source) for key, item in value.items()})
    return Written(value, source)


def unwrap(entry: Written | Table) -> object:
    """A value without its source."""
    if isinstance(entry, Table):
        return {key: unwrap(item) for key, item in entry.entries.items()}
    return entry.value

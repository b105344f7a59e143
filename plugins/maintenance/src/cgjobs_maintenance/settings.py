"""The table ``[plugins.maintenance]``."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen
class Settings:
    """Which databases are maintained.

    Args:
        databases: The files of SQLite databases by name; a payload names one and can reach nothing else. A
            symbolic link is followed: whoever writes this table decides what it leads to.
    """

    databases: dict[str, Path] = attrs.field(factory=dict)

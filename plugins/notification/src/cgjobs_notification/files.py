"""The embedded default of push and text messages: files. Everything works before a service is set up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson


class FileOutbox:
    """A directory with a JSON file for each message. The result says ``delivered`` false.

    Args:
        directory: Made, for its owner alone, when it is missing.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory

    def add(self, name: str, content: dict[str, Any]) -> Path:
        """Write a message: whole or not at all; the same name takes the place of an earlier one."""
        safe = "".join(character if character.isalnum() or character in "-_." else "_" for character in name)
        path = self._directory / f"{safe[:150]}.json"
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        partial.replace(path)
        return path

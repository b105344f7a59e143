"""What several tables of settings check."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
from platformdirs import user_state_path


def positive(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is not above zero."""
    if value <= type(value)(0):
        raise ValueError(f"{attribute.name} is {value}; it must be above zero")


def web_address(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    """Refuse what is no ``https`` URL, or ``http`` on this machine."""
    try:
        parts = urlsplit(value)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError as error:
        raise ValueError(f"{attribute.name} is no URL: {error}") from error
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ValueError(f"{attribute.name} is {value!r}; write https://host (http only to this machine)")


def state_directory(name: str) -> Path:
    """A directory of this plugin's under the user's state directory."""
    return user_state_path("cgjobs") / name

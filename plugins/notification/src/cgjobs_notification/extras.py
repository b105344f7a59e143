"""Libraries that only some channels need: imported when they are, and named when they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from cgjobs import Discard


def library(name: str, extra: str) -> ModuleType:
    """Import a library of an extra.

    Args:
        name: The module.
        extra: The extra of this distribution that brings it.

    Raises:
        Discard: It is not installed here; says how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise Discard(
            f"{error.name or name} is not installed: pip install 'chatgenius-jobs-notification[{extra}]'"
        ) from error

"""Where ChatGenius' data is: what the job plugins share.

``Settings`` is imported at once and cheap; the rest brings SQLAlchemy with it when it is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from cgjobs import Command, Finding, hookimpl
from cgjobs_data.settings import Condition, Hold, Settings, StoreSettings, held_at

if TYPE_CHECKING:
    from cgjobs_data.database import Database
    from cgjobs_data.diagnosis import failure, failures, sqlstate
    from cgjobs_data.entity import Entity
    from cgjobs_data.lending import Autocommit, Notice
    from cgjobs_data.reflection import MissingTable
    from cgjobs_data.store import Store, Stored, open_store

__all__ = [
    "Autocommit",
    "Condition",
    "Database",
    "Entity",
    "Hold",
    "MissingTable",
    "Notice",
    "Settings",
    "Store",
    "StoreSettings",
    "Stored",
    "failure",
    "failures",
    "held_at",
    "open_store",
    "sqlstate",
]
_LATER = {
    "Autocommit": "lending",
    "Database": "database",
    "Entity": "entity",
    "MissingTable": "reflection",
    "Notice": "lending",
    "Store": "store",
    "Stored": "store",
    "failure": "diagnosis",
    "failures": "diagnosis",
    "open_store": "store",
    "sqlstate": "diagnosis",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"cgjobs_data.{_LATER[name]}"), name)
    raise AttributeError(f"module 'cgjobs_data' has no attribute {name!r}")


@hookimpl
def cgjobs_settings() -> type[Settings]:
    """The table ``[plugins.data]``."""
    return Settings


@hookimpl
def cgjobs_checks(settings: Callable[[type[Any]], Any]) -> Iterable[Finding]:
    """The connection, the tables that the preset expects, the companion tables, the stores."""
    from cgjobs_data.checks import check

    return check(settings(Settings))


@hookimpl
def cgjobs_commands() -> list[Command]:
    """``cgjobs data``."""
    return [Command("data", "cgjobs_data.cli:app", "Check, prepare or seed the database that the jobs use.")]

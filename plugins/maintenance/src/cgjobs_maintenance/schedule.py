"""What the weekly schedule enqueues."""

from __future__ import annotations

from cgjobs import Discard, Slot
from cgjobs_maintenance.payloads import Vacuum
from cgjobs_maintenance.settings import Settings


def weekly(slot: Slot) -> list[Vacuum]:
    """One `Vacuum` for each database.

    Raises:
        Discard: None is configured.
    """
    databases = slot.settings(Settings).databases
    if not databases:
        raise Discard('no database is configured; set [plugins.maintenance.databases] app = "/path/app.db"')
    return [Vacuum(name) for name in databases]

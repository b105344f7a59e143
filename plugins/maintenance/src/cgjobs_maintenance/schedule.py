"""What the weekly schedule enqueues."""

from __future__ import annotations

from cgjobs import Discard, Slot
from cgjobs_maintenance.payloads import Cache, Vacuum
from cgjobs_maintenance.settings import Settings


def weekly(slot: Slot) -> list[Vacuum | Cache]:
    """What ``[plugins.maintenance.weekly]`` says; without its ``vacuum`` one `Vacuum` for each database.

    Raises:
        Discard: That is nothing.
    """
    settings = slot.settings(Settings)
    vacuums = settings.weekly.vacuum
    if vacuums is None:
        vacuums = tuple(Vacuum(name) for name in settings.databases)
    payloads: list[Vacuum | Cache] = [*vacuums, *settings.weekly.cache]
    if not payloads:
        raise Discard(
            'nothing is configured; set [plugins.maintenance.databases] app = "/path/app.db", '
            "or write jobs as [[plugins.maintenance.weekly.cache]] and the like"
        )
    return payloads

"""What the weekly schedule enqueues."""

from __future__ import annotations

from cgjobs import Discard, Slot
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance.payloads import Cache, Reindex, Vacuum
from cgjobs_maintenance.settings import CHATGENIUS, Settings


def weekly(slot: Slot) -> list[Vacuum | Reindex | Cache]:
    """What ``[plugins.maintenance.weekly]`` says; without its ``vacuum`` one `Vacuum` for each database.

    Raises:
        Discard: That is nothing.
    """
    settings = slot.settings(Settings)
    vacuums = settings.weekly.vacuum
    if vacuums is None:
        names = list(settings.databases)
        if slot.settings(DataSettings).url and CHATGENIUS not in names:
            names.append(CHATGENIUS)
        vacuums = tuple(Vacuum(name) for name in names)
    payloads: list[Vacuum | Reindex | Cache] = [*vacuums, *settings.weekly.reindex, *settings.weekly.cache]
    if not payloads:
        raise Discard(
            'nothing is configured; set [plugins.maintenance.databases] app = "/path/app.db", '
            "or write jobs as [[plugins.maintenance.weekly.cache]] and the like"
        )
    return payloads

"""The handler of each subtype."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from cgjobs import Context, Discard, subtype
from cgjobs_maintenance.payloads import Vacuum
from cgjobs_maintenance.results import VacuumResult
from cgjobs_maintenance.settings import Settings
from cgjobs_maintenance.vacuuming import Vacuuming


@subtype("maintenance.vacuum")
def vacuum(payload: Vacuum, ctx: Context) -> VacuumResult:
    """Give a database's unused space back to the disk."""
    path = _locate(payload.database, ctx.settings(Settings))
    return Vacuuming(path, payload, ctx, clock=time.monotonic, free_space=_free_space).run()


def _locate(name: str, settings: Settings) -> Path:
    configured = settings.databases.get(name)
    if configured is None:
        known = ", ".join(settings.databases) or "none"
        raise Discard(f"no database is named {name!r} in [plugins.maintenance] databases; there are: {known}")
    path = configured.resolve()  # once, so that everything after it is about one and the same file
    if not path.is_file():
        raise Discard(
            f"database {name!r} is configured as '{configured}', where no file is; "
            f"correct [plugins.maintenance.databases] {name}, or create it with its application"
        )
    return path


def _free_space(directory: Path) -> int:
    return shutil.disk_usage(directory).free

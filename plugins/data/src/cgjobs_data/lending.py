"""Lends a connection for a block: set up on its terms, watched, ended in order however the block ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import attrs
from sqlalchemy import Connection, Engine

from cgjobs_data.terms import KEEPERS, Keeper, Terms

_LOOK_EVERY = 0.5


@attrs.frozen
class Notice:
    """What PostgreSQL says beside a result.

    Args:
        severity: ``WARNING``, ``NOTICE``, ``INFO`` and the like.
        sqlstate: Its code.
        message: Its words.
        detail: More words.
    """

    severity: str
    sqlstate: str
    message: str
    detail: str = ""


if TYPE_CHECKING:

    class Autocommit(Connection):
        """A connection without a transaction.

        Attributes:
            notices: What PostgreSQL said beside results since the block began; empty elsewhere.
        """

        notices: list[Notice]
else:
    Autocommit = Connection


@contextmanager
def lend(engine: Engine, terms: Terms, look: Callable[[], object] | None) -> Iterator[Autocommit]:
    """Lend a connection of ``engine`` on these terms.

    Args:
        engine: Whose.
        terms: On what terms.
        look: Called twice a second from another thread; what it raises stops the statement that runs and
            leaves the block.
    """
    keeper = KEEPERS[engine.dialect.name]
    with engine.connect() as connection:
        try:
            keeper.before(connection, terms)
            transaction = connection.begin()  # SQLite may refuse here, when somebody else writes
            keeper.begun(connection, terms)
            with _noticed(connection), _watched(connection, keeper, look):
                yield cast("Autocommit", connection)
            transaction.commit()
        except BaseException as error:
            _abandon(connection, keeper, error)
            raise
        finally:
            _give_back(connection, keeper, terms)


@contextmanager
def _noticed(connection: Connection) -> Iterator[None]:
    notices: list[Notice] = []
    connection.notices = notices  # type: ignore[attr-defined]
    raw: Any = connection.connection.driver_connection
    if not hasattr(raw, "add_notice_handler"):
        yield
        return

    def hear(diagnostic: Any) -> None:
        notices.append(
            Notice(
                diagnostic.severity_nonlocalized or diagnostic.severity or "",
                diagnostic.sqlstate or "",
                diagnostic.message_primary or "",
                diagnostic.message_detail or "",
            )
        )

    raw.add_notice_handler(hear)
    try:
        yield
    finally:
        raw.remove_notice_handler(hear)


@contextmanager
def _watched(connection: Connection, keeper: Keeper, look: Callable[[], object] | None) -> Iterator[None]:
    if look is None:
        yield
        return
    watch = _Watch(connection, keeper, look)
    with watch:
        yield


class _Watch:
    """Looks twice a second whether the block shall end, and stops its statement when so."""

    def __init__(self, connection: Connection, keeper: Keeper, look: Callable[[], object]) -> None:
        self._connection, self._keeper, self._look = connection, keeper, look
        self._ended = threading.Event()
        self._reason: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="cgjobs-data-watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._reason is not None and (error is None or isinstance(error, Exception)):
            raise self._reason from error

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_EVERY):
            if self._reason is None:
                try:
                    self._look()
                except BaseException as reason:  # JobCancelled is none of Exception's
                    self._reason = reason
            if self._reason is not None:  # again and again: between two statements it would meet nothing
                with contextlib.suppress(Exception):
                    self._keeper.cancel(self._connection)


def _abandon(connection: Connection, keeper: Keeper, error: BaseException) -> None:
    """Roll back, or give the connection up when it cannot be."""
    if connection.invalidated or connection.closed:
        return
    try:
        if keeper.usable(connection, error):
            connection.rollback()
            return
    except Exception:  # noqa: S110 - the error that led here is the one to tell
        pass
    connection.invalidate()


def _give_back(connection: Connection, keeper: Keeper, terms: Terms) -> None:
    if connection.invalidated or connection.closed:
        return
    try:
        keeper.after(connection, terms)
    except Exception:
        connection.invalidate()

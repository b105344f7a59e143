"""A user's id to the user's address."""

from __future__ import annotations

import contextlib
import sqlite3

from cgjobs import Discard, Retry
from cgjobs_notification.settings import Users


class UserGone(Exception):
    """The user is soft-deleted: nobody to write to, and nothing wrong."""


def address_of(user_id: str, users: Users) -> str:
    """Look up the address of one user.

    Raises:
        UserGone: The user is soft-deleted.
        Discard: There is no such user, the user has no address, or the database is not as configured.
        Retry: The database is busy.
    """
    # Qualified on purpose: SQLite reads a lone "name" that is no column as a text.
    deleted = f'u."{users.deleted_at}"' if users.deleted_at else "NULL"
    query = f'SELECT u."{users.email}", {deleted} FROM "{users.table}" AS u WHERE u."{users.id}" = ?'  # noqa: S608
    try:
        uri = f"{users.database.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1)) as db:
            row = db.execute(query, (user_id,)).fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Retry(f"{users.database} is busy") from error
        raise Discard(f"{users.database}: {error}; see [plugins.notification.users]") from error
    if row is None:
        raise Discard(f"no user {user_id!r} in {users.database}")
    address, deleted_at = row
    if deleted_at is not None:
        raise UserGone(user_id)
    if not address:
        raise Discard(f"user {user_id!r} has no address")
    return str(address)

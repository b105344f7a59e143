"""What ChatGenius' tables are called here, and what they are called in the versions of its schema.

A plugin asks for a logical table and its logical columns (``messages``, ``author``); a preset says what they
are named in a database (``messages``, ``user_id``), and ``[plugins.data.tables]`` overrides it name by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import attrs

Preset = Literal["chatgenius-head", "chatgenius-db-f-001", "demo", "none"]
TimeFormat = Literal["timestamptz", "utc", "epoch_s", "epoch_ms", "iso8601"]
TIME_FORMATS: Final[tuple[str, ...]] = get_args(TimeFormat)

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "users": ("id", "email", "name", "phone", "locale", "timezone", "role", "deleted_at"),
    "channels": ("id", "name", "type", "archived_at", "created_at", "deleted_at"),
    "members": ("channel", "user"),
    "messages": (
        "id",
        "channel",
        "author",
        "body",
        "thread",
        "created_at",
        "deleted_at",
        "pinned",
        "reactions",
    ),
    "reactions": ("id", "message", "user", "emoji", "created_at"),
    "files": ("id", "message", "user", "name", "type", "size", "url", "created_at", "deleted_at"),
    "sessions": ("id", "data", "expires_at"),
    "audit": ("id", "at", "actor", "action", "target", "detail", "hash"),
}
"""The logical columns of each logical table. Whether a database has them is another question."""


@attrs.frozen
class TableNames:
    """What one logical table is called in a database.

    Args:
        table: Its name there.
        columns: Names of its columns, by logical name; those that it lacks are absent.
        time: How it holds times.
    """

    table: str
    columns: Mapping[str, str]
    time: TimeFormat = "timestamptz"


def _same(name: str, **renamed: str) -> dict[str, str]:
    return {column: column for column in COLUMNS[name] if column not in ("phone", "pinned")} | renamed


_USERS = TableNames(
    "users",
    {"id": "id", "email": "email", "name": "username"} | {name: name for name in ("role", "deleted_at")},
)
_CHANNELS = TableNames("channels", _same("channels"))
_MEMBERS = TableNames("channel_members", {"channel": "channel_id", "user": "user_id"})
_MESSAGES = TableNames(
    "messages",
    {
        "id": "id",
        "channel": "channel_id",
        "author": "user_id",
        "body": "content",
        "thread": "thread_id",
        "created_at": "created_at",
        "deleted_at": "deleted_at",
    },
)
_REACTIONS = TableNames("reactions", _same("reactions", message="message_id", user="user_id"))
_FILES = TableNames("files", _same("files", message="message_id", user="user_id"))
_SESSIONS = TableNames("sessions", {"id": "sid", "data": "sess", "expires_at": "expire"}, "utc")
_DB_F_001 = {
    "users": _USERS,
    "channels": _CHANNELS,
    "members": _MEMBERS,
    "messages": _MESSAGES,
    "reactions": _REACTIONS,
    "files": _FILES,
}

PRESETS: Final[Mapping[str, Mapping[str, TableNames]]] = {
    "chatgenius-head": {
        "users": _USERS,
        "channels": _CHANNELS,
        "members": _MEMBERS,
        "messages": attrs.evolve(_MESSAGES, columns={**_MESSAGES.columns, "reactions": "reactions"}),
        "sessions": _SESSIONS,
    },
    "chatgenius-db-f-001": _DB_F_001,
    "demo": {
        name: attrs.evolve(names, time="iso8601")
        for name, names in {**_DB_F_001, "sessions": _SESSIONS}.items()
    },
    "none": {},
}
"""What each version of the schema has. ``audit`` is nowhere: it is our companion table unless mapped."""

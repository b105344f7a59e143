"""ChatGenius' tables in PostgreSQL, in two of its versions: one description, made into statements.

What is described are facts of github.com/brettdavies/ChatGenius: ``head`` is commit 701b932 (2025-01-20),
``db-f-001`` is d67ae69 (2025-01-14). Columns, keys, rules and indexes are as there, and triggers do what they
do there: they set ``updated_at``, send changed rows with ``NOTIFY``, and refuse changes of archived channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

Version = Literal["head", "db-f-001"]
_ID = "VARCHAR(26)"
_OWN_ID = {"id": f"{_ID} PRIMARY KEY"}
_ONE = f"{_ID} NOT NULL"  # of another table
_WORD = "VARCHAR(20) NOT NULL"
_NOW = "TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP"
_MADE = {"created_at": _NOW, "updated_at": _NOW}
_KEPT = {**_MADE, "deleted_at": "TIMESTAMPTZ"}
_NO_ACTION = "NO ACTION"


@attrs.frozen
class _Table:
    """One table.

    Args:
        columns: What stands behind each column's name.
        references: By column the table and what happens to the row when the other one is deleted.
        indexes: Columns, each with what stands behind it in its index.
        tells: Operations whose rows are sent, on the channel ``<told_as>_change``.
    """

    columns: Mapping[str, str]
    references: Mapping[str, tuple[str, str]] = attrs.field(factory=dict)
    indexes: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()
    told_as: str = ""


def _word(column: str, *words: str, default: str | None = None) -> dict[str, str]:
    """A column that holds one of a few words."""
    choice = f"{_WORD} CHECK ({column} IN ({', '.join(map(repr, words))}))"
    return {column: choice if default is None else f"{choice} DEFAULT {default!r}"}


_USERS = {
    "head": {
        "username": "VARCHAR(50) UNIQUE NOT NULL",
        "password": "VARCHAR(255) NOT NULL",
        "avatar_url": "TEXT",
        "role": f"{_WORD} DEFAULT 'user'",
        "totp_enabled": "BOOLEAN DEFAULT FALSE",
        "totp_secret": "TEXT",
        "backup_codes": "TEXT[] DEFAULT '{}'",
        "totp_verified_at": "TIMESTAMPTZ",
    },
    "db-f-001": {
        "auth0_id": "VARCHAR(128) UNIQUE NOT NULL",
        "username": "VARCHAR(50) NOT NULL",
        "full_name": "VARCHAR(100) NOT NULL",
        "avatar_url": "TEXT",
    },
}
_CHANNELS = _Table(
    {
        **_OWN_ID,
        "name": "VARCHAR(80) NOT NULL",
        "description": "TEXT",
        **_word("type", "public", "private", "dm"),
        "created_by": _ONE,
        "archived_at": "TIMESTAMPTZ",
        "archived_by": _ID,
        **_KEPT,
    },
    {"created_by": ("users", "RESTRICT"), "archived_by": ("users", _NO_ACTION)},
    ("name", "type", "created_by", "archived_at WHERE archived_at IS NULL"),
)
_MEMBERS = _Table(
    {
        **_OWN_ID,
        "channel_id": _ONE,
        "user_id": _ONE,
        **_word("role", "owner", "admin", "member"),
        **_KEPT,
    },
    {"channel_id": ("channels", "CASCADE"), "user_id": ("users", "CASCADE")},
    ("channel_id", "user_id", "role"),
    tells=("INSERT", "UPDATE", "DELETE"),
    told_as="channel_member",
)
_SESSIONS = _Table(
    {"sid": "VARCHAR PRIMARY KEY", "sess": "JSON NOT NULL", "expire": "TIMESTAMP(6) NOT NULL"},
    indexes=("expire",),
)
_REACTIONS = _Table(
    {
        **_OWN_ID,
        "message_id": _ONE,
        "user_id": _ONE,
        "emoji": "VARCHAR(32) NOT NULL",
        "created_at": _NOW,
    },
    {"message_id": ("messages", "CASCADE"), "user_id": ("users", "CASCADE")},
    ("message_id", "user_id", "emoji"),
    tells=("INSERT", "DELETE"),
    told_as="reaction",
)
_FILES = _Table(
    {
        **_OWN_ID,
        "message_id": _ONE,
        "user_id": _ONE,
        "name": "VARCHAR(255) NOT NULL",
        "type": "VARCHAR(100) NOT NULL",
        "size": "BIGINT NOT NULL",
        "url": "TEXT NOT NULL",
        **_KEPT,
    },
    {"message_id": ("messages", "CASCADE"), "user_id": ("users", "RESTRICT")},
    ("user_id", "message_id", "type"),
)
_SETTINGS = _Table(
    {
        **_OWN_ID,
        "user_id": _ONE,
        **_word("theme", "light", "dark", default="light"),
        "notifications": "JSONB NOT NULL DEFAULT '{}'",
        "muted_channels": f"{_ID}[]",
        "offline_sync": """JSONB NOT NULL DEFAULT '{"file_sync_days": 7, "message_sync_days": 7}'""",
        **_MADE,
    },
    {"user_id": ("users", "CASCADE")},
    ("user_id",),
)
_STATUS = _Table(
    {
        **_OWN_ID,
        "user_id": _ONE,
        **_word("presence", "online", "away", "offline", default="offline"),
        "status_text": "VARCHAR(100)",
        "status_emoji": "VARCHAR(32)",
        "status_expiry": "TIMESTAMPTZ",
        **_MADE,
    },
    {"user_id": ("users", "CASCADE")},
    ("user_id", "presence"),
    tells=("UPDATE",),
    told_as="user_status",
)
_READS = _Table(
    {**_OWN_ID, "user_id": _ONE, "channel_id": _ONE, "last_read_message_id": _ONE, **_MADE},
    {
        "user_id": ("users", "CASCADE"),
        "channel_id": ("channels", "CASCADE"),
        "last_read_message_id": ("messages", "CASCADE"),
    },
    ("user_id", "channel_id", "last_read_message_id"),
)
_SYNC = _Table(
    {
        **_OWN_ID,
        "user_id": _ONE,
        "channel_id": _ONE,
        "last_synced_at": _NOW,
        **_word("sync_type", "messages", "files", "reactions"),
        **_word("sync_status", "pending", "complete", "error", default="pending"),
        "error_details": "JSONB",
        **_MADE,
    },
    {"user_id": ("users", "CASCADE"), "channel_id": ("channels", "CASCADE")},
    ("user_id", "channel_id", "last_synced_at"),
)
_FUNCTIONS = (
    """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$""",
    """CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        PERFORM pg_notify(
            TG_ARGV[0], json_build_object('operation', TG_OP, 'record', row_to_json(NEW))::text
        );
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION refuse_archived() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        IF OLD.archived_at IS NOT NULL THEN RAISE 'channel % is archived', OLD.id; END IF;
        RETURN NEW;
    END $$""",
    # For each deleted file there is a trigger that does nothing yet.
    "CREATE FUNCTION file_deleted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
)


def _tables(version: Version) -> dict[str, _Table]:
    head = version == "head"
    users = _Table(
        {**_OWN_ID, "email": "VARCHAR(255) UNIQUE NOT NULL", **_USERS[version], **_KEPT},
        indexes=("email", "username") if head else ("email", "auth0_id", "username"),
    )
    messages = _Table(
        {
            **_OWN_ID,
            "channel_id": _ONE,
            "user_id": _ONE,
            "content": "TEXT NOT NULL",
            "thread_id": _ID,
            **({"reactions": "JSONB NOT NULL DEFAULT '{}'"} if head else {}),
            "edited": "BOOLEAN NOT NULL DEFAULT FALSE",
            **_KEPT,
        },
        {
            "channel_id": ("channels", "CASCADE"),
            "user_id": ("users", "RESTRICT"),
            "thread_id": ("messages", "CASCADE"),
        },
        ("channel_id", "user_id", "thread_id", "created_at"),
        tells=("INSERT", "UPDATE"),
        told_as="message",
    )
    both = {"users": users, "channels": _CHANNELS, "channel_members": _MEMBERS, "messages": messages}
    if head:
        return {**both, "sessions": _SESSIONS}
    return {
        **both,
        "reactions": _REACTIONS,
        "files": _FILES,
        "user_settings": _SETTINGS,
        "user_status": _STATUS,
        "message_reads": _READS,
        "sync_state": _SYNC,
    }


def tables(version: Version) -> Iterator[str]:
    """The statements that make the bare tables, to be filled fast."""
    for name, table in _tables(version).items():
        columns = ", ".join(f"{column} {definition}" for column, definition in table.columns.items())
        yield f"CREATE TABLE {name} ({columns})"


def keys_and_triggers(version: Version) -> Iterator[str]:
    """Those that make foreign keys, indexes and triggers of the filled tables."""
    yield from _FUNCTIONS
    for name, table in _tables(version).items():
        for column, (other, rule) in table.references.items():
            yield f"ALTER TABLE {name} ADD FOREIGN KEY ({column}) REFERENCES {other} (id) ON DELETE {rule}"
        for index in table.indexes:
            column, _, condition = index.partition(" ")
            yield f"CREATE INDEX idx_{name}_{column} ON {name} ({column}) {condition}"
        if "updated_at" in table.columns:
            yield _trigger(name, "touch", "BEFORE UPDATE", "touch()")
        for operation in table.tells:
            function = f"tell('{table.told_as}_change')"
            yield _trigger(name, f"tell_{operation.lower()}", f"AFTER {operation}", function)
    yield _trigger("channels", "refuse_archived", "BEFORE UPDATE", "refuse_archived()")
    if version == "db-f-001":
        yield _trigger("files", "file_deleted", "AFTER DELETE", "file_deleted()")


def _trigger(table: str, name: str, moment: str, function: str) -> str:
    return f"CREATE TRIGGER {name} {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION {function}"

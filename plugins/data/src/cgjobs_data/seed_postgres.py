"""ChatGenius' schema in PostgreSQL, in two of its versions, with the rows of `chat`."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
import psycopg
from psycopg import sql as words

from cgjobs_data.belongings import companions
from cgjobs_data.chat import DAY_MS, MESSAGES, Chat, Row, text
from cgjobs_data.chat_schema import Version, keys_and_triggers, tables
from cgjobs_data.seed import PREFIX, companion_ddl

_LINES = 2_000  # rows in one block of COPY
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_SPECIAL = re.compile(r"[\\\t\n\r]")
_PASSWORD = "$2b$10$demo.demo.demo.demo.demo.demo.demo.demo.demo.demo.de"  # noqa: S105 - of nobody: it is no hash


@attrs.frozen
class PostgresSummary:
    """What `seed_postgres` wrote.

    Args:
        version: Of ChatGenius' schema.
        tables: Rows of each table.
    """

    version: Version
    tables: dict[str, int]


def seed_postgres(
    url: str,
    *,
    version: Version = "head",
    users: int = 200,
    messages: int = 50_000,
    now: datetime | None = None,
    rng_seed: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> PostgresSummary:
    """Make ChatGenius' tables in an empty database and fill them, in one transaction.

    The rows come by COPY; foreign keys, indexes and triggers are made after them, which is several times as
    fast and sends no ``NOTIFY`` for each. The companion tables are made and filled too.

    Args:
        url: Of the database; libpq's form.
        version: ``head`` (2025-01-20) or ``db-f-001`` (2025-01-14, with reactions and files).
        users, messages, now, rng_seed: As for `cgjobs_data.seed.seed`.
        progress: Told how many messages were written.

    Raises:
        ValueError: One of the numbers is too small, or ``now`` is naive.
        psycopg.Error: The tables are there already, or the database refuses.
    """
    chat = Chat(users, messages, now or datetime.now(UTC), rng_seed)
    copied: dict[str, int] = {}
    with psycopg.connect(url) as db:
        db.execute("SET LOCAL TIME ZONE 'UTC'; SET LOCAL maintenance_work_mem = '256MB'")
        _execute(db, tables(version))

        def copy(table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
            copied[table] = _copy(db, table, columns, rows)

        _copy_people(copy, chat, version)
        _copy_messages(copy, chat, version, progress)
        _copy_rest(copy, chat, version)
        _execute(db, companion_ddl("postgresql"))
        for name, (columns, rows) in companions(chat).items():
            copy(f"{PREFIX}{name}", columns, rows)
        _execute(db, keys_and_triggers(version))
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("ANALYZE")
    return PostgresSummary(version, copied)


def _execute(db: psycopg.Connection[Any], statements: Iterable[str]) -> None:
    for statement in statements:
        db.execute(statement.encode())


_Copy = Callable[[str, Sequence[str], Iterable[Row]], None]


def _copy_people(copy: _Copy, chat: Chat, version: Version) -> None:
    def users() -> Iterator[Row]:
        for user, email, name, role, created, updated, deleted in chat.users:
            handle = str(email).partition("@")[0]
            if version == "head":
                yield user, email, handle, _PASSWORD, role, created, updated, deleted
            else:
                yield user, email, handle, f"auth0|{user}", name, created, updated, deleted

    own = ("password", "role") if version == "head" else ("auth0_id", "full_name")
    copy("users", ("id", "email", "username", *own, "created_at", "updated_at", "deleted_at"), users())
    copy(
        "channels",
        ("id", "name", "type", "created_by", "archived_at", "created_at", "updated_at", "deleted_at"),
        ((*row[:6], row[5], row[6]) for row in chat.channel_rows()),
    )
    copy(
        "channel_members",
        ("id", "channel_id", "user_id", "role", "created_at", "updated_at"),
        ((chat.ulid(chat.start), *row, row[3]) for row in chat.member_rows()),
    )


def _copy_messages(copy: _Copy, chat: Chat, version: Version, progress: Callable[[int], object]) -> None:
    columns = MESSAGES[1:]  # without the integer key that SQLite's table has

    def rows() -> Iterator[Row]:
        reactions = chat.reactions
        for row in chat.messages():
            if row[0] % 10_000 == 0:  # type: ignore[operator]
                progress(row[0])  # type: ignore[arg-type]
            if version == "db-f-001":
                yield row[1:]
            elif reactions:
                yield *row[1:], json.dumps({str(reaction[3]): [reaction[2]] for reaction in reactions})
                reactions.clear()
            else:
                yield *row[1:], "{}"

    copy("messages", columns if version == "db-f-001" else [*columns, "reactions"], rows())


def _copy_rest(copy: _Copy, chat: Chat, version: Version) -> None:
    rng, now = chat.rng, chat.now
    if version == "head":
        copy(
            "sessions",
            ("sid", "sess", "expire"),
            (
                (f"{rng.getrandbits(128):032x}", json.dumps({"userId": user}), text(now + days * DAY_MS)[:-1])
                for user in chat.people
                for days in (-rng.randrange(1, 60), rng.randrange(1, 30))
            ),
        )
        return
    copy("reactions", ("id", "message_id", "user_id", "emoji", "created_at"), chat.reactions)
    copy(
        "files",
        ("id", "message_id", "user_id", "name", "type", "size", "url", "created_at", "deleted_at"),
        (row for row in chat.files if row[1] is not None),
    )
    copy(
        "user_settings",
        ("id", "user_id", "theme", "notifications"),
        ((chat.ulid(now), user, rng.choice(("light", "dark")), '{"email": true}') for user in chat.people),
    )
    copy(
        "user_status",
        ("id", "user_id", "presence"),
        ((chat.ulid(now), user, rng.choice(("online", "away", "offline"))) for user in chat.people),
    )
    read = [(chat.ulid(now), m, c.id, c.last) for c in chat.channels if c.last for m in c.members]
    copy("message_reads", ("id", "user_id", "channel_id", "last_read_message_id"), read)
    copy(
        "sync_state",
        ("id", "user_id", "channel_id", "sync_type", "sync_status"),
        ((chat.ulid(now), user, chat.channels[0].id, "messages", "complete") for user in chat.people),
    )


def _copy(db: psycopg.Connection[Any], table: str, columns: Sequence[str], rows: Iterable[Row]) -> int:
    statement = words.SQL("COPY {} ({}) FROM STDIN").format(
        words.Identifier(table), words.SQL(", ").join(map(words.Identifier, columns))
    )
    count, rest = 0, iter(rows)
    with db.cursor().copy(statement) as copying:
        while block := [_line(row) for row in itertools.islice(rest, _LINES)]:
            count += len(block)
            copying.write("".join(block))
    return count


def _line(row: Row) -> str:
    cells = ["\\N" if cell is None else _plain(str(cell)) for cell in row]
    return "\t".join(cells) + "\n"


def _plain(cell: str) -> str:
    return cell.translate(_ESCAPES) if _SPECIAL.search(cell) else cell

"""A SQLite database and a directory of uploads like ChatGenius' own, for the demo and for tests."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from cgjobs_data.belongings import companions
from cgjobs_data.chat import DAY_MS, FILES, REACTIONS, UPLOADS, Chat, Row, text

PREFIX = "cgj_"
"""Of the companion tables that are made beside."""


@attrs.frozen
class SeedSummary:
    """What `seed` wrote.

    Args:
        path: The database.
        bytes: Its size.
        users, channels, messages, reactions, files, audit: Rows of these tables.
        replies: How many of the messages are replies in a thread.
    """

    path: Path
    bytes: int
    users: int
    channels: int
    messages: int
    replies: int
    reactions: int
    files: int
    audit: int


def seed(
    path: Path, *, users: int = 200, messages: int = 50_000, now: datetime | None = None, rng_seed: int = 1
) -> SeedSummary:
    """Write a ChatGenius-like database: a year of messages up to ``now``, with quiet nights and weekends.

    Its companion tables are filled too: two users, a channel and a message are held, some messages pinned;
    there is an audit log with two rows for five messages, at most 20,000 of them. The file appears complete
    or not at all. A database already there is replaced: close it first.

    Args:
        path: Where; its directory is made.
        users: How many users; from 2. Some of them are soft-deleted.
        messages: How many messages, soft-deleted ones included; from 0.
        now: End of the year (aware). None: the present time.
        rng_seed: Another number gives other rows.

    Raises:
        ValueError: ``users`` or ``messages`` is too small, or ``now`` is naive.
    """
    chat = Chat(users, messages, now or datetime.now(UTC), rng_seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        audit = _write(building, chat)
        for leftover in (f"{path}-wal", f"{path}-shm"):  # SQLite would replay the old one's into the new one
            Path(leftover).unlink(missing_ok=True)
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
    return SeedSummary(
        path=path,
        bytes=path.stat().st_size,
        users=users,
        channels=len(chat.channels),
        messages=messages,
        replies=chat.replies,
        reactions=len(chat.reactions),
        files=len(chat.files),
        audit=audit,
    )


def seed_files(directory: Path, now: datetime, count: int = 400) -> list[Path]:
    """Write small uploads, modified at even distances from 400 days before ``now`` up to ``now``.

    Args:
        directory: Where; it is made. The files lie in one folder for each month.
        now: The age of a file is measured from here (aware).
        count: How many files; from 0.

    Returns:
        The files, newest first.
    """
    paths = []
    for number in range(count):
        written = now - timedelta(days=400) * number / max(1, count - 1)
        name, _ = UPLOADS[number % len(UPLOADS)]
        path = directory / f"{written:%Y-%m}" / f"{number:05}-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"demo upload\n" * (1 + number * 7 % 100))
        os.utime(path, (written.timestamp(), written.timestamp()))
        paths.append(path)
    return paths


def sql(name: str) -> str:
    """A script of ours."""
    return resources.files("cgjobs_data").joinpath("schema", name).read_text(encoding="utf-8")


def companion_ddl(dialect: str) -> list[str]:
    """The statements that make the companion tables in an empty database of this kind."""
    from sqlalchemy import create_mock_engine

    from cgjobs_data.companion import metadata

    statements: list[str] = []

    def keep(statement: Any, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=engine.dialect)))

    engine: Any = create_mock_engine(f"{dialect}://", keep)
    metadata(PREFIX).create_all(engine, checkfirst=False)
    return statements


def _write(path: Path, chat: Chat) -> int:
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {sql('demo.sql')}")
        db.executescript(";".join(companion_ddl("sqlite")))
        db.execute("BEGIN")
        _insert(db, "users", chat.users)
        _insert(db, "channels", chat.channel_rows())
        _insert(db, "channel_members", chat.member_rows())
        _insert(db, "messages", chat.messages())
        _insert(db, "reactions", chat.reactions, REACTIONS)
        _insert(db, "files", chat.files, FILES)
        for table, rows in _of_people(chat).items():
            _insert(db, table, rows)
        made = companions(chat)
        for name, (columns, rows) in made.items():
            _insert(db, f"{PREFIX}{name}", rows, columns)
        db.execute("COMMIT")
        db.executescript(f"{sql('demo-indexes.sql')} PRAGMA journal_mode = WAL;")
    return len(made["audit_log"][1])


def _insert(
    db: sqlite3.Connection, table: str, rows: Iterable[Row], columns: Sequence[str] | None = None
) -> None:
    names = columns or [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    places = ", ".join("?" * len(names))
    db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)  # noqa: S608


def _of_people(chat: Chat) -> dict[str, list[Row]]:
    rng, people, now = chat.rng, chat.people, chat.now
    seen = [now - rng.randrange(30 * DAY_MS) for _ in people]
    return {
        "message_reads": [
            (channel.last, member, text(now - rng.randrange(DAY_MS)))
            for channel in chat.channels
            for member in channel.members
            if channel.last
        ],
        "user_settings": [
            (user, rng.choice(("light", "dark", "system")), int(rng.random() < 0.8), "{}") for user in people
        ],
        "user_status": [
            (user, "online" if now - at < DAY_MS else "offline", text(at))
            for user, at in zip(people, seen, strict=True)
        ],
        "sync_state": [
            (chat.ulid(at), user, text(at), "messages", "{}") for user, at in zip(people, seen, strict=True)
        ],
        "sessions": [
            (f"{rng.getrandbits(128):032x}", f'{{"userId": "{user}"}}', text(now + days * DAY_MS))
            for user in people
            for days in (-rng.randrange(1, 60), rng.randrange(1, 30))
        ],
    }

"""A small database of ChatGenius: users, and the tables that it lacks, when a test wants them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import Engine, create_engine, text

from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_data.companion import metadata
from cgjobs_notification import Settings
from cgjobs_notification.push.settings import PushSettings
from cgjobs_notification.sms.settings import SmsSettings

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
_USERS = """
CREATE TABLE users (id VARCHAR(26) PRIMARY KEY, email VARCHAR(200), username VARCHAR(80), phone VARCHAR(40),
    deleted_at VARCHAR(40), role VARCHAR(20))
"""


@attrs.frozen
class Chat:
    """The database, and contexts of jobs that use it."""

    data: DataSettings
    engine: Engine
    state: Path

    def add(self, table: str, *rows: Mapping[str, Any]) -> None:
        """Insert rows; a table's name without ``cgj_``."""
        with self.engine.begin() as connection:
            for row in rows:
                name = table if table == "users" else f"cgj_{table}"
                columns, values = ", ".join(row), ", ".join(f":{column}" for column in row)
                connection.execute(text(f"INSERT INTO {name} ({columns}) VALUES ({values})"), dict(row))

    def opt_out(self, channel: str, category: str) -> None:
        """Ada does not want any more."""
        self.add(
            "opt_outs", {"user_id": "ada", "channel": channel, "category": category, "at": NOW.isoformat()}
        )

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query gives."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]

    def run(self, query: str) -> None:
        """Run a statement."""
        with self.engine.begin() as connection:
            connection.execute(text(query))

    def context(self, settings: Settings | None = None, **options: Any) -> RecordingContext:
        """The context of a job; without settings its messages end in files of the test's own."""
        own = Settings(
            outbox=self.state / "outbox",
            push=PushSettings(outbox=self.state / "outbox-push"),
            sms=SmsSettings(outbox=self.state / "outbox-sms"),
        )
        return RecordingContext(settings=[settings or own, self.data], **options)


def open_chat(url: str, state: Path) -> Chat:
    """A database whose tables are there."""
    data = DataSettings(url=url, preset="chatgenius-head", tables={"users": {"phone": "phone"}})
    return Chat(data, create_engine(_driver(url)), state)


def make_chat(url: str, state: Path, *, companions: bool = True, users: Iterable[str] = ("ada",)) -> Chat:
    """Make the tables in an empty database."""
    chat = open_chat(url, state)
    chat.run(_USERS)
    if companions:
        metadata("cgj_").create_all(chat.engine)
    for user in users:
        chat.add(
            "users", {"id": user, "email": f"{user}@example.com", "username": user, "phone": "+447400123456"}
        )
    return chat


def sqlite_url(path: Path) -> str:
    """A file as a URL."""
    return f"sqlite:///{path}"


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://").replace("mysql://", "mysql+pymysql://")

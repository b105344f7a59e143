"""Logical tables in real schemas: both versions of ChatGenius', the demo's, and wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import attrs
import pytest
from sqlalchemy import func, select, text

from cgjobs import Discard
from cgjobs_data import Condition, Database, MissingTable, Settings
from cgjobs_data.companion import NAMES
from cgjobs_data.layout import COLUMNS
from cgjobs_data.testing import MESSAGES, SEEDED_AT

Seeded = Callable[..., Settings]


@pytest.fixture(params=["demo", "head", "db-f-001"])
def seeded(request: pytest.FixtureRequest) -> Settings:
    """A seeded database of each kind."""
    if request.param == "demo":
        settings: Settings = request.getfixturevalue("demo_database")
        return settings
    make: Seeded = request.getfixturevalue("seeded_postgres")
    return make(request.param)


def test_the_presets_fit_the_schemas(seeded: Settings) -> None:
    with Database(seeded) as db:
        messages = db.entity("messages", needs=("id", "channel", "author", "body", "thread", "created_at"))
        with db.reading("test") as connection:
            newest = connection.scalar(select(func.max(messages["created_at"])))
            count = connection.scalar(select(func.count()).select_from(messages.table))

        assert count == MESSAGES
        assert SEEDED_AT.replace(day=1) < messages.read(newest) <= SEEDED_AT  # type: ignore[operator]
        assert "pinned" not in messages
        assert ("reactions" in messages) is (seeded.preset == "chatgenius-head")
        found = {name for name in COLUMNS if db.find(name) is not None}
        lacking = {"chatgenius-head": {"reactions", "files"}, "chatgenius-db-f-001": {"sessions"}}
        assert found == COLUMNS.keys() - lacking.get(seeded.schema_version, set())


def test_the_companion_tables_are_filled(seeded: Settings) -> None:
    with Database(seeded) as db, db.reading("test") as connection:
        for name in NAMES:
            table = db.companion(name)
            rows = connection.scalar(select(func.count()).select_from(table.table))
            assert (rows == 0) is (name == "deliveries"), name
        held = db.companion("legal_holds")
        assert connection.scalar(select(held["until"]).limit(1)) is None
        audit = db.entity("audit")
        at = audit.read(connection.scalar(select(func.min(audit["at"]))))
        assert at is not None
        assert datetime(2025, 11, 24, tzinfo=UTC) <= at < SEEDED_AT


def test_a_foreign_key_and_a_trigger_of_the_real_schema_are_there(seeded_postgres: Seeded) -> None:
    with Database(seeded_postgres("head")) as db:
        with pytest.raises(Exception, match=r"channel \w{26} is archived"), db.writing("t") as connection:
            connection.execute(text("UPDATE channels SET name = 'x' WHERE archived_at IS NOT NULL"))
        with pytest.raises(Exception, match="payload string too long"), db.writing("t") as connection:
            connection.execute(text("UPDATE messages SET content = repeat('x', 9000)"))
        with db.writing("t") as connection:
            connection.execute(text("DELETE FROM channels WHERE name = 'general'"))
            left = connection.scalar(text("SELECT count(*) FROM messages"))
        assert 0 < left < MESSAGES  # type: ignore[operator]


def test_everything_that_is_missing_is_named_at_once(demo_database: Settings) -> None:
    settings = attrs.evolve(
        demo_database, tables={"messages": {"body": "text", "pinned": "is_pinned", "author": ""}}
    )
    with Database(settings) as db:
        with pytest.raises(Discard) as caught:
            db.entity("messages", needs=("id", "body", "author"))

        for word in ("'text'", "'is_pinned'", "nothing is named for 'author'", "cgjobs data check"):
            assert word in caught.value.reason
        with pytest.raises(MissingTable, match="no table 'nowhere'"):
            Database(attrs.evolve(demo_database, tables={"users": {"table": "nowhere"}})).entity("users")
        with pytest.raises(KeyError, match="is no table"):
            db.entity("message")
        with pytest.raises(KeyError, match="has no autor"):
            db.entity("messages", needs=("autor",))


def test_a_table_that_is_made_later_is_found(demo_database: Settings) -> None:
    settings = attrs.evolve(demo_database, tables={"users": {"table": "people"}})
    with Database(settings) as db:
        assert db.find("users") is None

        with db.autocommit("test") as connection:
            connection.execute(text("CREATE TABLE people (id TEXT, email TEXT)"))

        assert db.entity("users", needs=("email",)).table.name == "people"


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        (Condition(column="edited", value=1), "edited = 1"),
        (Condition(column="thread_id", op="not_null"), "thread_id IS NOT NULL"),
        (Condition(column="thread_id", op="null"), "thread_id IS NULL"),
        (Condition(column="thread_id", op="<>", value="x"), "thread_id IS NOT NULL"),
        (Condition(column="pk", op="<=", value=10), "pk <= 10"),
        (Condition(column="pk", op="in", value=[1, 2, 3]), "pk < 4"),
    ],
)
def test_rows_that_the_settings_keep_are_told(
    demo_database: Settings, condition: Condition, kept: str
) -> None:
    settings = attrs.evolve(
        demo_database, conditions={"c": condition}, tables={"messages": {"keep_where": ["c"]}}
    )
    with Database(settings) as db, db.reading("test") as connection:
        messages = db.entity("messages")
        count = select(func.count()).select_from(messages.table)

        mine = connection.scalar(count.where(messages.kept))
        others = connection.scalar(count.where(~messages.kept))

        assert mine == connection.scalar(text(f"SELECT count(*) FROM messages WHERE {kept}"))
        assert mine + others == MESSAGES  # type: ignore[operator]
        assert mine > 0  # type: ignore[operator]


def test_a_condition_looks_into_json(seeded_postgres: Seeded) -> None:
    conditions = {"loved": Condition(column="reactions", json_field="heart", op="not_null")}
    settings = seeded_postgres("head", conditions=conditions, tables={"messages": {"keep_where": ["loved"]}})
    with Database(settings) as db, db.reading("test") as connection:
        messages = db.entity("messages")

        kept = connection.scalar(select(func.count()).select_from(messages.table).where(messages.kept))

        assert kept == connection.scalar(text("SELECT count(*) FROM messages WHERE reactions ? 'heart'"))
        assert kept > 0  # type: ignore[operator]


def test_without_conditions_nothing_is_kept_and_unknown_columns_are_told(demo_database: Settings) -> None:
    with Database(demo_database) as db, db.reading("test") as connection:
        users = db.entity("users")
        assert connection.scalars(select(users["id"]).where(users.kept)).all() == []
    settings = attrs.evolve(
        demo_database,
        conditions={"c": Condition(column="starred", value=1)},
        tables={"messages": {"keep_where": ["c"]}},
    )
    with Database(settings) as db, pytest.raises(Discard, match="'starred' for the condition 'c'"):
        db.entity("messages")

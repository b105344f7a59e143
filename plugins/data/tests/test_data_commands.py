"""``cgjobs data``: what is missing is told, companion tables are made, data to try out is seeded."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from sqlalchemy import create_engine, inspect, text

from cgjobs import CgjobsError, Finding
from cgjobs_data import Database, Settings, cgjobs_checks, cgjobs_commands, cli
from cgjobs_data.checks import check
from cgjobs_data.companion import NAMES
from cgjobs_data.privileges import Privilege

Seeded = Callable[..., Settings]


@attrs.frozen
class Registry:
    """The part of a registry that the commands look at."""

    checks: Sequence[tuple[str, Callable[[], Iterator[Finding]]]] = ()
    plugins: tuple[Any, ...] = ()
    subtypes: dict[str, object] = attrs.field(factory=dict)


@attrs.frozen
class Session:
    """The part of a session that the commands use."""

    data: Settings
    worker_registry: Registry = attrs.field(factory=Registry)

    def settings(self, cls: type[Any]) -> Any:
        """The settings of the test."""
        return self.data


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """An empty database of each kind."""
    if request.param == "sqlite":
        sqlite3.connect(tmp_path / "x.db").close()
        return Settings(url=f"sqlite:///{tmp_path}/x.db", preset="none")
    url = request.getfixturevalue("postgres" if request.param == "postgresql" else "mariadb")
    return Settings(url=url, preset="none")


def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in check(settings)}


def test_companion_tables_are_made_once(empty: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    session: Any = Session(empty)

    cli.init(dry_run=True, session=session)
    shown = capsys.readouterr().out
    assert shown.count("CREATE TABLE") == len(NAMES)
    assert findings(empty)["data.companion"].level == "warn"

    cli.init(session=session)
    assert capsys.readouterr().out.splitlines() == sorted(f"made cgj_{name}" for name in NAMES)
    assert findings(empty)["data.companion"].level == "ok"

    cli.init(session=session)
    assert capsys.readouterr().out == ""
    with Database(empty) as db:
        for name in NAMES:
            db.companion(name)


def test_what_a_dry_run_prints_makes_the_tables(empty: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    cli.init(dry_run=True, session=Session(empty))  # type: ignore[arg-type]
    statements = capsys.readouterr().out.split(";\n")

    with Database(empty) as db, db.autocommit("test") as connection:
        for statement in filter(None, statements):
            connection.exec_driver_sql(statement)

    assert findings(empty)["data.companion"].level == "ok"


def test_a_companion_row_comes_back_as_it_was_written(empty: Settings) -> None:
    from datetime import UTC, datetime

    cli.init(session=Session(empty))  # type: ignore[arg-type]
    at = datetime(2026, 11, 24, 12, 30, 0, 123_000, tzinfo=UTC)
    with Database(empty) as db:
        sent = db.companion("deliveries")
        row = {
            "key": "k",
            "channel": "email",
            "destination": "a@example.com",
            "state": "claimed",
            "job_id": "j",
        }
        with db.writing("test") as connection:
            connection.execute(sent.table.insert().values(at=sent.written(at), **row))
        with db.reading("test") as connection:
            assert sent.read(connection.scalar(sent.table.select().with_only_columns(sent["at"]))) == at
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"), db.writing("test") as connection:
            connection.execute(sent.table.insert().values(at=sent.written(at), **row))


def test_somebody_elses_table_of_that_name_is_told_and_left_alone(empty: Settings) -> None:
    engine = Database(empty)
    with engine.autocommit("test") as connection:
        connection.execute(text("CREATE TABLE cgj_pins (note VARCHAR(10))"))
    engine.close()

    cli.init(session=Session(empty))  # type: ignore[arg-type]

    found = findings(empty)["data.companion"]
    assert (found.level, "lacks message_id" in found.message) == ("bad", True)


def test_a_check_of_the_demo_is_all_ready(
    demo_database: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry([("data", lambda: iter(check(demo_database)))], subtypes={"report.usage": object()})

    assert cli.check(session=Session(demo_database, registry)) == 0  # type: ignore[arg-type]

    shown = capsys.readouterr().out
    assert "data.messages" in shown
    assert "report.usage" in shown
    assert "unchecked" in shown
    assert "missing" not in shown


def test_a_check_names_what_is_missing_with_its_advice_and_fails(
    demo_database: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = attrs.evolve(demo_database, tables={"messages": {"pinned": "is_pinned"}})

    def broken() -> Iterator[Finding]:
        yield Finding("cleanup.messages", "bad", "no index on created_at", "CREATE INDEX ...")
        raise ZeroDivisionError

    registry = Registry([("data", lambda: iter(check(settings))), ("cleanup", broken)])
    registry = attrs.evolve(registry, subtypes={"cleanup.messages": object()})

    assert cli.check(as_json=True, session=Session(settings, registry)) == 1  # type: ignore[arg-type]

    rows = {row["subtype"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["cleanup.messages"] == {
        "subtype": "cleanup.messages",
        "state": "missing",
        "what": "no index on created_at",
        "advice": "CREATE INDEX ...",
    }
    assert "is_pinned" in rows["data.messages"]["what"]
    assert "ZeroDivisionError" in rows["cleanup"]["what"]


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_the_privileges_of_an_account_are_known(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(kind)
    name, mine = f"r{uuid.uuid4().hex[:8]}", url.replace("root@", "{}@").replace("postgres:@", "{}:@")
    account = f"{name}@'%'" if kind == "mariadb" else name
    with Database(Settings(url=url, preset="none")) as admin, admin.autocommit("test") as connection:
        connection.execute(text("CREATE TABLE users (id VARCHAR(26) PRIMARY KEY, email VARCHAR(99))"))
        connection.execute(text(f"CREATE USER {account}"))
        connection.execute(text(f"GRANT INSERT, SELECT ON users TO {account}"))
        try:
            with Database(Settings(url=mine.format(name))) as db:
                table = db.entity("users").table
                asked: tuple[Privilege, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE")
                rights = {privilege: db.may(table, privilege) for privilege in asked}
        finally:
            if kind == "postgres":
                connection.execute(text(f"DROP OWNED BY {account}"))
            connection.execute(text(f"DROP USER {account}"))

    assert rights == {"SELECT": True, "INSERT": True, "UPDATE": False, "DELETE": False}


def test_a_table_that_cannot_be_read_is_told_with_the_grant(postgres: str) -> None:
    name = f"r{uuid.uuid4().hex[:8]}"
    with Database(Settings(url=postgres, preset="none")) as admin, admin.autocommit("test") as connection:
        connection.execute(text("CREATE TABLE users (id VARCHAR(26) PRIMARY KEY)"))
        connection.execute(text(f"CREATE USER {name}"))
        try:
            found = findings(Settings(url=postgres.replace("postgres:@", f"{name}:@")))["data.users"]
        finally:
            connection.execute(text(f"DROP USER {name}"))

    assert (found.level, "GRANT SELECT ON users" in found.advice) == ("bad", True)


def test_a_database_that_does_not_answer_is_told_quickly() -> None:
    found = findings(Settings(url="postgresql://me:hidden@127.0.0.1:1/x"))

    assert found["data.connection"].level == "bad"
    assert "hidden" not in found["data.connection"].message


def test_nobody_has_to_have_a_database(tmp_path: Path) -> None:
    found = findings(Settings(directory=tmp_path))

    assert found["data.connection"].level == "warn"
    assert "cgjobs data seed" in found["data.connection"].message


def test_seeding_replaces_nothing_without_being_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session: Any = Session(Settings(directory=tmp_path))

    cli.seed(users=5, messages=50, session=session)
    with pytest.raises(CgjobsError, match="--yes"):
        cli.seed(users=5, messages=60, session=session)
    cli.seed(users=5, messages=70, yes=True, session=session)

    assert "70" in capsys.readouterr().out
    with pytest.raises(CgjobsError, match="at least 2 users"):
        cli.seed(users=1, session=session)


def test_seeding_fills_the_configured_postgres_when_it_is_empty(
    postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    session: Any = Session(Settings(url=postgres, preset="chatgenius-db-f-001"))
    options: dict[str, Any] = {"postgres": True, "version": "db-f-001", "messages": 100, "session": session}

    with pytest.raises(CgjobsError, match="--yes"):
        cli.seed(**options)
    cli.seed(yes=True, **options)
    with pytest.raises(CgjobsError, match="not empty"):
        cli.seed(yes=True, **options)

    engine = create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
    keys = {key["referred_table"]: key["options"] for key in inspect(engine).get_foreign_keys("messages")}
    engine.dispose()
    assert keys == {
        "channels": {"ondelete": "CASCADE"},
        "users": {"ondelete": "RESTRICT"},
        "messages": {"ondelete": "CASCADE"},
    }


def test_root_has_to_agree_to_the_embedded_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)

    with pytest.raises(CgjobsError, match="--as-root"):
        cli.seed(postgres=True, session=Session(Settings(directory=tmp_path)))  # type: ignore[arg-type]


def test_the_command_is_there(tmp_path: Path) -> None:
    assert [command.name for command in cgjobs_commands()] == ["data"]
    assert list(cgjobs_checks(lambda cls: Settings(directory=tmp_path)))
    config = tmp_path / "cgjobs.toml"
    config.write_text('[plugins.data]\ndirectory = "data"\n')

    command = [sys.executable, "-m", "cgjobs", "--config", str(config), "data", "seed", "--messages", "20"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ran.returncode, "messages   20" in ran.stdout) == (0, True), ran.stderr
    assert (tmp_path / "data" / "demo.sqlite3").exists()

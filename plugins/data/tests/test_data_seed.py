"""The demo's data: complete, believable, the same each time."""

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cgjobs_data.seed import SeedSummary, seed, seed_files

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> SeedSummary:
    return seed(tmp_path_factory.mktemp("seed") / "chat.db", messages=5_000, now=NOW)


@pytest.fixture
def db(summary: SeedSummary) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(summary.path)) as connection:
        yield connection


def dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def one(db: sqlite3.Connection, query: str) -> object:
    return db.execute(query).fetchone()[0]


def test_every_reference_leads_to_a_row(db: sqlite3.Connection) -> None:
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert one(db, "PRAGMA integrity_check") == "ok"


def test_the_summary_counts_what_the_tables_hold(db: sqlite3.Connection, summary: SeedSummary) -> None:
    for table in ("users", "channels", "messages", "reactions", "files"):
        assert getattr(summary, table) == one(db, f"SELECT count(*) FROM {table}")
    assert summary.replies == one(db, "SELECT count(*) FROM messages WHERE thread_id IS NOT NULL")
    assert summary.bytes == summary.path.stat().st_size


def test_the_messages_fill_the_year_before_now_in_the_order_of_their_keys(db: sqlite3.Connection) -> None:
    times = [at for (at,) in db.execute("SELECT created_at FROM messages ORDER BY pk")]
    first, last = datetime.fromisoformat(times[0]), datetime.fromisoformat(times[-1])

    assert times == sorted(times)
    assert NOW - timedelta(days=365) <= first < NOW - timedelta(days=360)
    assert NOW - timedelta(days=5) < last <= NOW


def test_nights_and_weekends_are_quiet(db: sqlite3.Connection) -> None:
    noon = "SELECT count(*) FROM messages WHERE strftime('%H', created_at) BETWEEN '08' AND '17'"
    weekend = "SELECT count(*) FROM messages WHERE strftime('%w', created_at) IN ('0', '6')"

    assert one(db, noon) > 3_500  # type: ignore[operator]
    assert one(db, weekend) < 500  # type: ignore[operator]


def test_a_reply_stays_in_its_threads_channel_and_comes_after_the_root(db: sqlite3.Connection) -> None:
    odd = """SELECT count(*) FROM messages AS reply JOIN messages AS root ON root.id = reply.thread_id
             WHERE reply.channel_id <> root.channel_id OR reply.created_at < root.created_at
                OR root.thread_id IS NOT NULL"""

    assert one(db, odd) == 0


def test_some_young_replies_hang_on_old_roots(db: sqlite3.Connection) -> None:
    young = """SELECT count(*) FROM messages AS reply JOIN messages AS root ON root.id = reply.thread_id
               WHERE julianday(reply.created_at) - julianday(root.created_at) > 60"""

    assert one(db, young) > 0  # type: ignore[operator]


def test_nobody_writes_after_leaving_or_in_an_archived_channel(db: sqlite3.Connection) -> None:
    late = """SELECT count(*) FROM messages AS m JOIN users AS u ON u.id = m.user_id
              JOIN channels AS c ON c.id = m.channel_id
              WHERE m.created_at > u.deleted_at OR m.created_at > c.archived_at"""

    assert one(db, "SELECT count(*) FROM users WHERE deleted_at IS NOT NULL") == 6
    assert one(db, late) == 0


def test_all_addresses_are_example_addresses(db: sqlite3.Connection) -> None:
    assert one(db, "SELECT count(*) FROM users WHERE email NOT LIKE '%@example.com'") == 0


def test_the_text_index_follows_a_delete(tmp_path: Path) -> None:
    summary = seed(tmp_path / "chat.db", messages=300, now=NOW)
    with contextlib.closing(sqlite3.connect(summary.path)) as db:
        found = "SELECT count(*) FROM messages_fts WHERE messages_fts MATCH 'budget'"
        before = one(db, found)

        db.execute("DELETE FROM messages WHERE content LIKE '%budget%'")

        assert before != 0
        assert one(db, found) == 0


def test_the_same_arguments_give_the_same_rows(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        seed(tmp_path / name, users=20, messages=500, now=NOW, rng_seed=number)

    assert dump(tmp_path / "a") == dump(tmp_path / "b") != dump(tmp_path / "c")


def test_an_old_database_is_replaced_with_its_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    seed(path, users=2, messages=10, now=NOW)
    Path(f"{path}-wal").write_bytes(b"of the old one")

    seed(path, users=2, messages=20, now=NOW)

    assert [item.name for item in tmp_path.iterdir()] == ["chat.db"]
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert one(db, "SELECT count(*) FROM messages") == 20


def test_a_failed_seed_leaves_the_old_database_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chat.db"
    seed(path, users=2, messages=10, now=NOW)
    before = path.read_bytes()
    monkeypatch.setattr("cgjobs_data.seed.sql", lambda name: "no SQL")

    with pytest.raises(sqlite3.OperationalError):
        seed(path, users=2, messages=20, now=NOW)

    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["chat.db"]


@pytest.mark.parametrize("arguments", [{"users": 1}, {"messages": -1}, {"now": datetime(2026, 1, 1)}])  # noqa: DTZ001
def test_impossible_arguments_are_refused(tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="seed needs"):
        seed(tmp_path / "chat.db", **arguments)  # type: ignore[arg-type]


def test_an_empty_year_is_fine(tmp_path: Path) -> None:
    assert seed(tmp_path / "chat.db", messages=0, now=NOW).messages == 0


def test_by_default_there_are_fifty_thousand_messages(tmp_path: Path) -> None:
    assert seed(tmp_path / "chat.db", now=NOW).messages == 50_000


def test_uploads_have_all_ages_up_to_400_days(tmp_path: Path) -> None:
    paths = seed_files(tmp_path, NOW, count=401)

    ages = [(NOW.timestamp() - path.stat().st_mtime) / 86_400 for path in paths]

    assert ages == pytest.approx(range(401))
    assert len({path for path in tmp_path.rglob("*") if path.is_file()}) == 401

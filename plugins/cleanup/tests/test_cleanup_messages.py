"""`cleanup.messages`: what is old goes, on three databases; what somebody still needs stays."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from cgjobs import Discard, JobCancelled, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Messages, MessagesPolicy, MessagesResult, Settings, packing, purge, purge_batch
from cgjobs_cleanup.eligibility import rules as purge_rules
from cgjobs_cleanup.handlers import messages
from cgjobs_cleanup.replica import Replica
from cgjobs_data import Condition, Database, Hold, StoreSettings
from cgjobs_data import Settings as DataSettings
from cgjobs_data.companion import metadata as companion

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MONTH = timedelta(days=30)
TIME = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
TIME = TIME.with_variant(sa.String(32), "sqlite")


def tables() -> sa.MetaData:
    """Messages and what belongs to them, as in ChatGenius."""
    found = sa.MetaData()

    def ident(name: str = "id") -> sa.Column[str]:
        return sa.Column(name, sa.String(26), primary_key=True)

    def of(table: str, **options: Any) -> sa.ForeignKey:
        return sa.ForeignKey(f"{table}.id", **options)

    sa.Table("channels", found, ident(), sa.Column("name", sa.String(80)))
    sa.Table(
        "messages",
        found,
        ident(),
        sa.Column("channel_id", sa.String(26), of("channels"), nullable=False),
        sa.Column("user_id", sa.String(26), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("thread_id", sa.String(26), of("messages", ondelete="CASCADE"), index=True),
        sa.Column("important", sa.Boolean),
        sa.Column("created_at", TIME, nullable=False, index=True),
        sa.Column("deleted_at", TIME),
    )
    sa.Table(
        "reactions",
        found,
        ident(),
        sa.Column("message_id", sa.String(26), of("messages"), index=True, nullable=False),
    )
    sa.Table(
        "message_reads",
        found,
        ident(),
        sa.Column("message_id", sa.String(26), of("messages", ondelete="CASCADE"), index=True),
    )
    return found


class Chat:
    """A database with a few messages, and settings that find it."""

    def __init__(self, url: str, **options: Any) -> None:
        time = "iso8601" if url.startswith("sqlite") else "timestamptz" if "postgres" in url else "utc"
        mapped = {"table": "messages", "id": "id", "channel": "channel_id", "author": "user_id"}
        mapped |= {
            "thread": "thread_id",
            "created_at": "created_at",
            "deleted_at": "deleted_at",
            "time": time,
        }
        logical: dict[str, Any] = {
            "messages": mapped | {"time": time} | options.pop("messages", {}),
            "channels": {"table": "channels", "id": "id"},
            "reactions": {"table": "reactions", "id": "id", "message": "message_id"},
        }
        self.settings = DataSettings(url=url, preset="none", tables=logical, **options)
        self.db = Database(self.settings)
        self.tables = tables()
        self.tables.create_all(self.db.engine)
        self.companion = companion("cgj_")
        self.insert("channels", id="c1", name="one")
        self.insert("channels", id="c2", name="two")

    def when(self, days: float) -> Any:
        at = NOW - timedelta(days=days)
        if self.db.dialect == "sqlite":
            return f"{at:%Y-%m-%dT%H:%M:%S}.000Z"
        return at if self.db.dialect == "postgresql" else at.replace(tzinfo=None)

    def insert(self, table: str, **row: Any) -> None:
        found = self.tables.tables.get(table)
        with self.db.engine.begin() as connection:
            if found is None:
                self.companion.create_all(connection)
                found = self.companion.tables[f"cgj_{table}"]
            connection.execute(found.insert().values(**row))

    def post(self, ident: str, days: float = 90, thread: str | None = None, **row: Any) -> None:
        if "deleted" in row:
            row["deleted_at"] = self.when(row.pop("deleted"))
        row = {"channel_id": "c1", "user_id": "u1", "content": "x", "created_at": self.when(days)} | row
        self.insert("messages", id=ident, thread_id=thread, **row)

    def left(self, table: str = "messages", where: str = "1 = 1") -> str:
        with self.db.engine.connect() as connection:
            found = connection.execute(sa.text(f"SELECT id FROM {table} WHERE {where} ORDER BY id")).scalars()
            return " ".join(found)

    def context(self, **options: Any) -> RecordingContext:
        policy = options.pop("policy", MessagesPolicy())
        ctx = RecordingContext(
            settings=[Settings(messages=policy), self.settings], uses={Database: self.db}, **options
        )
        ctx.job = attrs.evolve(ctx.job, created_at=NOW)
        return ctx

    def clean(self, ctx: RecordingContext | None = None, **fields: Any) -> MessagesResult:
        """Run the handler; more than half may go, since there are few."""
        payload: dict[str, Any] = {"age": MONTH, "max_fraction": 1.0, "pause": timedelta(0)} | fields
        return messages(Messages(**payload), ctx or self.context())


Open = Callable[..., Chat]


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def chat(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Call it for a chat on each kind of database."""
    opened: list[Chat] = []

    def start(**options: Any) -> Chat:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path / 'chat.db'}"
            (tmp_path / "chat.db").touch()
        else:
            url = request.getfixturevalue(request.param)
        opened.append(Chat(url, **options))
        return opened[-1]

    yield start
    for found in opened:
        found.db.close()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Open]:
    """The same on SQLite alone, for what does not hang on the database."""
    opened: list[Chat] = []

    def start(**options: Any) -> Chat:
        (tmp_path / "chat.db").touch()
        opened.append(Chat(f"sqlite:///{tmp_path / 'chat.db'}", **options))
        return opened[-1]

    yield start
    for found in opened:
        found.db.close()


def test_old_messages_go_with_what_belongs_to_them_and_young_ones_stay(chat: Open) -> None:
    here = chat()
    here.post("old", 31)
    here.post("young", 29)
    for number, message in enumerate(("old", "old", "young")):
        here.insert("reactions", id=f"r{number}", message_id=message)
        here.insert("message_reads", id=f"m{number}", message_id=message)

    plan = here.clean(dry_run=True)
    assert here.left() == "old young"
    result = here.clean()

    assert here.left() == "young"
    assert here.left("reactions") == "r2"
    assert here.left("message_reads") == "m2"
    assert (plan.total, plan.matched, plan.cascaded) == (2, 1, {"message_reads": 2, "reactions": 2})
    assert (result.total, result.matched, result.deleted) == (2, 1, 1)
    assert (result.cascaded, result.remaining) == (plan.cascaded, 0)
    assert plan.samples == result.samples == ("old",)


def test_an_old_thread_stays_while_it_has_a_young_reply_at_any_depth(chat: Open) -> None:
    here = chat()
    here.post("a", 90)
    here.post("b", 80, "a")
    here.post("c", 5, "b")
    here.post("d", 70, "a")
    here.post("e", 90)
    here.post("f", 80, "e")
    here.post("g", 75, "f")

    plan = here.clean(dry_run=True)
    result = here.clean(batch_size=2)

    assert here.left() == "a b c"
    assert (plan.matched, plan.skipped.threads) == (4, 2)
    assert (result.deleted, result.skipped.threads, result.remaining) == (4, 2, 0)
    assert result.passes > 2


def test_a_whole_thread_goes_or_stays_together(chat: Open) -> None:
    here = chat()
    here.post("a", 90)
    here.post("b", 80, "a")
    here.post("c", 5, "a")
    here.post("e", 90)
    here.post("f", 80, "e")

    plan = here.clean(keep_threads="whole", dry_run=True)
    result = here.clean(keep_threads="whole")

    assert here.left() == "a b c"
    assert (plan.matched, result.deleted) == (2, 2)


def test_holds_pins_and_conditions_keep_messages_whatever_the_payload_says(chat: Open) -> None:
    here = chat(
        holds=(
            Hold(scope="user", target="u2"),
            Hold(scope="message", target="b", until="2026-01-01T00:00:00Z"),
        ),
        conditions={"important": Condition(column="important", value=True)},
        messages={"keep_where": ["important"]},
    )
    here.insert("legal_holds", id="h1", scope="channel", target_id="c2", reason="")
    here.insert("legal_holds", id="h2", scope="message", target_id="d", reason="")
    here.insert("legal_holds", id="h3", scope="user", target_id="u1", reason="", until=here.when(1))
    here.insert("pins", message_id="e")
    here.post("a", user_id="u2")
    here.post("b")
    here.post("c", channel_id="c2")
    here.post("d")
    here.post("e")
    here.post("f", important=True)
    here.post("g", important=False)
    here.post("h")

    plan = here.clean(dry_run=True)
    result = here.clean()

    assert here.left() == "a c d e f"
    assert plan.skipped == result.skipped
    assert (result.skipped.held, result.skipped.pinned, result.skipped.kept) == (3, 1, 1)
    assert here.clean(keep_pinned=False).deleted == 1
    assert here.left() == "a c d f"


def test_a_held_or_pinned_reply_keeps_its_root(chat: Open) -> None:
    here = chat()
    here.insert("pins", message_id="b")
    here.post("a")
    here.post("b", 80, "a")

    assert here.clean().deleted == 0
    assert here.left() == "a b"


@pytest.mark.parametrize("chat", ["postgres", "mariadb"], indirect=True)
def test_a_hold_placed_while_a_batch_is_locked_is_respected(
    chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = chat()
    here.insert("legal_holds", id="h0", scope="message", target_id="-", reason="")
    here.post("a")
    here.post("b")
    real = purge_batch.Batch._delete
    held: list[str] = []

    def hold_first(self: Any, connection: sa.Connection, ids: list[Any]) -> int:
        if not held:
            held.append("a")
            here.insert("legal_holds", id="h1", scope="message", target_id="a", reason="")
        return real(self, connection, ids)

    monkeypatch.setattr(purge_batch.Batch, "_delete", hold_first)

    here.clean()

    assert here.left() == "a"


@pytest.mark.parametrize("chat", ["postgres", "mariadb"], indirect=True)
def test_a_reply_that_arrives_between_looking_and_locking_keeps_its_root(
    chat: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = chat()
    here.post("root")
    here.post("other")
    real = sa.Connection.execute
    arrived: list[str] = []

    def execute(self: Any, statement: Any, *args: Any, **options: Any) -> Any:
        # The lock is taken a moment after the snapshot: a reply committed in between is in neither.
        locking = isinstance(statement, sa.Select) and statement._for_update_arg is not None
        if locking and not arrived:
            arrived.append("reply")
            unlocked = statement._clone()
            unlocked._for_update_arg = None
            rows = real(self, unlocked, *args, **options)
            here.post("reply", 1, "root")
            return rows
        return real(self, statement, *args, **options)

    monkeypatch.setattr(sa.Connection, "execute", execute)

    result = here.clean()

    assert arrived
    assert here.left() == "reply root"
    assert result.deleted == 1


@pytest.mark.parametrize("chat", ["postgres", "mariadb"], indirect=True)
def test_two_copies_at_once_do_disjoint_work(chat: Open) -> None:
    here = chat()
    rows = [
        {"id": f"m{n:03}", "channel_id": "c1", "user_id": "u1", "content": "x", "created_at": here.when(90)}
        for n in range(300)
    ]
    with here.db.engine.begin() as connection:
        connection.execute(here.tables.tables["messages"].insert(), rows)
    payload = Messages(MONTH, max_fraction=1.0)
    cutoff = NOW - MONTH

    def batch() -> purge_batch.Batch:
        table = here.db.entity("messages")
        found = purge_rules(here.db, table, payload, cutoff=cutoff, now=NOW)
        return purge_batch.Batch(here.db, found, (), "hard", None)

    with here.db.writing("one") as one, here.db.writing("two") as two:
        first = batch().run(one, 20, None, accept=False)
        second = batch().run(two, 20, None, accept=False)

    assert (first.deleted, second.deleted) == (20, 20)
    assert len(here.left().split()) == 260


def test_only_the_channels_asked_for_are_cleaned(lite: Open) -> None:
    here = lite()
    here.post("a")
    here.post("b", channel_id="c2")

    assert here.clean(channels=("c1",)).deleted == 1
    assert here.left() == "b"
    assert here.clean(exclude_channels=("c2",)).deleted == 0
    with pytest.raises(Discard, match="there is no channel 'c8', 'c9'"):
        here.clean(channels=("c9", "c1", "c8"))


def test_soft_mode_marks_and_purging_deletes_what_was_marked_long_ago(chat: Open) -> None:
    here = chat()
    here.post("a")
    here.post("b", 80, "a")
    here.post("c", 5)
    here.post("d", 90, deleted=80)
    here.post("e", 90, deleted=5)

    plan = here.clean(mode="soft", dry_run=True)
    result = here.clean(mode="soft")

    assert (plan.matched, result.deleted) == (2, 2)
    assert here.left(where="deleted_at IS NOT NULL") == "a b d e"
    assert here.clean(mode="purge_soft_deleted").deleted == 1
    assert here.left() == "a b c e"


def test_a_trigger_that_refuses_single_messages_does_not_stop_the_rest(postgres: str) -> None:
    here = Chat(postgres)
    with here.db.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION tell() RETURNS trigger AS $$ BEGIN "
            "PERFORM pg_notify('m', row_to_json(NEW)::text); RETURN NEW; END $$ LANGUAGE plpgsql"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER tell AFTER UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION tell()"
        )
    for number in range(9):
        here.post(f"m{number}", content="y" * 9_000 if number == 4 else "x")

    result = here.clean(mode="soft")

    assert (result.deleted, result.skipped.refused, result.remaining) == (8, 1, 1)
    assert here.left(where="deleted_at IS NULL") == "m4"
    here.db.close()


def test_an_archive_has_every_deleted_row_before_it_is_gone(lite: Open, tmp_path: Path) -> None:
    here = lite(stores={"cold": StoreSettings(directory=tmp_path / "cold")})
    for number in range(5):
        here.post(f"m{number}", 90 - number)
        here.insert("reactions", id=f"r{number}", message_id=f"m{number}")

    result = here.clean(archive_to="cold", batch_size=2)

    lines: list[dict[str, Any]] = []
    for file in sorted((tmp_path / "cold").rglob("*.jsonl.zst")):
        text = packing.load_zstd().decompress(file.read_bytes()).decode()
        lines += [json.loads(line) for line in text.splitlines()]
    assert result.archived == 3
    assert [line["row"]["id"] for line in lines if line["table"] == "messages"] == [f"m{n}" for n in range(5)]
    assert [line["row"]["id"] for line in lines if line["table"] == "reactions"] == [
        f"r{n}" for n in range(5)
    ]


def test_without_zstd_the_archive_is_gzip(
    lite: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise Discard("no zstd")

    monkeypatch.setattr("cgjobs_cleanup.archive.load_zstd", missing)
    here = lite(stores={"cold": StoreSettings(directory=tmp_path / "cold")})
    here.post("a")

    here.clean(archive_to="cold")

    (file,) = (tmp_path / "cold").rglob("*.jsonl.gz")
    assert json.loads(gzip.decompress(file.read_bytes()))["row"]["id"] == "a"


def test_what_cannot_be_archived_is_not_deleted(lite: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise Retry("no room")

    here = lite(stores={"cold": StoreSettings(directory=Path("/nonexistent"))})
    monkeypatch.setattr("cgjobs_cleanup.archive.StoreArchive.write", full)
    here.post("a")

    with pytest.raises(Retry, match="no room"):
        here.clean(archive_to="cold")
    assert here.left() == "a"


@pytest.mark.parametrize("chat", ["sqlite", "postgres"], indirect=True)
def test_a_foreign_key_without_an_index_is_refused_with_the_statement_that_helps(chat: Open) -> None:
    here = chat()
    with here.db.engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_reactions_message_id")
    here.post("a")

    with pytest.raises(Discard, match=r"missing_fk_index: reactions.message_id .*CREATE INDEX .*reactions"):
        here.clean(dry_run=True)


@pytest.mark.parametrize("chat", ["sqlite", "postgres"], indirect=True)
def test_an_index_on_what_is_not_null_counts(chat: Open) -> None:
    here = chat()
    with here.db.engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_messages_thread_id")
        connection.exec_driver_sql("CREATE INDEX t ON messages (thread_id) WHERE thread_id IS NOT NULL")

    assert here.clean().deleted == 0


def test_a_reference_that_blocks_is_refused_and_may_be_allowed(chat: Open) -> None:
    here = chat()
    notes = sa.Table(
        "notes",
        here.tables,
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("message_id", sa.String(26), sa.ForeignKey("messages.id"), index=True),
    )
    notes.create(here.db.engine)
    here.post("a")
    here.insert("notes", id="n", message_id="a")

    with pytest.raises(Discard, match=r"blocking_fk: notes.message_id .*NO ACTION|RESTRICT"):
        here.clean()
    policy = MessagesPolicy(delete_from=("notes",))
    assert here.clean(here.context(policy=policy)).cascaded["notes"] == 1
    assert here.left("notes") == ""


def test_more_than_the_fraction_is_refused_with_the_numbers(lite: Open) -> None:
    here = lite()
    here.post("a")
    here.post("b", 5)
    here.post("c")

    with pytest.raises(Discard, match=r"would_delete_too_much: 2 of 3 messages \(67%\)"):
        here.clean(max_fraction=0.5)
    assert here.left() == "a b c"
    assert here.clean(max_fraction=0.5, confirm_fraction=True).deleted == 2


def test_an_age_below_the_floor_is_refused(lite: Open) -> None:
    here = lite()

    with pytest.raises(Discard, match="below the 7 days"):
        here.clean(age=timedelta(days=6))


def test_max_items_stops_and_says_what_is_left(chat: Open) -> None:
    here = chat()
    for number in range(5):
        here.post(f"m{number}", 90 - number)

    result = here.clean(max_items=3, batch_size=2)

    assert (result.deleted, result.remaining, result.stopped_by) == (3, 2, "max_items")
    assert here.left() == "m3 m4"


def test_a_run_goes_on_where_the_one_before_it_ended(chat: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    here = chat()
    for number in range(6):
        here.post(f"m{number}", 90 - number)
    seconds = iter(range(10_000))
    monkeypatch.setattr("cgjobs_cleanup.message_handler.monotonic", lambda: next(seconds))
    first = here.context()

    with pytest.raises(Snooze, match="2 of 6 messages deleted, going on"):
        here.clean(first, batch_size=2, max_duration=timedelta(seconds=2))
    here.post("late", 89)
    saved = first.checkpoints[-1]
    second = here.context(checkpoint=saved)
    second.job = attrs.evolve(second.job, created_at=NOW + timedelta(days=80))
    result = here.clean(second, batch_size=2)

    assert here.left() == ""
    assert (result.total, result.matched, result.deleted) == (6, 6, 7)
    assert result.cutoff == NOW - MONTH


def test_a_cancelled_job_ends_between_two_batches(lite: Open) -> None:
    here = lite()
    for number in range(6):
        here.post(f"m{number}", 90 - number)

    with pytest.raises(JobCancelled):
        here.clean(here.context(cancel_after=2), batch_size=2)
    assert here.left() == "m4 m5"


def test_what_stands_in_the_way_makes_batches_smaller_and_then_a_retry(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Chat(postgres)
    for number in range(4):
        here.post(f"m{number}")
    monkeypatch.setattr("cgjobs_cleanup.message_handler.sleep", lambda seconds: None)
    sizes: list[int] = []
    real = purge_batch.Batch.run

    def run(self: Any, connection: sa.Connection, size: int, cursor: Any, *, accept: bool) -> Any:
        sizes.append(size)
        if size > 3:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 1")
            connection.exec_driver_sql("SELECT pg_sleep(1)")
        return real(self, connection, size, cursor, accept=accept)

    monkeypatch.setattr(purge_batch.Batch, "run", run)

    assert here.clean(batch_size=10).deleted == 4
    assert sizes[:3] == [10, 5, 2]
    with here.db.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE messages IN ACCESS SHARE MODE")
        monkeypatch.setattr(purge, "_PATIENCE", 1)
        with pytest.raises(Retry, match="57014"):
            here.clean(batch_size=10)
    here.db.close()


def test_a_replica_that_lags_is_waited_for_and_then_the_job_is_put_off(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(DataSettings(url=postgres, preset="none"))
    seconds = [0.0]
    told: list[float] = []
    replica = Replica(
        db,
        most=timedelta(seconds=10),
        job_id="j",
        clock=lambda: seconds[0],
        sleep=lambda wait: seconds.__setitem__(0, seconds[0] + wait),
    )

    replica.wait(told.append)
    assert told == []
    lags = iter([30.0, 20.0, 5.0])
    monkeypatch.setattr(replica, "lag", lambda: next(lags))
    seconds[0] += 2
    replica.wait(told.append)
    assert told == [30.0, 20.0]
    monkeypatch.setattr(replica, "lag", lambda: 99.0)
    seconds[0] += 2
    with pytest.raises(Snooze, match="lags 99 s behind"):
        replica.wait(told.append)
    db.close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"age": timedelta(0)}, "age is 0:00:00"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 20_001}, "batch_size"),
        ({"pause": timedelta(seconds=11)}, "pause is 0:00:11"),
        ({"mode": "gone"}, "mode"),
        ({"keep_threads": "no"}, "keep_threads"),
        ({"channels": ("a",), "exclude_channels": ("a",)}, "'a' is in channels and in exclude_channels"),
        ({"max_items": 0}, "max_items"),
    ],
)
def test_a_payload_out_of_range_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Messages(**{"age": MONTH} | fields)

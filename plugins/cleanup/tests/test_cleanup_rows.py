"""`cleanup.files` by ChatGenius' table of files: in a directory beside SQLite, in S3 beside PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Discard, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Files, FilesResult, Settings, StoreRoot, bucket
from cgjobs_cleanup.handlers import files
from cgjobs_cleanup.orphan_sweep import OrphanSweep
from cgjobs_cleanup.place import Addresses
from cgjobs_data import Database, Hold, Store, StoreSettings, open_store
from cgjobs_data import Settings as DataSettings

NOW = datetime.now(UTC) + timedelta(days=60)
MONTH = timedelta(days=30)
URL = "https://files.example.com/"


class Attachments:
    """Files with rows, and some without."""

    def __init__(self, url: str, store: StoreSettings, **options: Any) -> None:
        sqlite = url.startswith("sqlite")
        time = {"time": "iso8601" if sqlite else "timestamptz"}
        self.data = DataSettings(
            url=url,
            preset="none",
            stores={"s": store},
            tables={
                "files": {"table": "files", "id": "id", "message": "message_id", "user": "user_id"}
                | {"size": "size", "url": "url", "created_at": "created_at"}
                | time,
                "messages": {"table": "messages", "id": "id", "channel": "channel_id"} | time,
            },
            **options,
        )
        self.db = Database(self.data)
        self.store: Store = open_store(self.data, "s")
        tables = sa.MetaData()
        at = sa.String(32) if sqlite else sa.DateTime(timezone=True)
        ident = lambda name, **more: sa.Column(name, sa.String(26), **more)  # noqa: E731
        sa.Table("messages", tables, ident("id", primary_key=True), ident("channel_id"))
        columns = [ident("id", primary_key=True), ident("message_id"), ident("user_id")]
        columns += [sa.Column("size", sa.BigInteger), sa.Column("url", sa.Text), sa.Column("created_at", at)]
        sa.Table("files", tables, *columns)
        tables.create_all(self.db.engine)
        self.tables = tables

    def put(self, path: str) -> None:
        self.store.put(path, b"0123456789")
        if self.store.settings.directory:
            os.utime(self.store.settings.directory / path, (0, 0))

    def row(self, ident: str, url: str, days: float = 90, **more: Any) -> None:
        at: Any = NOW - timedelta(days=days)
        if self.db.dialect == "sqlite":
            at = f"{at:%Y-%m-%dT%H:%M:%S}.000Z"
        row = {
            "id": ident,
            "url": url,
            "size": 10,
            "created_at": at,
            "user_id": "u1",
            "message_id": "m1",
        } | more
        with self.db.engine.begin() as connection:
            connection.execute(self.tables.tables["files"].insert().values(**row))

    def add(self, *paths: str, days: float = 90, **more: Any) -> None:
        for path in paths:
            self.put(path)
            self.row(path, URL + path, days, **more)

    def left(self) -> str:
        with self.db.engine.connect() as connection:
            return " ".join(connection.execute(sa.text("SELECT id FROM files ORDER BY id")).scalars())

    def there(self, *paths: str) -> list[bool]:
        found = []
        for path in paths:
            try:
                self.store.get(path)
                found.append(True)
            except FileNotFoundError:
                found.append(False)
        return found

    def clean(self, **fields: Any) -> FilesResult:
        payload: dict[str, Any] = {"root": "r", "mode": "rows", "max_fraction": 1.0}
        payload |= {} if fields.get("mode") == "orphans" else {"age": MONTH}
        settings = Settings(roots={"r": StoreRoot("s", url=URL)})
        uses: dict[Any, Any] = {Database: self.db, open_store: self.store}
        ctx = RecordingContext(settings=[settings, self.data], uses=uses)
        ctx.job = attrs.evolve(ctx.job, created_at=NOW)
        return files(Files(**payload | fields), ctx)


@pytest.fixture(params=["directory", "bucket"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Attachments]:
    """A directory beside SQLite, or a bucket beside PostgreSQL."""
    holds = (Hold(scope="user", target="u9"), Hold(scope="channel", target="c9"))
    if request.param == "directory":
        (tmp_path / "db").touch()
        (tmp_path / "files").mkdir()
        store, url = StoreSettings(directory=tmp_path / "files"), f"sqlite:///{tmp_path / 'db'}"
    else:
        store, url = request.getfixturevalue("s3").store(prefix="up/"), request.getfixturevalue("postgres")
    found = Attachments(url, store, holds=holds)
    yield found
    found.db.close()


def test_old_rows_go_with_their_files_and_young_ones_stay(here: Attachments) -> None:
    here.add("a", "b/c")
    here.add("young", days=5)
    here.put("without a row")

    plan = here.clean(dry_run=True)
    assert here.left() == "a b/c young"
    result = here.clean()

    assert here.left() == "young"
    assert here.there("a", "b/c", "young", "without a row") == [False, False, True, True]
    assert (result.scanned, result.matched, result.deleted, result.bytes_freed) == (3, 2, 2, 20)
    assert (plan.deleted, plan.bytes_freed, plan.samples) == (2, 20, result.samples)
    assert result.skipped.young == 1


def test_rows_that_are_held_share_a_file_or_point_elsewhere_stay(here: Attachments) -> None:
    here.add("held", user_id="u9")
    with here.db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO messages (id, channel_id) VALUES ('m9', 'c9')"))
    here.add("case", message_id="m9")
    here.add("twice")
    here.row("young", URL + "twice", 5)
    here.row("there", "https://elsewhere.example.com/a")
    here.row("climbs", URL + "../a")
    here.row("none", "")
    here.add("goes")

    result = here.clean()

    assert here.left() == "case climbs held none there twice young"
    assert here.there("held", "case", "twice", "goes") == [True, True, True, False]
    assert (result.skipped.held, result.skipped.shared, result.skipped.elsewhere) == (2, 1, 3)


def test_a_row_whose_file_is_gone_goes_too(here: Attachments) -> None:
    here.row("lost", URL + "lost")

    assert here.clean().deleted == 1
    assert here.left() == ""


def test_a_row_whose_file_cannot_be_deleted_stays_for_another_try(
    here: Attachments, monkeypatch: pytest.MonkeyPatch
) -> None:
    if here.store.settings.directory is not None:
        here.store.settings.directory.joinpath("a").mkdir()
        here.store.settings.directory.joinpath("a", "b").touch()
        here.row("a", URL + "a")
        assert here.clean().deleted == 1  # a directory is no file: there is nothing to delete
        assert here.store.settings.directory.joinpath("a", "b").exists()
        return
    here.add("a")
    monkeypatch.setattr(
        bucket.Bucket, "delete", lambda self, entries: [bucket.Answer(e, "AccessDenied") for e in entries]
    )

    with pytest.raises(Retry, match="AccessDenied for 'a'"):
        here.clean()
    assert here.left() == "a"


def test_limits_hold_for_rows_as_for_files(here: Attachments, monkeypatch: pytest.MonkeyPatch) -> None:
    here.add(*"abcd")

    with pytest.raises(Discard, match="would_delete_too_much: 4 of 4 rows"):
        here.clean(max_fraction=0.5)
    result = here.clean(max_items=1)
    assert (result.deleted, result.stopped_by) == (1, "max_items")
    seconds = iter(range(100))
    monkeypatch.setattr("cgjobs_cleanup.handlers.monotonic", lambda: next(seconds))
    monkeypatch.setattr("cgjobs_cleanup.row_sweep.BATCH", 2)
    with pytest.raises(Snooze, match="2 of 3 files deleted"):
        here.clean(max_duration=timedelta(seconds=1))
    assert here.left() == "d"


def test_files_without_a_row_are_reported_and_deleted_only_when_asked_for(here: Attachments) -> None:
    here.add("with", "with space")
    here.row("coded", URL + "with%20code")
    for path in ("with code", "orphan", ".hidden"):
        here.put(path)

    report = here.clean(mode="orphans")
    assert here.there("orphan") == [True]
    result = here.clean(mode="orphans", delete_orphans=True)

    assert (report.scanned, report.matched, report.deleted, report.samples) == (5, 1, 0, ("orphan",))
    assert (result.deleted, result.bytes_freed) == (1, 10)
    assert here.there("with", "with space", "with code", "orphan", ".hidden") == [
        True,
        True,
        True,
        False,
        True,
    ]


def test_a_file_younger_than_the_grace_is_no_orphan(here: Attachments) -> None:
    here.put("fresh")

    result = here.clean(mode="orphans", grace=timedelta(days=30_000))

    assert (result.matched, result.skipped.young) == (0, 1)


def test_when_hardly_any_file_has_a_row_nothing_is_deleted(here: Attachments) -> None:
    here.put("a")
    here.put("b")

    with pytest.raises(Discard, match=r"2 of 2 files have no row, .*look at the url of the root"):
        here.clean(mode="orphans", delete_orphans=True, max_fraction=0.5)
    assert here.there("a", "b") == [True, True]


def test_a_row_that_comes_while_orphans_are_deleted_saves_its_file(
    here: Attachments, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.put("a")
    real = OrphanSweep._delete_all

    def row_first(self: OrphanSweep) -> None:
        here.row("late", URL + "a")
        real(self)

    monkeypatch.setattr(OrphanSweep, "_delete_all", row_first)

    assert here.clean(mode="orphans", delete_orphans=True).deleted == 0
    assert here.there("a") == [True]


@given(st.text(max_size=40))
def test_no_url_leads_out_of_the_root(text: str) -> None:
    path = Addresses([URL, "s3://bucket/up/"]).path(URL + text)

    assert path is None or (not path.startswith("/") and ".." not in path.split("/") and path)


@given(st.from_regex(r"[a-z %?#&+é]{1,9}(/[a-z .%]{1,3}[a-z])?", fullmatch=True))
def test_each_url_of_a_path_leads_back_to_it_or_nowhere(path: str) -> None:
    addresses = Addresses(["s3://bucket/up/"])

    assert {addresses.path(url) for url in addresses.urls(path)} == {path}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "mode 'age' needs an age"),
        ({"mode": "rows"}, "mode 'rows' needs an age"),
        ({"mode": "orphans", "age": MONTH}, "has grace instead of age"),
        ({"mode": "orphans", "grace": timedelta(minutes=59)}, "grace"),
        ({"age": MONTH, "delete_orphans": True}, "delete_orphans is for mode 'orphans'"),
        ({"age": MONTH, "mode": "rows", "versions": "all"}, "versions 'all' is for mode 'age'"),
        ({"age": MONTH, "mode": "all"}, "mode"),
    ],
)
def test_a_payload_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Files("uploads", **fields)


def test_the_url_of_a_root_ends_in_a_slash() -> None:
    with pytest.raises(ValueError, match=r"write 'https://files\.example\.com/'"):
        StoreRoot("s", url="https://files.example.com")

"""`report.usage` over ChatGenius' data: right numbers, inert files, in three kinds of database."""

import csv
import io
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest

from cgjobs import Discard, JobCancelled, Retry
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_report import Params, ReportResult, Settings, Usage
from cgjobs_report.handlers import monthly, usage
from cgjobs_report.payloads import Format

ASKED = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
ALL: tuple[Format, ...] = ("html", "csv", "xlsx", "pdf", "json")


def context(data: DataSettings, **options: Any) -> RecordingContext:
    ctx = RecordingContext(settings=[Settings(), data], **options)
    ctx.job = attrs.evolve(ctx.job, created_at=ASKED, started_at=ASKED)
    return ctx


def run(data: DataSettings, formats: tuple[Format, ...] = ("csv",), **params: Any) -> ReportResult:
    with context(data) as ctx:
        return usage(Usage(params=Params(**params), formats=formats), ctx)


@pytest.fixture
def empty(demo_database: DataSettings) -> DataSettings:
    """A database without messages and files."""
    with database(demo_database) as db:
        db.executescript("DELETE FROM messages; DELETE FROM files")
    db.close()
    return demo_database


def database(data: DataSettings) -> sqlite3.Connection:
    return sqlite3.connect(data.demo_file)


def text(result: ReportResult, kind: str) -> str:
    (url,) = (file.url for file in result.files if file.format == kind)
    return Path(url.removeprefix("file://")).read_bytes().decode("utf-8-sig")


def rows(result: ReportResult, section: str) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(text(result, "csv"), newline=""), strict=True)
    return [row for row in table if row["section"] == section]


def write(data: DataSettings, *times: str, channel: str = "", user: str = "") -> None:
    with database(data) as db:
        channel = channel or db.execute("SELECT id FROM channels WHERE type = 'public'").fetchone()[0]
        user = user or db.execute("SELECT id FROM users").fetchone()[0]
        for at in times:
            number = db.execute("SELECT count(*) FROM messages").fetchone()[0]
            row = (f"m{number}", channel, user, "text", at, at)
            db.execute(
                """INSERT INTO messages (id, channel_id, user_id, content, created_at, updated_at)
                   VALUES (?, ?, ?, ?, ?, ?)""",
                row,
            )
    db.close()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_the_numbers_are_those_of_counting_by_hand(demo_database: DataSettings, zone: str) -> None:
    result = run(demo_database, timezone=zone, period="last_month")

    with database(demo_database) as db:
        written = [
            (user, channel, datetime.fromisoformat(at).astimezone(ZoneInfo(zone)))
            for user, channel, at in db.execute("SELECT user_id, channel_id, created_at FROM messages")
        ]
        uploads = [
            (size, datetime.fromisoformat(at).astimezone(ZoneInfo(zone)))
            for size, at in db.execute("SELECT size, created_at FROM files")
        ]
        names: dict[str, str] = dict(
            db.execute("SELECT id, CASE type WHEN 'dm' THEN 'Direct messages' ELSE name END FROM channels")
        )
        people: dict[str, str] = dict(db.execute("SELECT id, username FROM users"))
    db.close()
    for section, month, last in (("period", 10, 31), ("previous", 9, 30)):
        mine = [(user, channel) for user, channel, at in written if (at.year, at.month) == (2026, month)]
        sizes = [size for size, at in uploads if (at.year, at.month) == (2026, month)]
        (totals,) = rows(result, section)
        assert int(totals["messages"]) == len(mine)
        assert int(totals["active_users"]) == len({user for user, _ in mine})
        assert int(totals["active_channels"]) == len({channel for _, channel in mine})
        assert (int(totals["files"]), int(totals["file_bytes"])) == (len(sizes), sum(sizes))
        end = date(2026, month, last)
        for key, days in (("weekly_users", 7), ("monthly_users", 30)):
            some = {user for user, _, at in written if 0 <= (end - at.date()).days < days}
            assert int(totals[key]) == len(some)
        daily = len({(user, at.day) for user, _, at in written if (at.year, at.month) == (2026, month)})
        assert float(totals["daily_users"]) == pytest.approx(daily / last, abs=1e-6)
    october = [entry for entry in written if (entry[2].year, entry[2].month) == (2026, 10)]
    for number, day in enumerate(rows(result, "day"), start=1):
        mine = [(user, channel) for user, channel, at in october if at.day == number]
        assert (int(day["messages"]), int(day["active_users"])) == (
            len(mine),
            len({user for user, _ in mine}),
        )
    assert number == 31
    by_channel = Counter(names[channel] for _, channel, _ in october)
    by_person = Counter(people[user] for user, _, _ in october)
    for section, counts in (("channel", by_channel), ("person", by_person)):
        listed = [(row["name"], int(row["messages"])) for row in rows(result, section)]
        assert listed == sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    assert result.rows == len(october)


@pytest.mark.parametrize("version", ["head", "db-f-001"])
def test_postgresql_counts_the_same_way(seeded_postgres: Callable[..., DataSettings], version: str) -> None:
    import psycopg

    data = seeded_postgres(version)

    result = run(data, ("json", "csv"), timezone="Europe/Berlin", period="last_quarter", granularity="week")

    with psycopg.connect(data.url) as db:
        written = db.execute("SELECT user_id, channel_id, created_at FROM messages").fetchall()
        names = dict(db.execute("SELECT id, username FROM users").fetchall())
    zone = ZoneInfo("Europe/Berlin")
    start, end = (datetime(2026, month, 1, tzinfo=zone) for month in (7, 10))
    mine = [(user, channel, at) for user, channel, at in written if start <= at < end]
    figures = json.loads(text(result, "json"))["figures"]
    assert result.rows == figures["messages"]["value"] == len(mine) > 0
    assert figures["activeUsers"]["value"] == len({user for user, _, _ in mine})
    assert figures["activeChannels"]["value"] == len({channel for _, channel, _ in mine})
    weeks = Counter(at.astimezone(zone).isocalendar()[1] for _, _, at in mine)
    assert [int(row["messages"]) for row in rows(result, "week")] == [weeks[week] for week in range(27, 41)]
    people = Counter(names[user] for user, _, _ in mine)
    listed = {row["name"]: int(row["messages"]) for row in rows(result, "person")}
    assert len(listed) == 10
    assert all(people[name] == messages for name, messages in listed.items())
    assert min(listed.values()) >= sorted(people.values())[-10]
    assert result.source_lag is None
    without_files = "This database has no table of files; they are not counted."
    assert (without_files in result.warnings) == (version == "head")
    assert (figures["files"]["value"] is None) == (version == "head")


def test_mariadb_counts_too(mariadb: str, tmp_path: Path) -> None:
    from sqlalchemy import text as sql

    from cgjobs_data import Database

    data = DataSettings(url=mariadb, preset="chatgenius-db-f-001", directory=tmp_path)
    with Database(data) as db, db.autocommit("setup") as connection:
        for statement in (
            "CREATE TABLE users (id VARCHAR(26) PRIMARY KEY, email VARCHAR(99), username VARCHAR(99))",
            "CREATE TABLE channels (id VARCHAR(26) PRIMARY KEY, name VARCHAR(99), type VARCHAR(9))",
            """CREATE TABLE messages (id INT PRIMARY KEY, channel_id VARCHAR(26), user_id VARCHAR(26),
               created_at DATETIME(6))""",
            "INSERT INTO users VALUES ('u1', 'a@example.com', 'ada'), ('u2', 'b@example.com', 'bob')",
            "INSERT INTO channels VALUES ('c1', 'general', 'public'), ('d1', '', 'dm'), ('d2', '', 'dm')",
            """INSERT INTO messages VALUES (1, 'c1', 'u1', '2026-09-30 22:00:00'),
               (2, 'd1', 'u1', '2026-10-05 10:00:00'), (3, 'd2', 'u2', '2026-10-05 11:00:00'),
               (4, 'c1', 'u1', '2026-10-31 23:00:00'), (5, 'c1', 'gone', '2026-10-25 00:30:00')""",
        ):
            connection.execute(sql(statement))

    result = run(data, timezone="Europe/Berlin")

    assert result.rows == 4
    assert [(row["name"], row["messages"], row["active_users"]) for row in rows(result, "channel")] == [
        ("Direct messages", "2", "2"),
        ("general", "2", "2"),
    ]
    assert {row["name"] for row in rows(result, "person")} == {"ada", "bob", "unknown"}


def test_the_first_moment_counts_and_the_one_after_the_last_does_not(empty: DataSettings) -> None:
    inside = ("2026-09-30T22:00:00.000Z", "2026-10-31T22:59:59.999Z")
    write(empty, "2026-09-30T21:59:59.999Z", *inside, "2026-10-31T23:00:00.000Z")

    result = run(empty, timezone="Europe/Berlin")

    assert result.rows == 2
    assert [int(row["messages"]) for row in rows(result, "day")] == [1, *[0] * 29, 1]


def test_the_hour_that_happens_twice_is_two_hours(empty: DataSettings) -> None:
    write(empty, "2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z", "2026-10-25T02:30:00.000Z")

    result = run(empty, timezone="Europe/Berlin", granularity="hour", from_="2026-10-25", to="2026-10-26")

    found = rows(result, "hour")
    assert len(found) == 25
    assert [row["start"][11:] for row in found if row["messages"] == "1"] == [
        "02:00:00+02:00",
        "02:00:00+01:00",
        "03:00:00+01:00",
    ]


@pytest.mark.parametrize("style", ["{}T{}Z", "{}T{}.000Z", "{} {}", "{}T{}+00:00", "{} {}.123456+00:00"])
def test_every_iso_way_to_write_utc_is_understood(empty: DataSettings, style: str) -> None:
    moments = [
        ("2026-09-30", "23:59:59"),
        ("2026-10-01", "00:00:00"),
        ("2026-10-31", "23:59:59"),
        ("2026-11-01", "00:00:00"),
    ]
    write(empty, *(style.format(*moment) for moment in moments))

    assert run(empty).rows == 2


def test_a_retry_on_the_next_day_reports_the_same_month_in_the_same_files(
    demo_database: DataSettings,
) -> None:
    payload = Usage(formats=ALL)
    with context(demo_database) as ctx:
        first = usage(payload, ctx)
    with context(demo_database, attempt=2) as ctx:
        ctx.job = attrs.evolve(ctx.job, started_at=ASKED + timedelta(days=40))
        second = usage(payload, ctx)

    assert [file.path for file in first.files] == [file.path for file in second.files]
    assert first.period == second.period
    assert first.keep_until == second.keep_until == ASKED + timedelta(days=90)
    assert second.generated_at == ASKED + timedelta(days=40)
    found = sorted(path.name for path in (demo_database.directory / "reports").iterdir())
    assert found == [f"usage-2026-10.{kind}" for kind in ("csv", "html", "json", "pdf", "xlsx")]


def test_reports_that_differ_have_names_that_differ(empty: DataSettings) -> None:
    variants: list[dict[str, Any]] = [
        *({}, {"timezone": "Europe/Berlin"}, {"timezone": "Etc/GMT+3"}, {"timezone": "Etc/GMT-3"}),
        *({"granularity": "week"}, {"top": 3}, {"compare": False}, {"period": "last_week"}),
    ]

    assert len({run(empty, **variant).files[0].path for variant in variants}) == len(variants)


def test_an_empty_period_says_so(demo_database: DataSettings) -> None:
    result = run(demo_database, ("html",), from_="2020-01-01", to="2020-02-01")

    assert "Nothing happened" in text(result, "html")
    assert result.rows == 0
    (warning,) = result.warnings
    assert re.fullmatch(r"The oldest message is of 2025-11-2\d: the period may be incomplete\.", warning)


def test_an_empty_database_says_so(empty: DataSettings) -> None:
    assert "Nothing happened" in text(run(empty, ("html",)), "html")


def test_a_period_that_goes_on_says_so(demo_database: DataSettings) -> None:
    result = run(demo_database, ("html",), from_="2026-11-01", to="2026-12-01")

    assert result.warnings == ("The period had not ended when the report was requested.",)
    assert result.warnings[0] in text(result, "html")


def test_nothing_to_compare_with_is_said(demo_database: DataSettings) -> None:
    result = run(demo_database, ("csv", "html"), from_="2025-11-01", to="2025-12-01")

    assert "There is nothing from October 2025 to compare with." in result.warnings
    assert rows(result, "previous") == []
    assert "changes are against" not in text(result, "html")


def test_the_comparison_can_be_left_out(demo_database: DataSettings) -> None:
    result = run(demo_database, compare=False)

    assert result.warnings == ()
    assert rows(result, "previous") == []


def test_a_database_without_files_is_reported_with_a_warning(empty: DataSettings) -> None:
    with database(empty) as db:
        db.execute("DROP TABLE files")
    db.close()

    assert "This database has no table of files; they are not counted." in run(empty).warnings


class Outline(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.text.append(data)


PICTURE = re.compile("<svg.*?</svg>", re.DOTALL)
NASTY = [
    '=HYPERLINK("http://evil.example","click")',
    *("+1+1", "-2+3", "@SUM(A1)", "\tx", "\r=1", "\n=1", "\uff1d1"),
    '<script>alert("1")</script>',
    "{{ 7 * 7 }}",
    'a, "quoted"\r\nsecond line',
    "\u202eevil",
]


def test_what_users_wrote_is_only_text_in_every_format(empty: DataSettings) -> None:
    with database(empty) as db:
        user = db.execute("SELECT id FROM users").fetchone()[0]
        found = db.execute("SELECT id FROM channels WHERE type = 'public' LIMIT ?", (len(NASTY),))
        channels = [row[0] for row in found]
        for channel, name in zip(channels, NASTY, strict=True):
            db.execute("UPDATE channels SET name = ? WHERE id = ?", (name, channel))
        db.execute("UPDATE users SET username = '<img src=x onerror=alert(1)>' WHERE id = ?", (user,))
    db.close()
    for channel in channels:
        write(empty, "2026-10-05T10:00:00.000Z", channel=channel, user=user)

    result = run(empty, ("html", "csv", "json"), top=20)

    page = Outline(text(result, "html"))
    assert not {"script", "img", "a", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert set(NASTY) <= set(page.text)
    names = [row["name"] for row in rows(result, "channel")]
    assert sorted(names) == sorted(f"'{name}" if name[0] in "=+-@\t\r\n\uff1d" else name for name in NASTY)
    listed = json.loads(text(result, "json"))["tables"]["channel"]
    assert sorted(row["name"] for row in listed) == sorted(NASTY)


def test_the_page_needs_nothing_else_and_is_light(demo_database: DataSettings) -> None:
    variants: list[dict[str, Any]] = [{}, {"granularity": "hour"}, {"period": "last_year", "top": 100}]
    for params in variants:
        page = text(run(demo_database, ("html",), **params), "html")

        assert len(PICTURE.sub("", page).encode()) < 60_000
        assert len(page.encode()) < 150_000
        assert not {"script", "link", "img", "iframe"} & set(Outline(page).tags)
        assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_the_table_has_as_many_cells_in_each_line(demo_database: DataSettings) -> None:
    content = text(run(demo_database), "csv")

    assert content.endswith("\r\n")
    assert {len(row) for row in csv.reader(io.StringIO(content, newline=""), strict=True)} == {12}


def test_a_database_that_is_not_configured_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Discard, match=r"set \[plugins\.data\] url"):
        run(DataSettings(directory=tmp_path))


def test_missing_columns_are_named_together(demo_database: DataSettings) -> None:
    with database(demo_database) as db:
        db.execute("ALTER TABLE channels RENAME COLUMN name TO label")
    db.close()

    with pytest.raises(Discard, match=r"name.*cgjobs data check"):
        run(demo_database)


def test_times_that_are_no_texts_are_discarded(empty: DataSettings) -> None:
    write(empty, "1790000000")

    with pytest.raises(Discard, match="no ISO 8601 text"):
        run(empty)


def test_a_locked_database_is_tried_again(demo_database: DataSettings) -> None:
    db = database(demo_database)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("BEGIN EXCLUSIVE")

    with pytest.raises(Retry, match="locked"):
        run(demo_database)

    db.close()


def test_a_granularity_too_fine_to_draw_is_discarded(demo_database: DataSettings) -> None:
    with pytest.raises(Discard, match="over 1000 hours"):
        run(demo_database, period="last_year", granularity="hour")


def test_the_database_is_not_written(demo_database: DataSettings) -> None:
    before = demo_database.demo_file.read_bytes()

    run(demo_database)

    assert demo_database.demo_file.read_bytes() == before


def test_progress_ends_at_its_total_and_a_cancel_stops(demo_database: DataSettings) -> None:
    with context(demo_database) as ctx:
        usage(Usage(formats=("html", "csv", "json")), ctx)
    with pytest.raises(JobCancelled), context(demo_database, cancel_after=2) as cancelled:
        usage(Usage(formats=("pdf",)), cancelled)

    assert list(dict.fromkeys(report.done for report in ctx.reports)) == list(range(9))
    assert {report.total for report in ctx.reports} == {8}
    assert not (demo_database.directory / "reports" / "usage-2026-10.pdf").exists()


@attrs.frozen
class FakeSlot:
    at: datetime
    given: Settings

    def settings(self, cls: type[Any]) -> Any:
        return self.given


@pytest.mark.parametrize(
    ("at", "zone", "month"),
    [
        (datetime(2026, 11, 1, tzinfo=UTC), "UTC", ("2026-10-01", "2026-11-01")),
        (datetime(2026, 10, 31, 23, tzinfo=UTC), "Europe/Berlin", ("2026-10-01", "2026-11-01")),
        (datetime(2026, 1, 1, tzinfo=UTC), "UTC", ("2025-12-01", "2026-01-01")),
    ],
)
def test_the_schedule_asks_for_the_month_before_its_slot(
    at: datetime, zone: str, month: tuple[str, str]
) -> None:
    (payload,) = monthly(FakeSlot(at, Settings(timezone=zone, notify=("u1",))))

    assert (payload.params.from_, payload.params.to, payload.params.timezone) == (*month, zone)
    assert (payload.formats, payload.notify) == (("html", "csv"), ("u1",))

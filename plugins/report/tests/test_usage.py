"""`report.usage` over the demo's database: right numbers, inert files, the same bytes each time."""

import csv
import hashlib
import io
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest

from cgjobs import Discard, JobCancelled, Retry
from cgjobs.demo.seed import seed
from cgjobs.testing import RecordingContext
from cgjobs_report import Params, Settings, Usage, UsageResult
from cgjobs_report.handlers import monthly, usage
from cgjobs_report.payloads import Format

ASKED = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
ALL: tuple[Format, ...] = ("html", "csv", "xlsx", "pdf", "json")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "chat.db"
    seed(path, messages=8_000, now=datetime(2026, 11, 24, tzinfo=UTC))
    return path


def context(database: Path | None, directory: Path, **options: Any) -> RecordingContext:
    ctx = RecordingContext(settings=[Settings(database=database, directory=directory)], **options)
    ctx.job = attrs.evolve(ctx.job, created_at=ASKED, started_at=ASKED)
    return ctx


@pytest.fixture
def report(database: Path, tmp_path: Path) -> Callable[..., UsageResult]:
    def run(path: Path = database, formats: tuple[Format, ...] = ("csv",), **params: Any) -> UsageResult:
        return usage(Usage(params=Params(**params), formats=formats), context(path, tmp_path / "out"))

    return run


def text(result: UsageResult, kind: str) -> str:
    (path,) = (file.path for file in result.files if file.format == kind)
    return Path(path).read_bytes().decode("utf-8-sig")


def rows(result: UsageResult, section: str) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(text(result, "csv"), newline=""), strict=True)
    return [row for row in table if row["section"] == section]


def empty_database(path: Path) -> sqlite3.Connection:
    seed(path, users=3, messages=0, now=ASKED)
    return sqlite3.connect(path, isolation_level=None)


def write(db: sqlite3.Connection, channel: str, user: str, *times: str) -> None:
    for at in times:
        number = db.execute("SELECT count(*) FROM messages").fetchone()[0]
        row = (f"m{number}", channel, user, "text", at, at)
        db.execute(
            """INSERT INTO messages (id, channel_id, user_id, content, created_at, updated_at)
               VALUES (?, ?, ?, ?, ?, ?)""",
            row,
        )


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_the_numbers_are_those_of_counting_by_hand(
    database: Path, report: Callable[..., UsageResult], zone: str
) -> None:
    result = report(timezone=zone, period="last_month")

    written = []
    with sqlite3.connect(database) as db:
        for user, channel, at in db.execute("SELECT user_id, channel_id, created_at FROM messages"):
            written.append((user, channel, datetime.fromisoformat(at).astimezone(ZoneInfo(zone))))
        uploads = [
            (size, datetime.fromisoformat(at).astimezone(ZoneInfo(zone)))
            for size, at in db.execute("SELECT size, created_at FROM files")
        ]
        names: dict[str, str] = dict(
            db.execute("SELECT id, CASE type WHEN 'dm' THEN 'Direct messages' ELSE name END FROM channels")
        )
        people: dict[str, str] = dict(db.execute("SELECT id, username FROM users"))
    db.close()
    for section, month in (("period", 10), ("previous", 9)):
        mine = [(user, channel) for user, channel, at in written if (at.year, at.month) == (2026, month)]
        sizes = [size for size, at in uploads if (at.year, at.month) == (2026, month)]
        (totals,) = rows(result, section)
        assert int(totals["messages"]) == len(mine)
        assert int(totals["active_users"]) == len({user for user, _ in mine})
        assert int(totals["active_channels"]) == len({channel for _, channel in mine})
        assert (int(totals["files"]), int(totals["file_bytes"])) == (len(sizes), sum(sizes))
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


def test_the_first_moment_counts_and_the_one_after_the_last_does_not(
    tmp_path: Path, report: Callable[..., UsageResult]
) -> None:
    db = empty_database(tmp_path / "chat.db")
    channel, user = db.execute("SELECT c.id, u.id FROM channels AS c, users AS u").fetchone()
    inside = ("2026-09-30T22:00:00.000Z", "2026-10-31T22:59:59.999Z")
    write(db, channel, user, "2026-09-30T21:59:59.999Z", *inside, "2026-10-31T23:00:00.000Z")
    db.close()

    result = report(tmp_path / "chat.db", timezone="Europe/Berlin")

    assert result.rows == 2
    assert [int(row["messages"]) for row in rows(result, "day")] == [1, *[0] * 29, 1]


@pytest.mark.parametrize("style", ["{}T{}Z", "{}T{}.000Z", "{} {}", "{}T{}+00:00", "{} {}.123456+00:00"])
def test_every_iso_way_to_write_utc_is_understood(
    tmp_path: Path, report: Callable[..., UsageResult], style: str
) -> None:
    db = empty_database(tmp_path / "chat.db")
    channel, user = db.execute("SELECT c.id, u.id FROM channels AS c, users AS u").fetchone()
    moments = [
        ("2026-09-30", "23:59:59"),
        ("2026-10-01", "00:00:00"),
        ("2026-10-31", "23:59:59"),
        ("2026-11-01", "00:00:00"),
    ]
    write(db, channel, user, *(style.format(*moment) for moment in moments))
    db.close()

    assert report(tmp_path / "chat.db").rows == 2


def test_a_retry_on_the_next_day_reports_the_same_month_in_the_same_bytes(
    database: Path, tmp_path: Path
) -> None:
    payload = Usage(formats=ALL)

    first = usage(payload, context(database, tmp_path))
    second = usage(payload, context(database, tmp_path, attempt=2))

    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"usage-2026-10.{kind}" for kind in ("csv", "html", "json", "pdf", "xlsx")
    ]
    for file in first.files:
        content = Path(file.path).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_reports_that_differ_have_names_that_differ(report: Callable[..., UsageResult]) -> None:
    variants: list[dict[str, Any]] = [
        *({}, {"timezone": "Europe/Berlin"}, {"timezone": "Etc/GMT+3"}, {"timezone": "Etc/GMT-3"}),
        *({"granularity": "week"}, {"top": 3}, {"compare": False}, {"period": "last_week"}),
    ]

    assert len({report(**variant).files[0].path for variant in variants}) == len(variants)


def test_an_empty_period_says_so(report: Callable[..., UsageResult]) -> None:
    result = report(formats=("html",), from_="2020-01-01", to="2020-02-01")

    assert "Nothing happened" in text(result, "html")
    assert result.rows == 0
    assert result.warnings == ("The oldest message is of 2025-11-24: the period may be incomplete.",)


def test_an_empty_database_says_so(tmp_path: Path, report: Callable[..., UsageResult]) -> None:
    empty_database(tmp_path / "chat.db").close()

    assert "Nothing happened" in text(report(tmp_path / "chat.db", ("html",)), "html")


def test_a_period_that_goes_on_says_so(report: Callable[..., UsageResult]) -> None:
    result = report(formats=("html",), from_="2026-11-01", to="2026-12-01")

    assert result.warnings == ("The period had not ended when the report was requested.",)
    assert result.warnings[0] in text(result, "html")


def test_nothing_to_compare_with_is_said(report: Callable[..., UsageResult]) -> None:
    result = report(formats=("csv", "html"), from_="2025-11-01", to="2025-12-01")

    assert "There is nothing from October 2025 to compare with." in result.warnings
    assert rows(result, "previous") == []
    assert "changes are against" not in text(result, "html")


def test_the_comparison_can_be_left_out(report: Callable[..., UsageResult]) -> None:
    result = report(compare=False)

    assert result.warnings == ()
    assert rows(result, "previous") == []


def test_a_database_without_files_is_reported_with_a_warning(
    tmp_path: Path, report: Callable[..., UsageResult]
) -> None:
    db = empty_database(tmp_path / "chat.db")
    db.execute("DROP TABLE files")
    db.close()

    assert (
        "This database has no table of files; they are not counted." in report(tmp_path / "chat.db").warnings
    )


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


def test_what_users_wrote_is_only_text_in_every_format(
    tmp_path: Path, report: Callable[..., UsageResult]
) -> None:
    db = empty_database(tmp_path / "chat.db")
    users = [row[0] for row in db.execute("SELECT id FROM users")]
    channels = [
        row[0] for row in db.execute("SELECT id FROM channels WHERE type = 'public' LIMIT ?", (len(NASTY),))
    ]
    for channel, name in zip(channels, NASTY, strict=True):
        db.execute("UPDATE channels SET name = ? WHERE id = ?", (name, channel))
        write(db, channel, users[0], "2026-10-05T10:00:00.000Z")
    db.execute("UPDATE users SET username = '<img src=x onerror=alert(1)>' WHERE id = ?", (users[0],))
    db.close()

    result = report(tmp_path / "chat.db", ("html", "csv", "json"), top=20)

    page = Outline(text(result, "html"))
    assert not {"script", "img", "a", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert set(NASTY) <= set(page.text)
    names = [row["name"] for row in rows(result, "channel")]
    assert sorted(names) == sorted(f"'{name}" if name[0] in "=+-@\t\r\n\uff1d" else name for name in NASTY)
    assert sorted(row["name"] for row in json.loads(text(result, "json"))["tables"]["channel"]) == sorted(
        NASTY
    )


def test_the_page_needs_nothing_else_and_is_light(report: Callable[..., UsageResult]) -> None:
    variants: list[dict[str, Any]] = [{}, {"granularity": "hour"}, {"period": "last_year", "top": 100}]
    for params in variants:
        page = text(report(formats=("html",), **params), "html")

        assert len(PICTURE.sub("", page).encode()) < 60_000
        assert len(page.encode()) < 200_000
        assert not {"script", "link", "img", "iframe"} & set(Outline(page).tags)
        assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_the_table_has_as_many_cells_in_each_line(report: Callable[..., UsageResult]) -> None:
    content = text(report(), "csv")

    assert content.endswith("\r\n")
    assert {len(row) for row in csv.reader(io.StringIO(content, newline=""), strict=True)} == {10}


def test_a_failed_write_leaves_the_report_of_before(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = usage(Usage(), context(database, tmp_path))
    before = Path(result.files[0].path).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cgjobs_report.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        usage(Usage(), context(database, tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["usage-2026-10.html"]
    assert Path(result.files[0].path).read_bytes() == before


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no database at .*correct database in"),
        (lambda path: path.write_text("this is no database at all, not at all"), "not a database"),
        (lambda path: path.write_bytes(b""), "no table messages"),
    ],
)
def test_what_is_no_database_is_named_with_what_to_do(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    make(tmp_path / "chat.db")

    with pytest.raises(Discard, match=reason):
        usage(Usage(), context(tmp_path / "chat.db", tmp_path / "out"))


def test_a_database_that_is_not_configured_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Discard, match=r"set database in \[plugins\.report\]"):
        usage(Usage(), context(None, tmp_path))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    db = empty_database(tmp_path / "chat.db")
    db.execute("DROP TABLE channels")
    db.close()

    with pytest.raises(Discard, match="no such table: channels"):
        usage(Usage(), context(tmp_path / "chat.db", tmp_path / "out"))


def test_times_that_are_no_texts_are_discarded(tmp_path: Path) -> None:
    db = empty_database(tmp_path / "chat.db")
    channel, user = db.execute("SELECT c.id, u.id FROM channels AS c, users AS u").fetchone()
    write(db, channel, user, "1790000000")
    db.close()

    with pytest.raises(Discard, match="ISO 8601"):
        usage(Usage(), context(tmp_path / "chat.db", tmp_path / "out"))


def test_a_locked_database_is_tried_again(tmp_path: Path) -> None:
    db = empty_database(tmp_path / "chat.db")
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("BEGIN EXCLUSIVE")

    with pytest.raises(Retry, match="locked"):
        usage(Usage(), context(tmp_path / "chat.db", tmp_path / "out"))

    db.close()


def test_a_granularity_too_fine_to_draw_is_discarded(report: Callable[..., UsageResult]) -> None:
    with pytest.raises(Discard, match="over 1000 hours"):
        report(period="last_year", granularity="hour")


def test_the_database_is_not_written(database: Path, report: Callable[..., UsageResult]) -> None:
    before = database.read_bytes()

    report()

    assert database.read_bytes() == before


def test_progress_ends_at_its_total_and_a_cancel_stops(database: Path, tmp_path: Path) -> None:
    ctx = context(database, tmp_path)
    usage(Usage(formats=ALL), ctx)

    assert [report.done for report in ctx.reports] == list(range(11))
    assert {report.total for report in ctx.reports} == {10}
    with pytest.raises(JobCancelled):
        usage(Usage(), context(database, tmp_path / "out", cancel_after=2))
    assert not (tmp_path / "out").exists()


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
    tmp_path: Path, at: datetime, zone: str, month: tuple[str, str]
) -> None:
    (payload,) = monthly(FakeSlot(at, Settings(database=tmp_path, timezone=zone)))

    assert (payload.params.from_, payload.params.to, payload.params.timezone) == (*month, zone)


def test_the_schedule_says_why_there_is_no_report() -> None:
    with pytest.raises(Discard, match=r"set database in \[plugins\.report\]"):
        list(monthly(FakeSlot(ASKED, Settings())))

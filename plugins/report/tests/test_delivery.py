"""Where reports go, what they are called, and who is told: real stores and a real broker."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from cgjobs import Discard, SubtypeNotFound
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_data import StoreSettings
from cgjobs_data.testing import S3Server
from cgjobs_report import Audit, Params, ReportResult, Settings, Usage
from cgjobs_report.handlers import usage

ASKED = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


class Mails:
    """Stands in for a client: keeps what is enqueued, once for each id, as a broker does."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.calls = 0

    def enqueue_data(self, name: str, data: dict[str, Any], **options: Any) -> Any:
        self.calls += 1
        assert name == "notification.email"
        self.jobs.setdefault(options["job_id"], data)
        return attrs.make_class("Job", ["id"])(options["job_id"])


def run(
    payload: Usage, data: DataSettings, mails: Any = None, marks: Any = None, **settings: Any
) -> ReportResult:
    ctx = RecordingContext(settings=[Settings(**settings), data], client=mails or Mails(), marks=marks)
    ctx.job = attrs.evolve(ctx.job, created_at=ASKED, started_at=ASKED)
    with ctx:
        return usage(payload, ctx)


def test_a_report_is_written_into_a_bucket(demo_database: DataSettings, s3: S3Server) -> None:
    store = s3.store(prefix="month/")
    data = attrs.evolve(demo_database, stores={"archive": store})

    result = run(Usage(store="archive", formats=("csv", "html")), data)

    client = s3.client()
    found = client.list_objects_v2(Bucket=store.bucket)["Contents"]
    head = client.head_object(Bucket=store.bucket, Key="month/usage-2026-10.html")
    client.close()
    assert sorted(each["Key"] for each in found) == ["month/usage-2026-10.csv", "month/usage-2026-10.html"]
    assert head["ContentType"] == "text/html; charset=utf-8"
    assert result.files[0].url == f"s3://{store.bucket}/month/usage-2026-10.csv"


def test_an_unknown_store_is_refused_before_anything_is_counted(demo_database: DataSettings) -> None:
    with pytest.raises(Discard, match="no store is named 'archiv'"):
        run(Usage(store="archiv"), demo_database)


def test_the_settings_name_the_store_of_reports_that_name_none(
    demo_database: DataSettings, tmp_path: Any
) -> None:
    data = attrs.evolve(demo_database, stores={"here": StoreSettings(directory=tmp_path / "here")})

    run(Usage(formats=("json",)), data, store="here")

    assert [path.name for path in (tmp_path / "here").iterdir()] == ["usage-2026-10.json"]


def test_a_name_can_be_chosen(demo_database: DataSettings) -> None:
    params = Params(timezone="Europe/Berlin", top=3)

    result = run(Usage(params=params, name_template="{period}/{report}-{timezone}-{variant}"), demo_database)

    assert result.files[0].path == "2026-10/usage-europe-berlin-top-3.html"


@pytest.mark.parametrize(
    "template",
    [
        "../{report}",
        "/etc/{report}",
        "a//b",
        "{nothing}",
        "{report!r}",
        "{report:>9}",
        "{report.x}",
        "{",
        "a\\b",
        "x" * 201,
        "line\nbreak",
        "{}",
        "{0}",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_when_enqueued(template: str) -> None:
    with pytest.raises(ValueError, match=r"no name template|no relative path"):
        Usage(name_template=template)


def test_each_person_gets_one_mail_however_often_the_job_runs(demo_database: DataSettings) -> None:
    mails, payload = Mails(), Usage(notify=("u1", "u2", "u1"))

    first = run(payload, demo_database, mails)
    forgotten = dict.fromkeys(first.notification_jobs, "done")
    second = run(payload, demo_database, mails, forgotten)

    assert mails.calls == 2
    assert first.notification_jobs == second.notification_jobs == tuple(mails.jobs)
    assert [data["userId"] for data in mails.jobs.values()] == ["u1", "u2"]


def test_an_attempt_that_died_while_it_told_somebody_tells_nobody_twice(demo_database: DataSettings) -> None:
    mails, payload = Mails(), Usage(notify=("u1",))

    first = run(payload, demo_database, mails)
    run(payload, demo_database, mails, {first.notification_jobs[0]: "begun"})

    assert len(mails.jobs) == 1


def test_without_the_plugin_for_mails_the_reason_says_what_to_install(demo_database: DataSettings) -> None:
    class Nobody:
        def enqueue_data(self, name: str, data: dict[str, Any], **options: Any) -> Any:
            raise SubtypeNotFound(name)

    with pytest.raises(Discard, match="pip install chatgenius-jobs-notification"):
        run(Usage(notify=("u1",)), demo_database, Nobody())
    assert (demo_database.directory / "reports" / "usage-2026-10.html").exists()


def test_a_mail_has_the_numbers_and_the_files(demo_database: DataSettings) -> None:
    mails = Mails()

    run(Usage(notify=("u1",), formats=("html", "csv")), demo_database, mails)

    (mail,) = mails.jobs.values()
    assert mail["message"]["subject"] == "Usage of ChatGenius, October 2026"
    assert re.search(r"Messages: [0-9]+ \(.[0-9]+ %\)\n", mail["message"]["text"])
    assert mail["attachments"] == [
        {"store": "reports", "path": f"usage-2026-10.{kind}", "name": f"usage-2026-10.{kind}"}
        for kind in ("html", "csv")
    ]


def test_a_mail_has_links_where_people_can_fetch_the_files(
    demo_database: DataSettings, tmp_path: Any
) -> None:
    mails = Mails()
    store = StoreSettings(directory=tmp_path / "www", url="https://files.example.com/reports")

    run(Usage(notify=("u1",)), attrs.evolve(demo_database, stores={"reports": store}), mails)

    (mail,) = mails.jobs.values()
    assert "HTML: https://files.example.com/reports/usage-2026-10.html" in mail["message"]["text"]
    assert "attachments" not in mail
    pictures = re.findall(r'<img src="([^"]+)"', mail["message"]["html"])
    assert pictures == [
        f"https://files.example.com/reports/usage-2026-10-{key}.png" for key in ("messages", "active_users")
    ]
    for url in pictures:
        assert (tmp_path / "www" / url.rpartition("/")[2]).read_bytes().startswith(b"\x89PNG")


def test_a_mail_about_nothing_says_so(demo_database: DataSettings) -> None:
    mails = Mails()
    params = Params(from_="2020-01-01", to="2020-02-01")

    run(Usage(notify=("u1",), params=params), demo_database, mails)

    (mail,) = mails.jobs.values()
    assert "<b>Nothing happened</b>" in mail["message"]["html"]
    assert not re.search(r"<(script|link|iframe|style)", mail["message"]["html"])


def test_until_when_a_report_is_kept_is_said(demo_database: DataSettings) -> None:
    result = run(Usage(retention=timedelta(days=365)), demo_database)

    assert result.keep_until == ASKED + timedelta(days=365)
    page = (demo_database.directory / "reports" / "usage-2026-10.html").read_text("utf-8")
    assert "To be kept until 2027-11-02." in page


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"retention": timedelta(hours=1)}, "1d to 36500d"),
        ({"notify": ("",)}, "empty text"),
        ({"actors": ("",)}, "empty text"),
    ],
)
def test_payloads_are_checked_when_enqueued(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Audit(**options)

"""`report.performance`: what the history of the jobs says, added up, compared, and told in all formats."""

import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgjobs import Histogram, History, JobHour, QueueHour
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_report import Params, Performance, ReportResult, Settings
from cgjobs_report.handlers import performance

ASKED = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BUCKET = 38  # of durations up to 1.02 s


class Past:
    """Stands in for a client: gives the hours that are asked for."""

    def __init__(self, jobs: list[JobHour], queues: list[QueueHour]) -> None:
        self.jobs, self.queues = jobs, queues
        self.asked: list[Any] = []

    def history(self, since: datetime, until: datetime | None = None, queue: str | None = None) -> History:
        assert until is not None
        self.asked.append((since, until, queue))
        jobs = tuple(hour for hour in self.jobs if since <= hour.start < until)
        queues = tuple(hour for hour in self.queues if since <= hour.start < until)
        return History(since, until, jobs, queues)


def mails(start: datetime, **options: Any) -> JobHour:
    given = {"started": 10, "completed": 9, "failed": 1, "busy": 600 * SECOND}
    given |= {"run": Histogram({BUCKET: 10}, 10 * SECOND), "wait": Histogram({0: 10}, SECOND / 100)}
    return JobHour(start, "notification", "notification.email", **{**given, **options})


def seen(start: datetime, **options: Any) -> QueueHour:
    return QueueHour(start, "notification", **{"slots": timedelta(hours=1), **options})


@pytest.fixture
def past() -> Past:
    """Two hours of October, one of September, one of November."""
    starts = (datetime(2026, 9, 5, 10, tzinfo=UTC), OCTOBER, OCTOBER + timedelta(days=4, hours=3))
    jobs = [mails(start) for start in (*starts, datetime(2026, 11, 1, tzinfo=UTC))]
    jobs[2] = attrs.evolve(jobs[2], retried=3, errors={"SMTPServerDisconnected": 4})
    jobs.append(JobHour(OCTOBER, "report", "report.usage", started=1, completed=1, busy=60 * SECOND))
    queues = [seen(start, samples=10, waiting_sum=5, waiting_most=4, oldest=8 * SECOND) for start in starts]
    queues.append(QueueHour(OCTOBER, "cleanup", fires=2, skipped=1, lateness=Histogram({BUCKET: 2}, SECOND)))
    return Past(jobs, queues)


def run(past: Past, data: DataSettings, **options: Any) -> ReportResult:
    ctx = RecordingContext(settings=[Settings(), data], client=past)
    ctx.job = attrs.evolve(ctx.job, created_at=ASKED, started_at=ASKED)
    with ctx:
        return performance(Performance(**{"formats": ("csv", "json"), **options}), ctx)


@pytest.fixture
def data(tmp_path: Path) -> DataSettings:
    """Stores alone: this report needs no database."""
    return DataSettings(directory=tmp_path)


def content(result: ReportResult, kind: str) -> str:
    (url,) = (file.url for file in result.files if file.format == kind)
    return Path(url.removeprefix("file://")).read_bytes().decode("utf-8-sig")


def rows(result: ReportResult, section: str) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(content(result, "csv"), newline=""), strict=True)
    return [row for row in table if row["section"] == section]


def test_the_hours_of_the_period_are_added_up_and_compared(past: Past, data: DataSettings) -> None:
    result = run(past, data)

    figures = json.loads(content(result, "json"))["figures"]
    assert result.rows == 21
    assert (figures["completed"]["value"], figures["completed"]["before"]) == (19, 9)
    assert (figures["failed"]["value"], figures["failed"]["before"]) == (2, 1)
    assert figures["failureShare"]["value"] == pytest.approx(2 / 21)
    assert figures["retried"]["value"] == 3
    assert 0.9 <= figures["runP95"]["value"] <= 1.02
    assert figures["oldest"]["value"] == 8
    assert figures["utilisation"]["value"] == pytest.approx(1_260 / 7_200)
    assert past.asked == [
        (OCTOBER, datetime(2026, 11, 1, tzinfo=UTC), None),
        (datetime(2026, 9, 1, tzinfo=UTC), OCTOBER, None),
    ]


def test_each_type_queue_day_error_and_schedule_is_told(past: Past, data: DataSettings) -> None:
    result = run(past, data)

    assert [(row["name"], row["completed"], row["retried"]) for row in rows(result, "type")] == [
        ("notification.email", "18", "3"),
        ("report.usage", "1", "0"),
    ]
    assert [row["completed"] for row in rows(result, "day")] == ["10", "0", "0", "0", "9", *["0"] * 26]
    (failure,) = rows(result, "failure")
    assert (failure["error"], failure["attempts"]) == ("SMTPServerDisconnected, notification.email", "4")
    (schedule,) = rows(result, "schedule")
    assert (schedule["queue"], schedule["fires"], schedule["skipped"]) == ("cleanup", "2", "1")
    queues = {row["queue"]: row for row in rows(result, "queue")}
    assert queues["notification"]["waiting_mean"] == "0.5"
    assert queues["notification"]["waiting_most"] == "4"
    assert float(queues["notification"]["utilisation"]) == pytest.approx(1_200 / 7_200, abs=1e-6)


def test_only_some_queues_can_be_asked_for(past: Past, data: DataSettings) -> None:
    result = run(past, data, queues=("report",))

    assert past.asked[0][2] == "report"
    assert [row["name"] for row in rows(result, "type")] == ["report.usage"]
    assert json.loads(content(result, "json"))["facts"] == {"Only queues": "report"}
    assert result.files[0].path != run(past, data).files[0].path


def test_a_history_that_begins_later_is_told(past: Past, data: DataSettings) -> None:
    result = run(past, data, params=Params(from_="2026-08-01", to="2026-10-01"))

    assert result.warnings == ("The history begins on 2026-09-05 10:00: the period may be incomplete.",)


def test_a_time_without_history_says_so(data: DataSettings) -> None:
    result = run(Past([], []), data, formats=("html", "csv", "json", "xlsx", "pdf"))

    assert "Nothing ran" in content(result, "html")
    assert result.rows == 0


def test_all_formats_are_written(past: Past, data: DataSettings) -> None:
    result = run(past, data, formats=("html", "pdf", "xlsx", "csv", "json"))

    page = content(result, "html")
    assert "Failed attempts by error" in page
    assert page.count("<svg") == 8
    assert len(result.files) == 5
    book = Path(result.files[2].url.removeprefix("file://"))
    with zipfile.ZipFile(book) as parts:
        charts = [
            parts.read(name).decode() for name in parts.namelist() if name.startswith("xl/charts/chart")
        ]
    assert [chart.count("<c:ser>") for chart in charts] == [2, 3, 3, 1]

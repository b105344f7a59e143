"""``cgjobs history``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cgjobs.broker import Sender, hours
from cgjobs.config import RedisConfig
from tests.cli import Cli, a_worker, command_line, until
from tests.jobs import redis_config


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


def write(config: RedisConfig, **adds: int) -> None:
    """Two hours of a worker's life, the present one and the one before."""
    hour = int(datetime.now(UTC).timestamp() // 3600)
    sender = Sender(config)
    jobs = {(at, "shop", "shop.order"): adds for at in (hour, hour - 1)}
    queue = {"samples": 2, "waiting": 5, "slots": 20_000, "fires": 1, "l30": 1, "lost": 3}
    most = {(hour, "shop", ""): {"waiting_most": 4, "oldest": 90_000}}
    sender.send(hours.record({**jobs, (hour, "shop", ""): queue}, most, timedelta(days=1)))
    sender.close()


def test_what_happened_is_shown_by_job_name_and_by_queue(cgjobs: Cli, redis_url: str) -> None:
    errors = {"e:ConnectionError": 2, "e:Discard": 1, "e:A": 1, "e:B": 1}
    write(redis_config(redis_url), enqueued=4, started=5, completed=3, w25=5, r40=5, busy=5_000_000, **errors)

    ended = cgjobs("history", "shop")

    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert lines[1] == ("shop.order 8 10 6 0 0 87ms 87ms 1.3s 1.3s ConnectionError 4, A 2, B 2")
    assert lines[4] == "shop 2.5 4 1m30s 3 0 50% 1 220ms"
    hourly = cgjobs("history", "shop", "--hourly").out.splitlines()
    assert len([line for line in hourly if "shop.order" in line]) == 2
    assert len(cgjobs("history", "--since", "0s").out.splitlines()) >= 3


def test_the_document_has_each_hour(cgjobs: Cli, redis_url: str) -> None:
    write(redis_config(redis_url), enqueued=4, started=5, w25=5)

    document = cgjobs("history", "--json").json

    assert [job["enqueued"] for job in document["jobs"]] == [4, 4]
    assert document["jobs"][0]["waitSeconds"]["count"] == 5
    assert document["jobs"][0]["waitSeconds"]["p50"] == pytest.approx(0.087, rel=0.1)
    [queue] = document["queues"]
    assert (queue["waiting"], queue["oldestSeconds"], queue["slotsSeconds"]) == (2.5, 90.0, 20.0)


def test_a_worker_of_the_command_line_leaves_a_history(cgjobs: Cli) -> None:
    cgjobs("enqueue", "shop.order", "--customer", "ann", "--amount", "5")
    cgjobs("enqueue", "shop.order", "--customer", "nobody", "--amount", "5")
    with a_worker():
        until(lambda: cgjobs("queue", "stats", "shop", "--json").json["failed"] == 1)
        until(lambda: cgjobs("queue", "stats", "shop", "--json").json["completed"] == 1)

    [row] = cgjobs("history", "shop", "--json").json["jobs"]

    assert (row["name"], row["completed"], row["failed"]) == ("shop.order", 1, 1)
    assert row["errors"] == {"Discard": 1}


def test_where_nothing_happened_that_is_said(cgjobs: Cli) -> None:
    ended = cgjobs("history")

    assert (ended.code, ended.out) == (0, "")
    assert "nothing happened between" in ended.err


def test_wrong_times_and_queues_are_told(cgjobs: Cli) -> None:
    ended = cgjobs("history", "--since", "last week", "--until", "2026-01-01T00:00:00")

    assert ended.code == 2
    assert "--since" in ended.err
    assert "--until" in ended.err
    assert cgjobs("history", "shpo").code == 4
    assert cgjobs("history", "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z").code == 2

"""What the command line says of held jobs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cgjobs.broker import Sender, moves
from cgjobs.broker.values import Settlement
from tests.cli import Cli, command_line
from tests.jobs import raw, redis_config

GROUP = "type:shop.order"


def hold(url: str, reason: str = "no plugin of this worker handles 'shop.order'", group: str = GROUP) -> None:
    """Have a worker claim all orders and hold them."""
    sender = Sender(redis_config(url))
    try:
        sender.load_functions()
        ask = {"lease": timedelta(seconds=30), "largest": 1 << 20}
        jobs = sender.send(moves.turn("w1", [], {"shop": 10}, **ask)).jobs  # type: ignore[arg-type]
        held = [Settlement("hold", job, error=reason, group=group) for job in jobs]
        sender.send(moves.turn("w1", held, {}, **ask))  # type: ignore[arg-type]
    finally:
        sender.close()


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


@pytest.fixture
def order(cgjobs: Cli) -> str:
    return cgjobs("enqueue", "shop.order", "--customer", "eve", "--amount", "5").out.strip()


def test_a_held_job_says_why_and_what_releases_it(cgjobs: Cli, order: str, redis_url: str) -> None:
    hold(redis_url)

    shown = cgjobs("job", "show", order).out
    told = cgjobs("job", "show", order, "--json").json

    assert "state:          held" in shown
    assert "no plugin of this worker handles 'shop.order'; goes on with a worker that has shop.order" in shown
    assert (told["state"], told["held"], told["payloadVersion"]) == ("held", GROUP, 1)


def test_held_jobs_are_listed_and_counted_as_waiting(cgjobs: Cli, order: str, redis_url: str) -> None:
    hold(redis_url)

    assert [job["id"] for job in cgjobs("jobs", "--state", "held", "--json").json] == [order]
    assert cgjobs("jobs", "--state", "waiting", "--json").json == []
    assert cgjobs("queue", "stats", "shop", "--json").json["waiting"] == 1


def test_a_held_job_is_cancelled_and_not_retried(cgjobs: Cli, order: str, redis_url: str) -> None:
    hold(redis_url)

    refused = cgjobs("job", "retry", order)
    cancelled = cgjobs("job", "cancel", order, "--json")

    assert refused.code == 5
    assert "is held and cannot be retried" in refused.err
    assert cancelled.json == {"id": order, "move": "cancelled", "state": "held"}


def test_the_doctor_names_the_groups_of_held_jobs_and_what_releases_them(
    cgjobs: Cli, order: str, redis_url: str
) -> None:
    hold(redis_url, group="version:shop.order:3")

    found = {finding["check"]: finding for finding in cgjobs("doctor", "--json").json}

    assert found["held"]["level"] == "warn"
    assert "1 of shop (version:shop.order:3)" in found["held"]["message"]
    assert "shop.order with payload version 3" in found["held"]["advice"]
    assert (found["groups"]["level"], found["places"]["level"]) == ("ok", "ok")


def test_the_doctor_finds_held_jobs_that_nobody_could_release(
    cgjobs: Cli, order: str, redis_url: str
) -> None:
    hold(redis_url)
    with raw(redis_url) as broker:
        broker.delete(f"cgjobs:held:shop:{GROUP}")

    found = {finding["check"]: finding for finding in cgjobs("doctor", "--json").json}

    assert found["groups"]["level"] == "bad"
    assert "shop" in found["groups"]["message"]
    assert cgjobs("job", "cancel", order).code == 0
    assert cgjobs("job", "retry", order, "--json").json["state"] == "waiting"


def test_versions_are_shown_with_the_plugins(cgjobs: Cli) -> None:
    found = {plugin["name"]: plugin for plugin in cgjobs("plugins", "--json").json}

    assert found["shop"]["payloadVersions"] == {"shop.order": 1}


def test_a_queue_that_a_rate_limit_holds_shows_until_when_and_the_doctor_warns(
    cgjobs: Cli, order: str, redis_url: str
) -> None:
    with raw(redis_url) as broker:
        broker.hset("cgjobs:queue:shop", "until", "4102444800000")

    [row] = [line for line in cgjobs("queues").out.splitlines() if line.startswith("shop")]
    found = {finding["check"]: finding for finding in cgjobs("doctor", "--json").json}

    assert row.endswith("until 2100-01-01 00:00:00Z")
    assert "limited:   until 2100-01-01 00:00:00Z" in cgjobs("queue", "stats", "shop").out
    assert cgjobs("queue", "stats", "shop", "--json").json["limitedUntil"].startswith("2100-01-01T00:00:00")
    assert found["limited"]["level"] == "warn"
    assert "shop (until 2100-01-01 00:00:00Z)" in found["limited"]["message"]
    assert "queue resume" in found["limited"]["advice"]
    assert cgjobs("queue", "resume", "shop").code == 0
    assert "limited:" not in cgjobs("queue", "stats", "shop").out


def test_the_doctor_warns_of_a_queue_that_is_full(cgjobs: Cli, order: str) -> None:
    (cgjobs.directory / "cgjobs.toml").write_text("[queues.shop]\nmax_length = 1\n")

    found = {finding["check"]: finding for finding in cgjobs("doctor", "--json").json}
    refused = cgjobs("enqueue", "shop.order", "--amount", "5", "--customer", "eve")

    assert found["full"]["level"] == "warn"
    assert "shop (1 jobs, max_length 1)" in found["full"]["message"]
    assert refused.code != 0
    assert "max_length" in refused.err or "at most 1" in refused.err

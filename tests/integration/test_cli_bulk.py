"""Many jobs moved by the command line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cgjobs.cli import jobs_bulk
from cgjobs.errors import BrokerUnavailable
from tests.cli import Cli, a_worker, command_line, until


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


def orders(cgjobs: Cli, number: int, **options: str) -> list[str]:
    payload = {"customer": "ann", "amount": 5, "token": "hush"}
    line = json.dumps({"name": "shop.order", "payload": payload, "options": options})
    ended = cgjobs("enqueue", "--bulk", "-", stdin=f"{line}\n" * number)
    return ended.out.split()


def test_a_dry_run_says_the_exact_number_and_shows_five(cgjobs: Cli) -> None:
    ids = orders(cgjobs, 12)

    ended = cgjobs("jobs", "cancel", "--queue", "shop", "--dry-run")
    document = cgjobs("jobs", "cancel", "--queue", "shop", "--dry-run", "--json").json

    lines = ended.out.splitlines()
    assert (ended.code, lines[0]) == (0, "12 jobs would be cancelled")
    assert [line.split()[0] for line in lines[1:]] == ["ID", *ids[:5]]
    assert "and 7 more" in ended.err
    assert [job["id"] for job in document.pop("samples")] == ids[:5]
    assert document == {
        "move": "cancel",
        "dryRun": True,
        "matched": 12,
        "moved": 0,
        "skipped": 0,
        "unknown": 0,
    }
    assert "hush" not in cgjobs("jobs", "cancel", "--dry-run", "--json").out
    assert cgjobs("queue", "stats", "shop", "--json").json["waiting"] == 12


def test_a_dry_run_of_a_retry_shows_the_errors(cgjobs: Cli) -> None:
    cgjobs("enqueue", "shop.order", "--customer", "nobody", "--amount", "5")
    with a_worker():
        until(lambda: cgjobs("queue", "stats", "shop", "--json").json["failed"] == 1)

    assert "Discard: nobody has no account" in cgjobs("jobs", "retry", "--dry-run").out
    [sample] = cgjobs("jobs", "retry", "--error", "NO ACCOUNT", "--dry-run", "--json").json["samples"]
    assert sample["error"] == "Discard: nobody has no account"
    assert (
        cgjobs("jobs", "--error-type", "Discard", "--state", "failed", "--json").json[0]["id"] == sample["id"]
    )


def test_without_a_yes_nothing_is_moved_and_the_number_is_said(cgjobs: Cli) -> None:
    orders(cgjobs, 3)

    for words, said in (
        (("cancel",), "This cancels 3 jobs. Add --yes"),
        (("remove", "--state", "waiting"), "This removes 3 jobs for good. Add --yes"),
    ):
        ended = cgjobs("jobs", *words)
        assert ended.code == 5
        assert said in ended.err
    assert cgjobs("queue", "stats", "shop", "--json").json["waiting"] == 3


def test_many_are_cancelled_retried_and_removed(cgjobs: Cli) -> None:
    ids = orders(cgjobs, 3)
    delayed = orders(cgjobs, 1, delay="1h")

    def state(job_id: str) -> Any:
        return cgjobs("job", "show", job_id, "--json").json["state"]

    assert cgjobs("jobs", "cancel", "--state", "delayed", "--yes").out == "1 job cancelled\n"
    assert state(delayed[0]) == "cancelled"
    assert cgjobs("jobs", "cancel", "--type", "shop.order", "--yes", "--json").json == {
        "move": "cancel",
        "dryRun": False,
        "matched": 3,
        "moved": 3,
        "skipped": 0,
        "unknown": 0,
        "stopped": False,
    }
    assert cgjobs("jobs", "retry", "--yes").out == "0 jobs retried\n"
    assert cgjobs("jobs", "retry", "--state", "cancelled", "--yes").out == "4 jobs retried\n"
    assert {job["id"] for job in cgjobs("jobs", "--json").json} == {*ids, *delayed}
    removed = cgjobs("jobs", "remove", "--state", "waiting", "--state", "delayed", "--limit", "3", "--yes")
    assert removed.out == "3 jobs removed\n"
    assert len(cgjobs("jobs", "--json").json) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("retry", "--state", "waiting"), 2, "no waiting job can be moved by retry"),
        (("remove", "--yes"), 2, "--state: say in which state"),
        (("cancel", "--since", "yesterday", "--ended-until", "2026-01-01T00:00:00"), 2, "--ended-until"),
        (("cancel", "--type", "shop.ordre"), 4, "shop.order"),
        (("cancel", "--queue", "shpo"), 4, "shop"),
        (("cancel", "--limit", "0"), 2, "limit"),
    ],
)
def test_a_typing_mistake_is_told(cgjobs: Cli, words: tuple[str, ...], code: int, said: str) -> None:
    ended = cgjobs("jobs", *words)

    assert ended.code == code
    assert said in ended.err


def test_ctrl_c_ends_after_the_present_part_and_says_how_far_it_came(
    cgjobs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders(cgjobs, 600)
    move_part = jobs_bulk.move_part

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return (yield from move_part(*arguments))

    monkeypatch.setattr(jobs_bulk, "move_part", interrupted)
    ended = cgjobs("jobs", "cancel", "--yes")

    assert ended.code == 130
    assert ended.out == "150 jobs cancelled\n"
    assert "stopped; 450 jobs are as before" in ended.err
    assert cgjobs("queue", "stats", "shop", "--json").json["waiting"] == 450
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_broker_that_goes_away_midway_leaves_what_was_moved_and_says_so(
    cgjobs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders(cgjobs, 200)
    move_part, calls = jobs_bulk.move_part, []

    def away(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 1:
            raise BrokerUnavailable("gone")
        return (yield from move_part(*arguments))

    monkeypatch.setattr(jobs_bulk, "move_part", away)
    ended = cgjobs("jobs", "cancel", "--yes")

    assert ended.code == 3
    assert "150 of 200 jobs cancelled; of the next 50 any may be" in ended.err

"""``cgjobs job log``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import Cli, a_worker, command_line

ORDER = ("enqueue", "shop.order", "--amount", "5", "--customer", "eve", "--gift", "--job-id", "j")
KEPT = (*ORDER, "--keep-completed", "1h")


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


def test_what_a_handler_logged_is_shown_for_people(cgjobs: Cli) -> None:
    cgjobs(*KEPT)
    with a_worker():
        cgjobs("watch", "j")
    ended = cgjobs("job", "log", "j")

    assert ended.code == 0
    [line] = ended.out.splitlines()
    assert line.split("  ", 1)[1] == "1  info   wrapping  amount=5 paper=red"


def test_what_a_handler_logged_is_shown_for_machines(cgjobs: Cli) -> None:
    cgjobs(*KEPT)
    with a_worker():
        cgjobs("watch", "j")
    ended = cgjobs("job", "log", "j", "--json")

    [line] = map(json.loads, ended.out.splitlines())
    assert (line["level"], line["event"], line["attempt"]) == ("info", "wrapping", 1)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_job_is_followed_until_it_has_ended(cgjobs: Cli, form: tuple[str, ...]) -> None:
    cgjobs(*KEPT)
    with a_worker():
        ended = cgjobs("job", "log", "j", "--follow", *form)

    assert ended.code == 0
    assert ended.out.count("wrapping") == 1
    assert cgjobs("job", "show", "j", "--json").json["state"] == "completed"


def test_following_a_job_that_has_ended_shows_each_line_once(cgjobs: Cli) -> None:
    cgjobs(*KEPT)
    with a_worker():
        cgjobs("watch", "j")

    assert cgjobs("job", "log", "j", "--follow").out.count("wrapping") == 1


def test_an_unknown_job_has_no_log(cgjobs: Cli) -> None:
    assert cgjobs("job", "log", "nope").code == 4


def test_a_job_is_watched_to_its_result_for_people(cgjobs: Cli) -> None:
    cgjobs(*KEPT)
    with a_worker():
        ended = cgjobs("watch", "j")

    assert ended.code == 0
    assert ended.out.endswith('j  completed\n{\n  "charged": 5\n}\n')

"""``cgjobs enqueue``: payloads from options, all faults at once, waiting, bulk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import Cli, a_worker, command_line


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


def test_help_shows_the_options_of_the_payload_with_their_docs(cgjobs: Cli) -> None:
    ended = cgjobs("enqueue", "shop.order", "--help")

    assert ended.code == 0
    assert "Take one order." in ended.out
    for word in ("--customer TEXT", "In cents; from 1. [required]", "DURATION", "--address.street", "3d"):
        assert word in ended.out


def test_help_without_a_name_lists_the_names(cgjobs: Cli) -> None:
    assert "  shop.order  Take one order.\n" in cgjobs("enqueue", "--help").out
    assert "shop.order" in cgjobs("enqueue").out


def test_options_become_the_payload(cgjobs: Cli) -> None:
    words = ["--customer", "eve", "--amount", "5", "--tags", "a", "--tags", "b", "--within", "12h", "--gift"]
    words += ["--payload.timeout", "x", "--timeout", "9s", "--address.street", "Weg 1"]

    made = cgjobs("enqueue", "shop.order", *words, "--priority", "high", "--attempts", "7", "--json").json
    job = cgjobs("job", "show", made["id"], "--json").json

    assert job["payload"] == {
        "type": "order",
        "customer": "eve",
        "amount": 5,
        "token": "********",
        "tags": ["a", "b"],
        "within": "12h",
        "gift": True,
        "timeout": "x",
        "address": {"street": "Weg 1", "city": "Berlin"},
    }
    assert (job["timeout"], job["priority"], job["attempts"]) == ("9s", "high", 7)


def test_all_faults_of_payload_and_options_are_told_at_once(cgjobs: Cli) -> None:
    words = ["--amount", "many", "--custmer", "eve", "--delay", "5", "--attempts", "0", "--at", "soon"]

    ended = cgjobs("enqueue", "shop.order", *words, "--within", "x", "--job-id", "a b")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("cgjobs: cannot enqueue shop.order: 8 faults\n")
    for line in (
        "--custmer: no such option; did you mean --customer?",
        "--customer: missing",
        "--amount: expected an integer, got the string 'many'",
        "--delay: 5 has no unit",
        "--at: 'soon' is no time",
        "--attempts: 0 is not from 1 to 1000",
        "--job-id: 'a b' is not",
    ):
        assert f"  {line}" in ended.err
    assert cgjobs("jobs", "--json").json == []


def test_the_value_of_a_secret_is_not_in_the_message_about_it(cgjobs: Cli) -> None:
    wrong = json.dumps({"customer": "eve", "amount": 5, "token": ["hush"]})

    ended = cgjobs("enqueue", "shop.order", "--data", wrong)

    assert ended.code == 2
    assert "--token" in ended.err
    assert "hush" not in ended.err


def test_the_payload_can_be_json_from_words_a_file_or_standard_input(cgjobs: Cli) -> None:
    data = '{"customer": "eve", "amount": 5}'
    (cgjobs.directory / "order.json").write_text(data)

    assert cgjobs("enqueue", "shop.order", "--data", data).code == 0
    assert cgjobs("enqueue", "shop.order", "--data", "@order.json").code == 0
    made = cgjobs("enqueue", "shop.order", "--data", "-", "--amount", "6", stdin=data)
    assert cgjobs("job", "show", made.out.strip(), "--json").json["payload"]["amount"] == 6
    assert cgjobs("enqueue", "shop.order", "--data", "[1]").code == 2
    assert cgjobs("enqueue", "shop.order", "--data", "{").code == 2
    assert cgjobs("enqueue", "shop.order", "--data", "@missing").code == 2


def test_parts_and_whole_contradict_each_other(cgjobs: Cli) -> None:
    words = ("--customer", "eve", "--amount", "5", "--address", "x", "--address.city", "y")

    ended = cgjobs("enqueue", "shop.order", *words)

    assert ended.code == 2
    assert "--address.city: give either --address or its parts, not both" in ended.err


def test_an_id_that_is_taken_adds_nothing_and_says_so(cgjobs: Cli) -> None:
    words = ("enqueue", "shop.order", "--customer", "eve", "--amount", "5", "--job-id", "mine")
    cgjobs(*words)

    again = cgjobs(*words)

    assert (again.code, again.out) == (0, "mine\n")
    assert "job 'mine' exists already and is waiting; nothing was added" in again.err
    assert cgjobs(*words, "--json").json["duplicate"] is True


@pytest.mark.parametrize(("name", "meant"), [("shop.ordr", "shop.order"), ("shp.order", "shop")])
def test_a_misspelt_name_is_answered_with_what_was_meant(cgjobs: Cli, name: str, meant: str) -> None:
    ended = cgjobs("enqueue", name)

    assert ended.code == 4
    assert f"Did you mean {meant!r}?" in ended.err


def test_waiting_prints_the_result(cgjobs: Cli) -> None:
    words = ("enqueue", "shop.order", "--customer", "eve", "--amount", "5", "--wait")
    with a_worker():
        text, document = cgjobs(*words), cgjobs(*words, "--json")

    assert (text.code, text.json) == (0, {"charged": 5})
    assert document.json["state"] == "completed"
    assert document.json["result"] == {"charged": 5}


def test_waiting_for_a_job_that_fails_exits_with_1(cgjobs: Cli) -> None:
    words = ("enqueue", "shop.order", "--customer", "nobody", "--amount", "5", "--job-id", "bad")
    with a_worker():
        ended = cgjobs(*words, "--wait")

    assert (ended.code, ended.out) == (1, "")
    assert "job 'bad' failed: Discard: nobody has no account" in ended.err
    assert "attempt 1, " in cgjobs("job", "show", "bad").out


def test_waiting_has_an_end(cgjobs: Cli) -> None:
    words = ("enqueue", "shop.order", "--customer", "eve", "--amount", "5", "--wait")

    ended = cgjobs(*words, "--wait-timeout", "100ms")

    assert ended.code == 1
    assert "is waiting after 100ms" in ended.err
    assert cgjobs(*words, "--wait-timeout", "3").code == 2


def test_bulk_enqueues_json_lines(cgjobs: Cli) -> None:
    lines = [
        {"name": "shop.order", "payload": {"customer": "a", "amount": 1}},
        {
            "name": "shop.order",
            "payload": {"customer": "b", "amount": 2},
            "options": {"jobId": "b", "delay": "1h", "attempts": 4},
        },
    ]
    text = "\n\n".join(map(json.dumps, lines))
    (cgjobs.directory / "jobs.jsonl").write_text(text)

    made = cgjobs("enqueue", "--bulk", "-", "--json", stdin=text)

    assert [json.loads(line)["name"] for line in made.out.splitlines()] == ["shop.order"] * 2
    assert cgjobs("job", "show", "b", "--json").json["attempts"] == 4
    again = cgjobs("enqueue", "--bulk", "jobs.jsonl")
    assert again.out.splitlines()[1] == "b"
    assert "1 of 2 jobs exist already" in again.err


def test_bulk_enqueues_nothing_when_a_line_is_wrong_and_names_all_such_lines(cgjobs: Cli) -> None:
    lines = [
        '{"name": "shop.order", "payload": {"customer": "a", "amount": 1}}',
        '{"name": "shop.order", "payload": {"amount": 0}, "options": {"jobid": "x", "delay": 5}}',
        "nonsense",
        '{"name": "shop.ordr"}',
        '{"name": "shop.order", "paylod": {}}',
        "[]",
    ]

    ended = cgjobs("enqueue", "--bulk", "-", stdin="\n".join(lines))

    assert (ended.code, ended.out) == (2, "")
    for line in (
        "line 2: customer: missing",
        "line 2: amount: must be >= 1: 0",
        "line 2: jobid: no such option; did you mean 'jobId'?",
        "line 2: delay: 5 has no unit",
        "line 3: is no JSON",
        "line 4: name: no subtype named 'shop.ordr'",
        "line 5: paylod: no such key; did you mean 'payload'?",
        "line 6: is no JSON object",
    ):
        assert f"  {line}" in ended.err
    assert cgjobs("jobs", "--json").json == []


def test_tags_keys_and_debounce_on_the_command_line(cgjobs: Cli) -> None:
    words = [
        "shop.order",
        "--customer",
        "eve",
        "--tag",
        "invoice,tenant-7",
        "--unique",
        "eve",
        "--debounce",
        "1h",
    ]
    first = cgjobs("enqueue", *words, "--amount", "1").out.strip()
    again = cgjobs("enqueue", *words, "--amount", "2")

    assert again.out.strip() == first
    assert "it took this payload and waits anew" in again.err
    shown = cgjobs("job", "show", first)
    assert "tags:           invoice, tenant-7" in shown.out
    assert "debounced:      1" in shown.out
    assert '"amount": 2' in shown.out


def test_options_that_do_not_go_together_are_named_by_their_flags(cgjobs: Cli) -> None:
    words = ["--throttle", "5m", "--tag", "a b", "--debounce-at-most", "1s", "--keep-failed", "1d,x"]

    ended = cgjobs("enqueue", "shop.order", "--customer", "eve", "--amount", "1", *words)

    assert ended.code == 2
    for flag in ("--throttle: needs a key", "--tag: 'a b'", "--debounce-at-most:", "--keep-failed: 'x'"):
        assert flag in ended.err


def test_bulk_is_spread_over_a_time(cgjobs: Cli) -> None:
    line = json.dumps(
        {"name": "shop.order", "payload": {"customer": "eve", "amount": 1}, "options": {"tags": ["a"]}}
    )

    assert cgjobs("enqueue", "--bulk", "-", "--spread", "10m", stdin=f"{line}\n" * 3).code == 0

    assert cgjobs("queue", "stats", "shop", "--json").json["delayed"] == 2
    assert "--spread" in cgjobs("enqueue", "--bulk", "-", "--spread", "soon", stdin=line).err


def test_a_job_can_wait_for_others_and_shows_what_it_waits_for(cgjobs: Cli) -> None:
    order = ["shop.order", "--customer", "eve", "--amount", "5"]
    cgjobs("enqueue", *order, "--job-id", "one")
    cgjobs("enqueue", *order, "--job-id", "two", "--depends-on", "one", "--on-dependency-failure", "ignore")
    cgjobs("enqueue", *order, "--job-id", "three", "--depends-on", "one,two")

    unknown = cgjobs("enqueue", *order, "--depends-on", "nobody")

    assert unknown.code == 4
    assert "no job named 'nobody'" in unknown.err
    assert "one (not ended), two (not ended)" in cgjobs("job", "show", "three").out
    assert cgjobs("job", "show", "one", "--json").json["dependents"] == ["three", "two"]
    assert {job["id"] for job in cgjobs("jobs", "--state", "deferred", "--json").json} == {"two", "three"}

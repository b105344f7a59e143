"""Commands that look and move: once for people, once as JSON, and how they end when something is wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli import Cli, a_worker, command_line, install, until
from tests.conftest import ServerFactory
from tests.jobs import raw

CGJOBS = [sys.executable, "-c", "import sys; from cgjobs.cli import main; sys.exit(main())"]


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    return command_line(tmp_path, capsys, monkeypatch, redis_url)


@pytest.fixture
def order(cgjobs: Cli) -> str:
    """The id of a waiting job."""
    return cgjobs(
        "enqueue", "shop.order", "--customer", "eve", "--amount", "5", "--token", "hush"
    ).out.strip()


def test_help_lists_the_commands_and_fits_into_a_second_of_anybodys_time(cgjobs: Cli) -> None:
    ended = cgjobs("--help")

    assert ended.code == 0
    assert "enqueue" in ended.out
    assert "Enqueue a job" in ended.out


def test_the_version_is_that_of_the_distribution(cgjobs: Cli) -> None:
    assert cgjobs("--version").out == "0.1.0\n"


def test_setup_loads_the_functions_and_says_which_server_it_is(cgjobs: Cli, redis_url: str) -> None:
    text = cgjobs("setup")

    assert text.code == 0
    with raw(redis_url) as broker:
        assert broker.function_list()
    assert cgjobs("setup", "--json").json["server"] in text.out


def test_jobs_are_listed_by_queue_state_and_type(cgjobs: Cli, order: str) -> None:
    later = cgjobs("enqueue", "shop.order", "--customer", "a", "--amount", "1", "--delay", "1h").out.strip()

    assert [job["id"] for job in cgjobs("jobs", "--json").json] == [order, later]
    assert [job["id"] for job in cgjobs("jobs", "--state", "delayed", "--json").json] == [later]
    assert [job["id"] for job in cgjobs("jobs", "--queue", "shop", "--offset", "1", "--json").json] == [later]
    assert cgjobs("jobs", "--type", "notification.email", "--json").json == []
    assert [line.split()[0] for line in cgjobs("jobs").out.splitlines()] == ["ID", order, later]


def test_a_misspelt_type_of_jobs_is_not_an_empty_list(cgjobs: Cli) -> None:
    ended = cgjobs("jobs", "--type", "shop.ordre")

    assert ended.code == 4
    assert "Did you mean 'shop.order'?" in ended.err


def test_a_job_is_shown_with_its_payload_but_without_its_secrets(cgjobs: Cli, order: str) -> None:
    text, document = cgjobs("job", "show", order), cgjobs("job", "show", order, "--json")

    assert document.json["payload"]["customer"] == "eve"
    assert document.json["payload"]["token"] == "********"
    assert "eve" in text.out
    assert "hush" not in text.out + document.out + cgjobs("jobs", "--json").out


def test_the_payload_of_a_job_of_an_unknown_type_is_hidden_as_a_whole(cgjobs: Cli, order: str) -> None:
    (cgjobs.directory / "cgjobs.toml").write_text('[plugins]\nblock = ["shop"]\n')

    assert set(cgjobs("job", "show", order, "--json").json["payload"].values()) == {"********"}


def test_an_unknown_job_is_not_found(cgjobs: Cli) -> None:
    ended = cgjobs("job", "show", "nothing")

    assert (ended.code, ended.out) == (4, "")
    assert ended.err.startswith("cgjobs: no job named 'nothing'")


def test_removing_needs_a_yes(cgjobs: Cli, order: str) -> None:
    refused = cgjobs("job", "remove", order)
    removed = cgjobs("job", "remove", order, "--yes", "--json")

    assert refused.code == 5
    assert "Add --yes" in refused.err
    assert removed.json == {"id": order, "move": "removed"}
    assert cgjobs("job", "show", order).code == 4


def test_of_several_jobs_all_are_removed_that_can_be(cgjobs: Cli, order: str) -> None:
    ended = cgjobs("job", "remove", "nothing", order, "--yes")

    assert ended.code == 4
    assert f"job {order!r} removed" in ended.err


def test_a_waiting_job_cannot_be_retried(cgjobs: Cli, order: str) -> None:
    ended = cgjobs("job", "retry", order)

    assert ended.code == 5
    assert "is waiting and cannot be retried" in ended.err


def test_a_failed_job_is_retried(cgjobs: Cli) -> None:
    order = cgjobs("enqueue", "shop.order", "--customer", "nobody", "--amount", "5").out.strip()
    with a_worker():
        until(lambda: cgjobs("job", "show", order, "--json").json["state"] == "failed")

    assert cgjobs("job", "retry", order, "--json").json == {
        "id": order,
        "move": "retried",
        "state": "waiting",
    }


def test_queues_are_listed_with_their_numbers(cgjobs: Cli, order: str) -> None:
    shop = next(queue for queue in cgjobs("queues", "--json").json if queue["name"] == "shop")

    assert shop["waiting"] == 1
    assert cgjobs("queue", "stats", "shop", "--json").json == shop
    assert "waiting:   1\n" in cgjobs("queue", "stats", "shop").out
    assert any(line.split()[:2] == ["shop", "1"] for line in cgjobs("queues").out.splitlines())


def test_a_queue_is_paused_and_resumed(cgjobs: Cli) -> None:
    assert cgjobs("queue", "pause", "shop").err == "cgjobs: queue 'shop' is paused\n"
    assert cgjobs("queue", "pause", "shop", "--json").json["changed"] is False
    assert cgjobs("queue", "stats", "shop", "--json").json["paused"] is True
    assert cgjobs("queue", "resume", "shop", "--json").json == {
        "queue": "shop",
        "paused": False,
        "changed": True,
    }


def test_a_misspelt_queue_is_not_found(cgjobs: Cli) -> None:
    ended = cgjobs("queue", "pause", "shp")

    assert ended.code == 4
    assert ended.err == "cgjobs: no queue named 'shp'. Did you mean 'shop'?\n"


def test_draining_says_how_many_before_it_does_it(cgjobs: Cli, order: str) -> None:
    cgjobs("enqueue", "shop.order", "--customer", "a", "--amount", "1", "--delay", "1h")

    assert cgjobs("queue", "drain", "shop", "--dry-run").out == "1 jobs would be removed\n"
    assert cgjobs("queue", "drain", "shop", "--dry-run", "--delayed", "--json").json["jobs"] == 2
    assert cgjobs("queue", "drain", "shop").code == 5
    assert cgjobs("queue", "drain", "shop", "--delayed", "--yes").out == "2 jobs removed\n"
    assert cgjobs("jobs", "--json").json == []


def test_workers_are_none_when_none_runs(cgjobs: Cli) -> None:
    assert cgjobs("workers", "--json").json == []
    assert cgjobs("workers").out.split()[0] == "NAME"


def test_schedules_show_their_next_five_fires(cgjobs: Cli) -> None:
    found = {item["name"]: item for item in cgjobs("schedules", "--json").json}

    assert len(found["cleanup"]["nextFires"]) == 5
    assert datetime.fromisoformat(found["cleanup"]["nextFires"][0]) > datetime.now(UTC)
    assert "cleanup  0 0 * * *  UTC\n  last  never\n" in cgjobs("schedules").out


def test_plugins_are_listed_with_what_each_subtype_does(cgjobs: Cli) -> None:
    found = {item["name"]: item for item in cgjobs("plugins", "--json").json}

    assert found["shop"]["types"] == ["shop", "shop.order"]
    assert "shop  loaded  shop 1.0\n  shop.order  Take one order.\n" in cgjobs("plugins").out


def test_a_broken_plugin_is_shown_and_fails_only_when_asked(cgjobs: Cli) -> None:
    install(cgjobs.directory / "site", "broken", "raise ImportError('no such luck')")

    lenient, strict = cgjobs("plugins"), cgjobs("plugins", "--strict")

    assert (lenient.code, strict.code) == (0, 1)
    assert "broken  quarantined  broken 1.0\n  ImportError: no such luck\n" in lenient.out


def test_a_schema_is_printed_by_name(cgjobs: Cli) -> None:
    assert cgjobs("schema", "shop.order", "--json").json["title"] == "shop.order"
    assert cgjobs("schema", "shop.order").out.startswith('{\n  "$schema"')
    assert {"name": "shop.order", "version": 1, "traits": [], "summary": "Take one order."} in cgjobs(
        "schema", "--json"
    ).json
    assert cgjobs("schema", "shop.ordr").code == 4


def test_the_configuration_is_shown_with_origins_and_without_the_password(
    cgjobs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hush")
    monkeypatch.delenv("REDIS_URL")

    text = cgjobs("config", "show", "--origin").out
    rows = {row["key"]: row for row in cgjobs("config", "show", "--json").json}

    assert "environment REDIS_PASSWORD" in text
    assert "hush" not in text
    assert rows["redis.password"]["value"] == "********"
    assert "environment" not in cgjobs("config", "show").out


def test_what_a_plugin_sets_for_its_queue_is_shown_as_its(cgjobs: Cli) -> None:
    (cgjobs.directory / "cgjobs.toml").write_text("[queues.maintenance]\ntimeout = '1h'\n")

    def shown(*words: str) -> dict[str, tuple[str, str]]:
        rows = cgjobs(*words, "config", "show", "--json").json
        return {row["key"]: (row["value"], row["origin"]) for row in rows}

    rows = shown()
    assert rows["queues.shop.attempts"] == ("2", "plugin shop")
    assert rows["queues.shop.backoff.kind"] == ("fixed", "plugin shop")
    assert rows["queues.shop.rate"] == ("none", "default (development)")
    assert rows["queues.maintenance.max_running"] == ("1", "plugin maintenance")
    assert rows["queues.maintenance.timeout"] == ("1h", "cgjobs.toml")
    (cgjobs.directory / "cgjobs.toml").write_text("[queues.maintenance]\nmax_running = 2\n")
    assert shown()["queues.maintenance.max_running"] == ("2", "cgjobs.toml")


def test_a_wrong_configuration_is_told_with_all_its_faults(cgjobs: Cli) -> None:
    assert cgjobs("config", "check").code == 0
    (cgjobs.directory / "bad.toml").write_text("[worker]\nlease = 3\n[queues.shop]\nconcurency = 1\n")

    ended = cgjobs("config", "check", "--config", "bad.toml")

    assert ended.code == 2
    assert "worker.lease" in ended.err
    assert "concurrency" in ended.err
    assert cgjobs("--config=missing.toml", "queues").code == 2


def test_doctor_finds_nothing_bad_in_a_healthy_broker(cgjobs: Cli) -> None:
    cgjobs("setup")
    ended = cgjobs("doctor", "--json")

    assert ended.code == 0
    found = {finding["check"]: finding["level"] for finding in ended.json}
    of_plugins = {check for check in found if "." in check or check == "notification"}
    assert "bad" not in found.values()
    assert {check for check in found.keys() - of_plugins if found[check] != "ok"} == {"persistence"}
    assert cgjobs("doctor").out.startswith("ok   configuration: ")


def test_doctor_loads_no_functions(cgjobs: Cli, redis_url: str) -> None:
    ended = cgjobs("doctor")

    assert "run `cgjobs setup`" in ended.out
    with raw(redis_url) as broker:
        assert not broker.function_list()


def test_doctor_sees_jobs_that_nobody_serves_and_that_are_not_where_they_say(
    cgjobs: Cli, order: str, redis_url: str
) -> None:
    with raw(redis_url) as broker:
        broker.rpush("rq:queue:shop", order)
        broker.zadd("rq:wip:shop", {"lost:token": 9999999999})
        broker.xadd("cgjobs:quarantine", {"queue": "shop"})
        broker.hset("rq:job:homeless", mapping={"status": "queued", "origin": "shop"})
        broker.config_set("maxmemory-policy", "allkeys-lru")
        try:
            ended = cgjobs("doctor", "--json")
        finally:
            broker.config_set("maxmemory-policy", "noeviction")

    found = {finding["check"]: finding for finding in ended.json}
    assert ended.code == 1
    assert {check for check, finding in found.items() if finding["level"] == "bad"} == {
        "workers",
        "leases",
        "places",
        "eviction",
    }
    assert f"{order} is in 2 places" in found["places"]["message"]
    assert "homeless says waiting and is in no queue" in found["places"]["message"]
    assert found["quarantine"]["level"] == "warn"


@pytest.mark.parametrize("command", [("queues",), ("doctor",), ("setup",), ("job", "show", "x")])
def test_a_broker_that_is_away_is_told_within_three_seconds(
    cgjobs: Cli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    started = time.monotonic()

    ended = cgjobs(*command)

    assert ended.code == 3
    assert "no answer from the broker at redis://127.0.0.1:1/0" in ended.out + ended.err
    assert time.monotonic() - started < 3


def test_a_broker_that_refuses_the_password_is_the_same_to_a_script(
    cgjobs: Cli, own_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_server(requirepass="right")
    monkeypatch.setenv("REDIS_URL", f"redis://:wrong@127.0.0.1:{server.port}/0")

    ended = cgjobs("queues")

    assert ended.code == 3
    assert "refused" in ended.err
    assert "wrong" not in ended.err.replace("WRONGPASS", "")


@pytest.mark.parametrize(
    ("words", "hint"),
    [(("docter",), '"doctor"'), (("queues", "--jsno"), "--json"), (("job",), ""), (("job", "show"), "ID")],
)
def test_a_typo_is_answered_with_what_was_meant(cgjobs: Cli, words: tuple[str, ...], hint: str) -> None:
    ended = cgjobs(*words)

    assert ended.code == (0 if words == ("job",) else 2)
    assert hint in ended.err
    assert "Traceback" not in ended.err


def test_a_reader_that_leaves_early_is_no_error(cgjobs: Cli) -> None:
    script = " ".join(f"'{word}'" for word in CGJOBS) + " config show | head -1; echo ${PIPESTATUS[0]}"

    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1] in ("0", "141")


def test_what_a_payload_holds_cannot_move_the_terminal(cgjobs: Cli) -> None:
    job_id = cgjobs("enqueue", "shop.order", "--customer", "\x1b[2Jeve", "--amount", "5").out.strip()

    assert "\x1b" not in cgjobs("job", "show", job_id).out

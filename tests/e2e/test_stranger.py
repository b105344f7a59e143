"""A plugin by somebody we have never heard of: built, installed beside our wheels, and used at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import attrs
import pytest

from tests.conftest import Server
from tests.e2e.stranger.machine import Machine, wheels

BURST = ("worker", "--plugins", "all", "--burst", "--no-scheduler")

ENQUEUE = """
import json
from acme_jobs import Invoice, Pager
from cgjobs import Client
from datetime import date, timedelta

with Client() as client:
    kept = {"keep_completed": timedelta(hours=1)}
    invoice = client.enqueue(Invoice(customer_id="c2", amount=99, due_on=date(2027, 1, 31)), **kept)
    pager = client.enqueue(Pager("it burns"), priority="critical", **kept)
print(json.dumps([invoice.id, pager.id]))
"""

WAIT = """
import json, sys
from cgjobs import Client
from datetime import timedelta

with Client() as client:
    print(json.dumps([client.wait(job_id, timedelta(seconds=30)) for job_id in sys.argv[1:]]))
"""

BROKEN = """
from cgjobs import Client, InvalidPayload

with Client() as client:
    try:
        client.enqueue_data("billing.invoice", {"amount": "12", "colour": "red"})
    except InvalidPayload as error:
        print(error)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The core, `notification` and the stranger's plugin, which brings both; tests leave it as it is."""
    return Machine.new(tmp_path_factory.mktemp("machine"), wheels(tmp_path_factory), "acme-jobs")


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url}


def enqueue(machine: Machine, env: Mapping[str, str], *words: str) -> str:
    return machine.run("cgjobs", "enqueue", *words, "--keep-completed", "1h", env=env).stdout.strip()


def enqueue_by_program(machine: Machine, env: Mapping[str, str]) -> tuple[str, str]:
    invoice, pager = json.loads(machine.run("python", "-c", ENQUEUE, env=env).stdout)
    return invoice, pager


def job(machine: Machine, env: Mapping[str, str], job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = machine.cgjobs("job", "show", job_id, "--json", env=env)
    return found


def states(machine: Machine, env: Mapping[str, str]) -> dict[str, str]:
    """The state of every job in the broker."""
    return {job["id"]: job["state"] for job in machine.cgjobs("jobs", "--json", env=env)}


def test_the_plugin_is_listed_with_its_distribution_and_all_that_it_adds(machine: Machine) -> None:
    (acme,) = (plugin for plugin in machine.cgjobs("plugins", "--json") if plugin["name"] == "acme")

    assert acme == {
        "name": "acme",
        "distribution": "acme-jobs",
        "version": "3.1.4",
        "types": ["billing", "billing.invoice", "notification.pager"],
        "payloadVersions": {"billing.invoice": 1, "notification.pager": 1},
        "state": "loaded",
        "reason": "",
    }


def test_the_schema_comes_from_the_payload_class(machine: Machine) -> None:
    schema = machine.cgjobs("schema", "billing.invoice")

    assert (schema["title"], schema["description"]) == ("billing.invoice", "Send one invoice.")
    assert schema["required"] == ["customerId", "amount"]
    assert schema["properties"]["type"] == {"const": "invoice"}
    assert schema["properties"]["customerId"] == {"type": "string", "description": "Who has to pay."}
    amount = schema["properties"]["amount"]
    assert (amount["type"], amount["exclusiveMinimum"], amount["maximum"]) == ("integer", 0, 1_000_000)


def test_its_fields_are_options_of_the_command_line_with_help(machine: Machine) -> None:
    shown = machine.run("cgjobs", "enqueue", "billing.invoice", "--help").stdout

    assert "--customer-id" in shown
    assert "Who has to pay." in shown


def test_jobs_enqueued_by_command_and_by_program_run_in_one_burst(
    machine: Machine, env: dict[str, str]
) -> None:
    by_command = enqueue(machine, env, "billing.invoice", "--customer-id", "c1", "--amount", "12")
    invoice, pager = enqueue_by_program(machine, env)
    before = states(machine, env)

    worked = machine.run("cgjobs", *BURST, env={**env, "CGJOBS_PLUGINS_ACME_CURRENCY": "NOK"})

    assert before == dict.fromkeys((by_command, invoice, pager), "waiting")
    assert states(machine, env) == dict.fromkeys((by_command, invoice, pager), "completed")
    assert '"invoice_sent"' in worked.stderr
    first, second, third = (job(machine, env, job_id) for job_id in (by_command, invoice, pager))
    assert first["result"] == {"invoiceNumber": f"c1-{by_command}", "total": "12 NOK"}
    assert second["result"] == {"invoiceNumber": f"c2-{invoice}", "total": "99 NOK"}
    assert second["payload"] == {"type": "invoice", "customerId": "c2", "amount": 99, "dueOn": "2027-01-31"}
    assert (second["queue"], second["attempts"]) == ("billing", 4)
    assert (third["queue"], third["attempts"], third["priority"]) == ("notification", 5, "critical")
    assert third["result"] == "IT BURNS"


def test_whoever_waits_gets_the_result_from_a_worker_elsewhere(machine: Machine, env: dict[str, str]) -> None:
    with machine.worker("--no-scheduler", env=env):
        result = machine.cgjobs("enqueue", "notification.pager", "--text", "wake up", "--wait", env=env)

    assert result == "WAKE UP"


def test_a_broken_payload_is_refused_with_every_fault_named(machine: Machine, env: dict[str, str]) -> None:
    words = ("billing.invoice", "--amount", "0", "--due-on", "soon", "--colour", "red")

    refused = machine.run("cgjobs", "enqueue", *words, code=2, env=env)

    assert refused.stdout == ""
    for flag in ("--customer-id", "--amount", "--due-on", "--colour"):
        assert flag in refused.stderr
    assert states(machine, env) == {}


def test_a_broken_payload_never_leaves_the_program_that_made_it(
    machine: Machine, env: dict[str, str]
) -> None:
    shown = machine.run("python", "-c", BROKEN, env=env).stdout

    for field in ("customerId", "amount", "colour"):
        assert field in shown
    assert states(machine, env) == {}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("billing.invioce", "billing.invoice"),
        ("biling.invoice", "billing"),
        ("notification.pagr", "notification.pager"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(
    machine: Machine, env: dict[str, str], typed: str, meant: str
) -> None:
    refused = machine.run("cgjobs", "enqueue", typed, code=4, env=env)

    assert f"Did you mean {meant!r}?" in refused.stderr


def test_jobs_of_an_uninstalled_plugin_wait_and_run_once_it_is_back(
    machine: Machine, env: dict[str, str]
) -> None:
    invoice, pager = enqueue_by_program(machine, env)

    machine.uninstall("acme-jobs")
    try:
        machine.install("chatgenius-jobs-notification")
        worked = machine.run("cgjobs", *BURST, env=env)
        held = [job(machine, env, job_id) for job_id in (invoice, pager)]
    finally:
        machine.install("acme-jobs")
    with machine.worker("--no-scheduler", env=env):
        results = json.loads(machine.run("python", "-c", WAIT, invoice, pager, env=env).stdout)
    done = [job(machine, env, job_id) for job_id in (invoice, pager)]

    assert "no plugin of this worker handles 'notification.pager'" in worked.stderr
    assert [(each["state"], each["attempt"], each["errors"]) for each in held] == [
        ("waiting", 1, []),  # nobody serves its queue
        ("held", 1, []),  # its queue is served; it was looked at and put aside
    ]
    assert results == [{"invoiceNumber": f"c2-{invoice}", "total": "99 EUR"}, "IT BURNS"]
    assert [(each["attempt"], each["errors"]) for each in done] == [(1, []), (1, [])]


# The example of `examples/slack`, installed and run.


class Slack(HTTPServer):
    """Refuses the first message for a rate limit and takes the others."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.received: list[tuple[str, object]] = []
        self.webhook = f"http://127.0.0.1:{self.server_port}/services/T0/B0/secret-token"


class _Request(BaseHTTPRequestHandler):
    server: Slack

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        self.send_response(429 if len(self.server.received) == 1 else 200)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@attrs.frozen
class Delivery:
    """One message's way: the job at its end, what the server received, and what the worker logged."""

    job: Mapping[str, Any]
    received: list[tuple[str, object]]
    log: str


@pytest.fixture(scope="module")
def slack() -> Iterator[Slack]:
    with Slack() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def delivery(machine: Machine, redis_server: Server, slack: Slack) -> Delivery:
    env = {"REDIS_URL": redis_server.url}
    machine.install("cgjobs-slack")
    try:
        with machine.worker(
            "--no-scheduler", env={**env, "CGJOBS_PLUGINS_SLACK_WEBHOOK": slack.webhook}
        ) as log:
            words = ("--channel", "#ops", "--text", "Deployed")
            job_id = enqueue(machine, env, "notification.slack", *words)
            machine.run("python", "-c", WAIT, job_id, env=env)
        return Delivery(job(machine, env, job_id), slack.received, log.read_text())
    finally:
        machine.uninstall("cgjobs-slack")


def test_the_example_sends_to_slack_and_a_rate_limit_costs_no_attempt(delivery: Delivery) -> None:
    sent = ("/services/T0/B0/secret-token", {"channel": "#ops", "text": "Deployed"})

    assert delivery.received == [sent, sent]
    assert (delivery.job["state"], delivery.job["attempt"]) == ("completed", 1)
    assert delivery.job["errors"] == []
    assert '"job_rate_limited"' in delivery.log


def test_a_secret_setting_is_in_no_log_line(delivery: Delivery) -> None:
    assert "secret-token" not in delivery.log

"""`notification.slack` against a Slack of our own, on a real socket."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path

import httpx2
import pytest

import cgjobs_slack
from cgjobs import PluginError, Processor, RateLimited, Retry, hookimpl, plugins
from cgjobs.testing import RecordingContext
from cgjobs_slack import Settings, Slack, slack


class SlackServer(HTTPServer):
    """Answers as it is told and keeps what it was sent: path and JSON of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.status, self.retry_after, self.answer = 200, "", "ok"
        self.received: list[tuple[str, object]] = []
        self.connections = 0

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/T0/B0/secret-token"


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open between requests
    server: SlackServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        answer = self.server.answer.encode()
        self.send_response(self.server.status)
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[SlackServer]:
    with SlackServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ctx(server: SlackServer) -> Iterator[RecordingContext]:
    # Closes the HTTP client before the server ends, which waits for its one connection.
    with RecordingContext(settings=[Settings(webhook=server.webhook)]) as ctx:
        yield ctx


def test_a_message_is_posted_to_the_webhook_exactly_as_configured(
    server: SlackServer, ctx: RecordingContext
) -> None:
    slack(Slack("#ops", "Größe: 1 < 2"), ctx)

    assert server.received == [
        ("/services/T0/B0/secret-token", {"channel": "#ops", "text": "Größe: 1 < 2"}),
    ]


def test_messages_share_one_connection(server: SlackServer, ctx: RecordingContext) -> None:
    for number in range(3):
        slack(Slack("#ops", str(number)), ctx)

    assert (len(server.received), server.connections) == (3, 1)


def test_a_rate_limit_holds_the_channel_for_as_long_as_slack_says(
    server: SlackServer, ctx: RecordingContext
) -> None:
    server.status, server.retry_after = 429, "17"

    with pytest.raises(RateLimited) as limited:
        slack(Slack("#ops", "hi"), ctx)

    assert (limited.value.after, limited.value.scope) == (timedelta(seconds=17), "key")
    assert slack.limit_key(Slack("#ops", "hi")) == "channel=#ops"


def test_a_rate_limit_without_a_time_holds_it_for_a_minute(
    server: SlackServer, ctx: RecordingContext
) -> None:
    server.status = 429

    with pytest.raises(RateLimited) as limited:
        slack(Slack("#ops", "hi"), ctx)

    assert limited.value.after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("status", "answer"), [(302, "moved"), (404, "no_service"), (410, "channel_is_archived"), (503, "down")]
)
def test_a_refusal_is_retried_with_slacks_reason_and_without_the_webhook(
    server: SlackServer, ctx: RecordingContext, status: int, answer: str
) -> None:
    server.status, server.answer = status, answer

    with pytest.raises(Retry) as refused:
        slack(Slack("#ops", "hi"), ctx)

    assert str(refused.value) == f"Slack answered {status} {answer}"


def test_a_long_answer_is_cut(server: SlackServer, ctx: RecordingContext) -> None:
    server.status, server.answer = 500, "x" * 10_000

    with pytest.raises(Retry) as refused:
        slack(Slack("#ops", "hi"), ctx)

    assert str(refused.value) == f"Slack answered 500 {'x' * 200}"


def test_no_connection_is_left_to_the_queues_backoff() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        webhook = f"http://127.0.0.1:{closed.server_port}/secret-token"
    with RecordingContext(settings=[Settings(webhook=webhook)]) as ctx:
        with pytest.raises(httpx2.ConnectError) as failure:
            slack(Slack("#ops", "hi"), ctx)

        assert "secret-token" not in str(failure.value)


def test_a_client_of_the_tests_own_takes_the_place_of_the_real_one() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(429, headers={"Retry-After": "5"})

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        settings = Settings(webhook="https://hooks.slack.test/x")
        ctx = RecordingContext(settings=[settings], uses={httpx2.Client: http})

        with pytest.raises(RateLimited):
            slack(Slack("#ops", "hi"), ctx)


def test_a_text_longer_than_slack_takes_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="text"):
        Slack("#ops", "x" * 4_001)


def test_the_webhook_is_not_shown() -> None:
    assert "secret-token" not in repr(Settings(webhook="https://hooks.slack.com/secret-token"))


class _Notification:
    """Somebody else's plugin, which owns the job type."""

    @staticmethod
    @hookimpl
    def cgjobs_processors() -> list[Processor]:
        return [Processor("notification")]


def _entry_point() -> EntryPoint:
    return EntryPoint("slack", "cgjobs_slack", plugins.GROUP)


def test_it_adds_to_the_job_type_of_another_plugin() -> None:
    registry = plugins.load(
        found=[_entry_point()],
        extra=[("notification", _Notification())],
        read_settings=lambda name, cls: cls(webhook="https://hooks.slack.test/x"),
        strict=True,
    )

    assert registry.subtype("notification.slack") is slack
    assert registry.subtype_for(Slack("#ops", "hi")) is slack
    assert slack.summary == "Post one message. A rate limit holds its channel and costs the job no attempt."


def test_without_the_plugin_that_owns_the_job_type_it_says_what_is_missing() -> None:
    with pytest.raises(PluginError, match="nobody provides the job type 'notification'"):
        plugins.load(found=[_entry_point()], read_settings=lambda name, cls: None, strict=True)


def test_the_whole_plugin_has_39_lines() -> None:
    source = Path(cgjobs_slack.__file__).read_text("utf-8")

    assert len(source.splitlines()) == 39

"""Each provider of text messages against a server of its kind on loopback."""

import base64
import shutil
import socket
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from moto.server import ThreadedMotoServer

from cgjobs import Discard, OutcomeUnknown, Retry
from cgjobs_notification.sms.gateway import Gateway, Text
from cgjobs_notification.sms.phone import Phone
from cgjobs_notification.sms.rest import AnyGateway, TwilioGateway, VonageGateway
from cgjobs_notification.sms.segments import segments
from cgjobs_notification.sms.settings import HttpGateway, Smpp, SmsSettings, Sns, Twilio, Vonage
from cgjobs_notification.sms.smpp import SmppGateway
from cgjobs_notification.sms.sns import SnsGateway
from plugins.notification.tests.loopback import NodeServer, Replies, Seen, needs_node

ADA = Phone("+447911123456", "GB")
SHORT = timedelta(milliseconds=300)


def text(content: str = "Hi", **options: Any) -> Text:
    given: dict[str, Any] = {"id": "J1", "to": ADA, "sender": "+442071838750", "text": content}
    return Text(segments=segments(content), **(given | options))


def form(seen: Seen) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(seen.body.decode()))


def refuses_connections() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


# Over HTTP


def twilio(url: str, **options: Any) -> TwilioGateway:
    return TwilioGateway(Twilio(account_sid="AC1", auth_token="hunter2", endpoint=url, **options))


def vonage(url: str, **options: Any) -> VonageGateway:
    return VonageGateway(Vonage(api_key="k", api_secret="hunter2", endpoint=url, **options))


def gateway(url: str, **options: Any) -> AnyGateway:
    fields = {"to": "{to}", "from": "{sender}", "body": "{text}", "ref": "{id}"}
    return AnyGateway(HttpGateway(**({"url": f"{url}/send", "json": fields, "id_field": "id"} | options)))


OVER_HTTP = [twilio, vonage, gateway]


def send(made: Any, message: Text) -> Any:
    try:
        return made.send(message)
    finally:
        made.close()


def test_twilio_gets_the_message(serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append((201, {}, {"sid": "SM1", "status": "queued"}))

    taken = send(twilio(server.url), text())

    seen = server.seen[0]
    assert (taken.provider, taken.provider_id) == ("twilio", "SM1")
    assert seen.path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert base64.b64decode(seen.headers["authorization"].split()[1]) == b"AC1:hunter2"
    assert form(seen) == {"To": "+447911123456", "From": "+442071838750", "Body": "Hi"}


def test_twilio_sends_over_a_messaging_service(serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append((201, {}, {"sid": "SM1"}))

    send(twilio(server.url), text(sender="MG1"))

    assert form(server.seen[0])["MessagingServiceSid"] == "MG1"


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, 21211, Discard),
        (400, 21610, Discard),
        (401, 20003, Discard),
        (429, 20429, Retry),
        (503, 0, Retry),
        (500, 0, OutcomeUnknown),
        (504, 0, OutcomeUnknown),
    ],
)
def test_what_twilio_refuses_is_told_apart(
    serve: Callable[[], Replies], status: int, code: int, error: type[Exception]
) -> None:
    server = serve()
    message = f"The 'To' number {ADA.e164} is no"
    server.replies.append((status, {"Retry-After": "7"}, {"code": code, "message": message}))

    with pytest.raises(error) as caught:
        send(twilio(server.url), text())

    assert caught.type is error
    assert ADA.e164 not in str(caught.value)
    if isinstance(caught.value, Retry):
        assert caught.value.after == timedelta(seconds=7)
    elif isinstance(caught.value, Discard) and status < 500:
        assert f"{status} {code} The 'To' number +44******456" in str(caught.value)


def test_vonage_gets_the_message(serve: Callable[[], Replies]) -> None:
    server = serve()
    parts = [{"status": "0", "message-id": "V1"}, {"status": "0", "message-id": "V2"}]
    server.replies.append((200, {}, {"message-count": "2", "messages": parts}))

    taken = send(vonage(server.url), text("ô" * 100))

    assert taken.provider_id == "V1"
    sent = form(server.seen[0])
    assert (sent["to"], sent["type"], sent["client-ref"]) == ("447911123456", "unicode", "J1")


@pytest.mark.parametrize(
    ("statuses", "error"),
    [
        (["1"], Retry),
        (["5"], Retry),
        (["4"], Discard),
        (["9"], Discard),
        (["0", "1"], OutcomeUnknown),
        ([], OutcomeUnknown),
    ],
)
def test_what_vonage_refuses_is_told_apart(
    serve: Callable[[], Replies], statuses: list[str], error: type[Exception]
) -> None:
    server = serve()
    parts = [{"status": status, "error-text": f"no {ADA.e164[1:]}"} for status in statuses]
    server.replies.append((200, {}, {"messages": parts}))

    with pytest.raises(error) as caught:
        send(vonage(server.url), text())

    assert caught.type is error
    assert ADA.e164[1:] not in str(caught.value)


def test_any_gateway_gets_the_request_that_the_settings_describe(serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append((202, {}, {"id": "G1"}))

    taken = send(gateway(server.url, headers={"X-Key": "hunter2"}), text("{to} says {id}"))

    assert taken.provider_id == "G1"
    assert server.seen[0].headers["x-key"] == "hunter2"
    assert server.seen[0].json == {
        "to": "+447911123456",
        "from": "+442071838750",
        "body": "{to} says {id}",  # what is filled in is not filled in again
        "ref": "J1",
    }


def test_a_gateway_may_want_a_query(serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append((200, {}, b"0: Accepted for delivery"))
    kannel = {"username": "u", "to": "{to}", "text": "{text}"}

    taken = send(gateway(server.url, method="GET", form=kannel, json={}, id_field=""), text("a&b=ü"))

    path, _, query = server.seen[0].path.partition("?")
    assert path == "/send"
    assert dict(urllib.parse.parse_qsl(query)) == {"username": "u", "to": "+447911123456", "text": "a&b=ü"}
    assert taken.provider_id == "0: Accepted for delivery"


@pytest.mark.parametrize("make", OVER_HTTP)
def test_without_a_connection_nothing_was_sent(make: Callable[..., Any]) -> None:
    with pytest.raises(Retry, match="ConnectError"):
        send(make(refuses_connections()), text())


@pytest.mark.parametrize("make", OVER_HTTP)
def test_a_connection_that_breaks_before_the_reply_is_an_unknown_outcome(
    make: Callable[..., Any], serve: Callable[[], Replies]
) -> None:
    server = serve()
    server.replies.append(None)

    with pytest.raises(OutcomeUnknown, match="may have taken"):
        send(make(server.url), text())

    assert len(server.seen) == 1


@pytest.mark.parametrize("make", OVER_HTTP)
def test_a_provider_that_does_not_reply_in_time_is_an_unknown_outcome(make: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OutcomeUnknown, match="ReadTimeout"):
            send(make(url, timeout=SHORT), text())


# SNS


@pytest.fixture(scope="module")
def sns_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


def sns(url: str, **options: Any) -> SnsGateway:
    return SnsGateway(
        Sns(region="eu-west-1", endpoint_url=url, access_key_id="a", secret_access_key="b", **options)
    )


def test_sns_takes_the_message_and_refuses_what_is_no_number(sns_url: str) -> None:
    made = sns(sns_url)

    taken = made.send(text(sender="ChatGenius"))
    with pytest.raises(Discard, match="InvalidParameter") as caught:
        made.send(text(to=Phone("447911123456x", "GB")))
    made.close()

    assert taken.provider == "sns"
    assert len(taken.provider_id) == 36
    assert "447911123456x" not in str(caught.value)


def test_a_region_that_is_none_is_named() -> None:
    with pytest.raises(Discard, match=r"sms\.sns"):
        SnsGateway(Sns(region="no such region", access_key_id="a", secret_access_key="b"))


def test_sns_that_cannot_be_reached_was_sent_nothing_and_one_that_is_silent_may_have_been() -> None:
    with pytest.raises(Retry):
        send(sns(refuses_connections()), text())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OutcomeUnknown):
            send(sns(url, timeout=SHORT), text())


def test_sns_that_throttles_is_tried_again(serve: Callable[[], Replies]) -> None:
    server = serve()
    body = b"<ErrorResponse><Error><Code>Throttling</Code><Message>slow</Message></Error></ErrorResponse>"
    server.replies.append((400, {"Content-Type": "text/xml"}, body))

    with pytest.raises(Retry, match="Throttling"):
        send(sns(server.url), text())

    assert len(server.seen) == 1


# SMPP


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeServer]:
    """A message centre: the npm package smpp, installed into a directory of the test run."""
    node, npm = needs_node(), shutil.which("npm")
    if npm is None:
        pytest.skip("this test installs the npm package smpp, and there is no npm here")
    directory = tmp_path_factory.mktemp("smpp")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    done = subprocess.run(
        [npm, "install", "--prefix", directory, *options, "smpp@0.5.1"],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install smpp here: {done.stderr[-300:]}")
    shutil.copy(Path(__file__).parent / "servers" / "smpp.js", directory)
    server = NodeServer([node, "smpp.js"], directory)
    yield server
    server.stop()


@pytest.fixture
def smpp(centre: NodeServer) -> Iterator[SmppGateway]:
    made = SmppGateway(bound(centre))
    yield made
    made.close()


def bound(centre: NodeServer, **options: Any) -> Smpp:
    given = {"host": "127.0.0.1", "port": centre.port, "system_id": "chat", "password": "right"}
    return Smpp(**(given | {"timeout": timedelta(seconds=5)} | options))


def test_a_centre_takes_the_message(smpp: SmppGateway, centre: NodeServer) -> None:
    before, receipts = centre.count("message"), centre.count("receipt")

    taken = [smpp.send(text("Grüße @ {5} €")), smpp.send(text(sender="ChatGenius"))]

    first, second = centre.wait("message", before + 2)[before:]
    assert (first["to"], first["toTon"], first["from"], first["fromTon"]) == (
        "447911123456",
        1,
        "442071838750",
        1,
    )
    assert (first["coding"], first["text"]) == (0, "Grüße @ {5} €")
    assert (second["from"], second["fromTon"]) == ("ChatGenius", 5)
    assert taken[0].provider_id != taken[1].provider_id
    centre.wait("receipt", receipts + 1)  # it is answered, by the next call


def test_a_long_message_goes_in_parts_that_belong_together(smpp: SmppGateway, centre: NodeServer) -> None:
    before = centre.count("message")
    content = "Größe ô 👨 " * 20

    smpp.send(text(content))

    seen = centre.wait("message", before + 4)[before:]
    assert "".join(part["text"] for part in seen) == content
    assert {part["coding"] for part in seen} == {8}
    headers = [part["udh"] for part in seen]
    assert [header[-2:] for header in headers] == [[4, n] for n in (1, 2, 3, 4)]
    assert len({tuple(header[:-1]) for header in headers}) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(11, Discard), (88, Retry), (20, Retry), (8, Discard), (69, Discard)]
)
def test_what_a_centre_refuses_is_told_apart(
    smpp: SmppGateway, centre: NodeServer, status: int, error: type[Exception]
) -> None:
    centre.tell([status])

    with pytest.raises(error, match=f"status {status}") as caught:
        smpp.send(text())

    assert caught.type is error
    assert smpp.send(text()).provider_id  # over the same connection


def test_a_part_that_is_refused_after_another_was_taken_is_an_unknown_outcome(
    smpp: SmppGateway, centre: NodeServer
) -> None:
    centre.tell([0, 88])

    with pytest.raises(OutcomeUnknown, match="1 of 2 parts were taken"):
        smpp.send(text("x" * 161))


@pytest.mark.parametrize("order", ["silent", "close"])
def test_a_centre_that_does_not_reply_may_have_taken_the_message(centre: NodeServer, order: str) -> None:
    made = SmppGateway(bound(centre, timeout=timedelta(seconds=2)))
    before = centre.count("message")
    centre.tell([order])

    with pytest.raises(OutcomeUnknown, match="may have taken"):
        made.send(text())
    made.send(text())
    made.close()

    assert centre.count("message") == before + 2


def test_a_connection_that_broke_while_it_was_idle_is_replaced(smpp: SmppGateway, centre: NodeServer) -> None:
    smpp.send(text())
    binds = centre.count("bind")
    centre.tell("hang up")

    assert smpp.send(text()).provider_id

    assert centre.count("bind") == binds + 1


def test_a_wrong_password_is_final(centre: NodeServer) -> None:
    with pytest.raises(Discard, match="bind: status 13"):
        SmppGateway(bound(centre, password="wrong")).send(text())


def test_a_centre_that_is_not_there_is_tried_again() -> None:
    port = int(refuses_connections().rpartition(":")[2])

    with pytest.raises(Retry, match="no connection"):
        SmppGateway(Smpp(host="127.0.0.1", port=port, system_id="a", password="b")).send(text())


# Settings


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"countries": ()}, "countries is empty"),
        ({"sender": ""}, "sender is empty"),
        ({"countries": ("Germany",)}, "two capital letters"),
        ({"vonage": Vonage(api_key="a", api_secret="b")}, "choose one"),
        ({"max_segments": 0}, "max_segments"),
        ({"per_hour": 0}, "above zero"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], reason: str) -> None:
    given = {
        "twilio": Twilio(account_sid="a", auth_token="b"),
        "countries": ("GB",),
        "sender": "+442071838750",
    }

    with pytest.raises(ValueError, match=reason):
        SmsSettings(**(given | settings))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "form or as json"),
        ({"form": {"to": "{to}"}}, r"\{text\}"),
        ({"json": {"to": "{to}", "text": "{text}"}, "method": "GET"}, "GET has no JSON"),
        ({"form": {"to": "{to}", "text": "{text}"}, "url": "http://gateway.example/"}, "https"),
    ],
)
def test_a_request_that_cannot_carry_a_message_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        HttpGateway(**({"url": "https://gateway.example/"} | fields))


def test_no_secret_is_shown() -> None:
    shown = repr(
        [
            Twilio(account_sid="AC1", auth_token="hunter2"),
            Vonage(api_key="hunter2", api_secret="hunter2"),
            Smpp(host="h", system_id="s", password="hunter2"),
            Sns(secret_access_key="hunter2"),
            HttpGateway(url="https://g.example", form={"to": "{to}{text}", "password": "hunter2"}),
        ]
    )

    assert "hunter2" not in shown


def test_each_is_a_gateway() -> None:
    made: list[type[Gateway]] = [TwilioGateway, VonageGateway, AnyGateway, SnsGateway, SmppGateway]

    assert len(made) == 5
    assert attrs.has(Text)

"""Each service of push messages against a server of its kind on loopback."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import http_ece
import jwt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from py_vapid import Vapid02

from cgjobs import Discard, Retry
from cgjobs_notification import Note
from cgjobs_notification.push.apns import Apns
from cgjobs_notification.push.fcm import Fcm
from cgjobs_notification.push.ntfy import Ntfy
from cgjobs_notification.push.service import CredentialsRefused, DeviceGone, Message, NotSent
from cgjobs_notification.push.settings import ApnsSettings, FcmSettings, NtfySettings, WebPushSettings
from cgjobs_notification.push.webpush import MOST_BYTES, WebPush
from cgjobs_notification.recipient import Device
from plugins.notification.tests.loopback import NodeServer, Replies, Seen, needs_node

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def message(note: Note | None = None, **options: Any) -> Message:
    shown = note or Note(title="Ada", body="Hällo", url="https://chat.example/c/1", data={"channel": "1"})
    given: dict[str, Any] = {"urgency": "high", "ttl": timedelta(hours=1), "collapse_key": "c-1", "now": NOW}
    return Message(id="J1", note=shown, **(given | options))


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_key(key: ec.EllipticCurvePrivateKey) -> str:
    return base64url(key.private_numbers().private_value.to_bytes(32, "big"))


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


@attrs.define
class Browser:
    """A browser that has subscribed: it alone can read what is sent to it."""

    key: ec.EllipticCurvePrivateKey = attrs.field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = attrs.field(factory=lambda: os.urandom(16))

    def device(self, endpoint: str) -> Device:
        keys = {"p256dh": base64url(point(self.key)), "auth": base64url(self.auth)}
        return Device(id="D1", kind="webpush", address=endpoint, **keys)

    def read(self, body: bytes) -> Any:
        plain = http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm")
        return json.loads(plain)


# Web Push


@pytest.fixture(scope="module")
def vapid() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def webpush(vapid: ec.EllipticCurvePrivateKey) -> Iterator[WebPush]:
    settings = WebPushSettings(
        private_key=raw_key(vapid), contact="mailto:ops@example.com", insecure_endpoints=True
    )
    service = WebPush(settings)
    yield service
    service.close()


def test_only_the_browser_can_read_what_is_sent_to_it(webpush: WebPush, serve: Callable[[], Replies]) -> None:
    server, browser = serve(), Browser()
    server.replies.append((201, {"Location": "https://push.example/m/1"}, b""))

    sent = webpush.send(browser.device(f"{server.url}/send/1"), message())

    request = server.seen[0]
    assert browser.read(request.body) == {
        "title": "Ada",
        "body": "Hällo",
        "url": "https://chat.example/c/1",
        "data": {"channel": "1"},
    }
    assert (sent.status, sent.provider_id) == (201, "https://push.example/m/1")
    assert request.path == "/send/1"
    wanted = {"content-encoding": "aes128gcm", "ttl": "3600", "urgency": "high", "topic": "c-1"}
    assert wanted.items() <= request.headers.items()


def test_the_push_service_can_tell_that_we_sent_it(
    webpush: WebPush, serve: Callable[[], Replies], vapid: ec.EllipticCurvePrivateKey
) -> None:
    server = serve()

    webpush.send(Browser().device(server.url), message())

    header = server.seen[0].headers["authorization"]
    token = header.split("t=")[1].split(",")[0]
    claims = jwt.decode(
        token, vapid.public_key(), algorithms=["ES256"], audience=server.url, options={"verify_exp": False}
    )
    assert Vapid02.verify(header)
    assert header.endswith(f"k={base64url(point(vapid))}")
    assert claims["sub"] == "mailto:ops@example.com"
    assert timedelta(0) < datetime.fromtimestamp(claims["exp"], UTC) - NOW <= timedelta(hours=24)


def test_a_signature_is_used_for_hours_and_then_made_anew(
    webpush: WebPush, serve: Callable[[], Replies]
) -> None:
    server, browser = serve(), Browser()
    for hours in (0, 10, 12, 30):
        webpush.send(browser.device(server.url), message(now=NOW + timedelta(hours=hours)))

    first, second, third, fourth = (seen.headers["authorization"] for seen in server.seen)
    assert first == second
    assert len({first, third, fourth}) == 3
    assert server.connections == 1


def test_a_message_that_no_browser_takes_is_not_sent(webpush: WebPush, serve: Callable[[], Replies]) -> None:
    server, browser = serve(), Browser()
    fits = Note(title="x", body="y" * (MOST_BYTES - len('{"title":"x","body":""}')))

    webpush.send(browser.device(server.url), message(fits))
    with pytest.raises(NotSent, match=r"3,994 bytes.*3,993"):
        webpush.send(browser.device(server.url), message(attrs.evolve(fits, title="xx")))

    assert [len(seen.body) for seen in server.seen] == [4_096]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, DeviceGone),
        (410, DeviceGone),
        (400, NotSent),
        (413, NotSent),
        (301, NotSent),
        (401, CredentialsRefused),
        (403, CredentialsRefused),
        (408, Retry),
        (429, Retry),
        (500, Retry),
        (503, Retry),
    ],
)
def test_what_a_push_service_refuses_is_told_apart(
    webpush: WebPush, serve: Callable[[], Replies], status: int, error: type[Exception]
) -> None:
    server = serve()
    server.replies.append((status, {"Location": "http://127.0.0.1:1/"}, b"because"))

    with pytest.raises(error, match="because") as caught:
        webpush.send(Browser().device(server.url), message())

    assert caught.type is error
    assert len(server.seen) == 1


def test_a_busy_service_says_how_long_to_wait(webpush: WebPush, serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append((429, {"Retry-After": "120"}, b""))

    with pytest.raises(Retry) as caught:
        webpush.send(Browser().device(server.url), message())

    assert caught.value.after == timedelta(minutes=2)


def test_an_endless_reply_is_not_read_to_its_end(webpush: WebPush, serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append((400, {}, b"x" * 50_000_000))

    with pytest.raises(NotSent) as caught:
        webpush.send(Browser().device(server.url), message())

    assert len(caught.value.reason) <= 300


def test_a_connection_that_breaks_is_tried_again(webpush: WebPush, serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append(None)

    with pytest.raises(Retry, match="web push"):
        webpush.send(Browser().device(server.url), message())


@pytest.mark.parametrize("keys", [{"auth": ""}, {"auth": "AAAA"}, {"p256dh": "AAAA"}, {"p256dh": "%%%"}])
def test_a_subscription_without_its_keys_is_refused(webpush: WebPush, keys: dict[str, str]) -> None:
    device = attrs.evolve(Browser().device("http://127.0.0.1:1/"), **keys)

    with pytest.raises(NotSent, match="keys"):
        webpush.send(device, message())


def test_a_key_that_is_none_is_named_and_not_shown() -> None:
    with pytest.raises(Discard, match="VAPID") as caught:
        WebPush(WebPushSettings(private_key="c2VjcmV0", contact="mailto:a@b.example"))

    assert "c2VjcmV0" not in str(caught.value)


def test_a_key_may_be_a_file(
    vapid: ec.EllipticCurvePrivateKey, tmp_path: Path, serve: Callable[[], Replies]
) -> None:
    server, path = serve(), tmp_path / "private_key.pem"
    path.write_bytes(
        vapid.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    service = WebPush(
        WebPushSettings(private_key_file=path, contact="mailto:a@b.example", insecure_endpoints=True)
    )

    service.send(Browser().device(server.url), message())
    service.close()

    assert Vapid02.verify(server.seen[0].headers["authorization"])


# FCM


@attrs.define
class Firebase:
    """Google's token service and Firebase on one HTTP server."""

    server: Replies
    tokens: int = 0
    expires_in: int = 3600

    def answer(self, seen: Seen) -> tuple[int, dict[str, str], Any]:
        if seen.path == "/token":
            self.tokens += 1
            token = {"access_token": f"token-{self.tokens}", "expires_in": self.expires_in}
            return 200, {"Content-Type": "application/json"}, token | {"token_type": "Bearer"}
        reply = self.server.replies.popleft() if self.server.replies else None
        return reply or (200, {}, {"name": "projects/chat/messages/7"})

    @property
    def sent(self) -> list[Seen]:
        return [seen for seen in self.server.seen if seen.path != "/token"]


@pytest.fixture(scope="module")
def account_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


@pytest.fixture
def firebase(serve: Callable[[], Replies]) -> Firebase:
    server = serve()
    made = Firebase(server)
    server.answer = made.answer
    return made


@pytest.fixture
def fcm(firebase: Firebase, account_key: str, tmp_path: Path) -> Iterator[Fcm]:
    account = {
        "type": "service_account",
        "project_id": "chat",
        "private_key_id": "1",
        "private_key": account_key,
        "client_email": "push@chat.example",
        "token_uri": f"{firebase.server.url}/token",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    service = Fcm(FcmSettings(credentials=path, endpoint=firebase.server.url))
    yield service
    service.close()


ANDROID = Device(id="D2", kind="fcm", address="registration-token")


def refusal(status: int, code: str) -> tuple[int, dict[str, str], Any]:
    kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    error = {"code": status, "message": "no", "status": "X", "details": [{"@type": kind, "errorCode": code}]}
    return status, {}, {"error": error}


def test_firebase_gets_the_message_with_one_access_token_for_all(fcm: Fcm, firebase: Firebase) -> None:
    results = [fcm.send(ANDROID, message()) for _ in range(3)]

    request = firebase.sent[0]
    assert firebase.tokens == 1
    assert request.path == "/v1/projects/chat/messages:send"
    assert request.headers["authorization"] == "Bearer token-1"
    assert request.json["message"] == {
        "token": "registration-token",
        "notification": {"title": "Ada", "body": "Hällo"},
        "data": {"channel": "1", "url": "https://chat.example/c/1"},
        "android": {"priority": "high", "ttl": "3600s", "collapse_key": "c-1"},
    }
    assert {result.provider_id for result in results} == {"projects/chat/messages/7"}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (refusal(404, "UNREGISTERED"), DeviceGone),
        (refusal(400, "INVALID_ARGUMENT"), NotSent),
        (refusal(403, "SENDER_ID_MISMATCH"), CredentialsRefused),
        (refusal(401, "THIRD_PARTY_AUTH_ERROR"), CredentialsRefused),
        (refusal(429, "QUOTA_EXCEEDED"), Retry),
        (refusal(503, "UNAVAILABLE"), Retry),
        ((400, {}, b"<html>no</html>"), NotSent),
        ((502, {}, b"[]"), Retry),
    ],
)
def test_what_firebase_refuses_is_told_apart(
    fcm: Fcm, firebase: Firebase, reply: Any, error: type[Exception]
) -> None:
    firebase.server.replies.append(reply)

    with pytest.raises(error) as caught:
        fcm.send(ANDROID, message())

    assert caught.type is error


def test_an_account_that_google_does_not_know_disables_nothing(fcm: Fcm, firebase: Firebase) -> None:
    firebase.server.answer = lambda seen: (400, {}, {"error": "invalid_grant", "error_description": "no"})

    with pytest.raises(CredentialsRefused, match="access token"):
        fcm.send(ANDROID, message())


def test_a_token_service_that_is_down_is_tried_again(fcm: Fcm, firebase: Firebase) -> None:
    firebase.server.answer = lambda seen: None

    with pytest.raises(Retry, match="access token"):
        fcm.send(ANDROID, message())


def test_a_file_that_holds_no_service_account_is_named(tmp_path: Path) -> None:
    with pytest.raises(Discard, match=r"missing\.json"):
        Fcm(FcmSettings(credentials=tmp_path / "missing.json"))


# APNs


@pytest.fixture(scope="module")
def apple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeServer, Path]]:
    """Apple's push service, and the authority that vouches for it."""
    node = needs_node()
    directory = tmp_path_factory.mktemp("apns")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(directory / "server.pem")
    issued.private_key_pem.write_to_path(directory / "server.key")
    program = Path(__file__).parent / "servers" / "apns.mjs"
    server = NodeServer([node, str(program), "server.pem", "server.key"], directory)
    yield server, directory / "ca.pem"
    server.stop()


@pytest.fixture(scope="module")
def apple_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def apns(
    apple: tuple[NodeServer, Path], apple_key: ec.EllipticCurvePrivateKey, tmp_path: Path
) -> Iterator[Apns]:
    server, ca_file = apple
    key_file = tmp_path / "AuthKey.p8"
    key_file.write_bytes(
        apple_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    settings = ApnsSettings(
        key_file=key_file,
        key_id="ABC1234567",
        team_id="DEF1234567",
        topic="example.chat",
        endpoint=f"https://127.0.0.1:{server.port}",
        ca_file=ca_file,
    )
    service = Apns(settings)
    yield service
    service.close()


PHONE = Device(id="D3", kind="apns", address="ab" * 32)


def test_apple_gets_the_message_over_one_connection_under_one_token(
    apns: Apns, apple: tuple[NodeServer, Path], apple_key: ec.EllipticCurvePrivateKey
) -> None:
    server, _ = apple
    sessions, requests = server.count("session"), server.count("request")

    sent = [apns.send(PHONE, message(now=NOW + timedelta(minutes=n))) for n in (0, 20, 39, 41)]

    seen = server.wait("request", requests + 4)[requests:]
    headers = seen[0]["headers"]
    assert server.count("session") - sessions == 1
    assert seen[0]["path"] == f"/3/device/{'ab' * 32}"
    assert json.loads(seen[0]["body"]) == {
        "aps": {"alert": {"title": "Ada", "body": "Hällo"}, "sound": "default"},
        "channel": "1",
        "url": "https://chat.example/c/1",
    }
    assert headers["apns-topic"] == "example.chat"
    assert headers["apns-collapse-id"] == "c-1"
    assert headers["apns-expiration"] == str(int((NOW + timedelta(hours=1)).timestamp()))
    assert (headers["apns-priority"], headers["apns-push-type"]) == ("10", "alert")
    tokens = [request["headers"]["authorization"] for request in seen]
    assert tokens[0] == tokens[1] == tokens[2] != tokens[3]
    claims = jwt.decode(tokens[0].split()[1], apple_key.public_key(), algorithms=["ES256"])
    assert claims == {"iss": "DEF1234567", "iat": int(NOW.timestamp())}
    assert jwt.get_unverified_header(tokens[0].split()[1])["kid"] == "ABC1234567"
    assert {item.provider_id for item in sent} == {headers["apns-id"]}  # the same in every attempt


def test_two_devices_and_two_jobs_have_ids_of_their_own(apns: Apns) -> None:
    other = attrs.evolve(PHONE, id="D4")

    ids = {
        apns.send(device, attrs.evolve(message(), id=job)).provider_id
        for device in (PHONE, other)
        for job in ("J1", "J2")
    }

    assert len(ids) == 4


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (410, "Unregistered", DeviceGone),
        (400, "BadDeviceToken", DeviceGone),
        (400, "DeviceTokenNotForTopic", DeviceGone),
        (400, "BadCollapseId", NotSent),
        (413, "PayloadTooLarge", NotSent),
        (403, "InvalidProviderToken", CredentialsRefused),
        (429, "TooManyRequests", Retry),
        (500, "InternalServerError", Retry),
        (503, "ServiceUnavailable", Retry),
    ],
)
def test_what_apple_refuses_is_told_apart(
    apns: Apns, apple: tuple[NodeServer, Path], status: int, reason: str, error: type[Exception]
) -> None:
    apple[0].tell([[status, reason, {"retry-after": "30"}]])

    with pytest.raises(error, match=reason) as caught:
        apns.send(PHONE, message())

    assert caught.type is error
    if isinstance(caught.value, Retry):
        assert caught.value.after == timedelta(seconds=30)


def test_a_token_that_apple_finds_too_old_is_signed_anew_once(
    apns: Apns, apple: tuple[NodeServer, Path]
) -> None:
    server, _ = apple
    requests = server.count("request")
    server.tell([[403, "ExpiredProviderToken", {}]])

    assert apns.send(PHONE, message()).status == 200

    assert len(server.wait("request", requests + 2)) == requests + 2


def test_what_is_no_device_token_never_gets_into_a_path(apns: Apns) -> None:
    with pytest.raises(DeviceGone):
        apns.send(attrs.evolve(PHONE, address="../../other"), message())


# ntfy


def test_ntfy_gets_the_message_as_json(serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append((200, {}, {"id": "n1"}))
    service = Ntfy(NtfySettings(server=server.url, token="tk_1"))
    note = Note(title="Ada\r\nX-Injected: 1", body="Hi", url="https://chat.example/", tag="chat")

    sent = service.send(Device(id="D5", kind="ntfy", address="ada-topic"), message(note))
    with pytest.raises(NotSent, match="no topic"):
        service.send(Device(id="D6", kind="ntfy", address="../admin"), message())
    service.close()

    assert sent.provider_id == "n1"
    assert server.seen[0].headers["authorization"] == "Bearer tk_1"
    assert server.seen[0].json == {
        "topic": "ada-topic",
        "title": "Ada\r\nX-Injected: 1",
        "message": "Hi",
        "priority": 4,
        "click": "https://chat.example/",
        "tags": ["chat"],
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, CredentialsRefused), (403, CredentialsRefused), (429, Retry), (507, Retry), (400, NotSent)],
)
def test_what_ntfy_refuses_is_told_apart(
    serve: Callable[[], Replies], status: int, error: type[Exception]
) -> None:
    server = serve()
    server.replies.append((status, {}, {"error": "no"}))
    service = Ntfy(NtfySettings(server=server.url))

    with pytest.raises(error) as caught:
        service.send(Device(id="D5", kind="ntfy", address="ada"), message())
    service.close()

    assert caught.type is error

"""No push message goes to an address inside: the corpus of what people try, and a name that resolves anew."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpcore2
import httpx2
import pytest
import trustme

from cgjobs_notification.push.guard import (
    Forbidden,
    GuardedBackend,
    check_address,
    check_endpoint,
    guarded_client,
)
from cgjobs_notification.push.settings import WebPushSettings

HOSTS = WebPushSettings(private_key="x", contact="mailto:a@b.example").allowed_hosts


@pytest.mark.parametrize(
    "url",
    [
        "https://fcm.googleapis.com/fcm/send/abc",
        "https://updates.push.services.mozilla.com/wpush/v2/abc",
        "https://db5p.notify.windows.com/w/?token=abc",
        "https://web.push.apple.com/abc",
        "https://FCM.googleapis.com:443/fcm/send/abc",
    ],
)
def test_the_services_of_the_browsers_are_reached(url: str) -> None:
    origin = check_endpoint(url, HOSTS)

    assert origin.startswith("https://")
    assert origin == origin.lower().removesuffix(":443")  # as the browser's service writes it (RFC 6454)


@pytest.mark.parametrize(
    "url",
    [
        "http://fcm.googleapis.com/",
        "ftp://fcm.googleapis.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "//fcm.googleapis.com/",
        "",
        "https://",
        "https:///path",
        "https://evil.example/",
        "https://fcm.googleapis.com.evil.example/",
        "https://evil.example/fcm.googleapis.com",
        "https://fcm.googleapis.com@evil.example/",
        "https://user:secret@fcm.googleapis.com/",
        "https://evil.example#@fcm.googleapis.com/",
        "https://evil.example\\@fcm.googleapis.com/",
        "https://fcm.googleapis.com:6379/",
        "https://fcm.googleapis.com:99999/",
        "https://fcm.googleapis.com\r\nHost: evil.example/",
        "https://fcm.googleapis.com /",
        "https://fcm。googleapis。com/",
        "https://[::1]/",
        "https://127.0.0.1/",
    ],
)
def test_what_is_no_service_of_a_browser_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        check_endpoint(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/",
        "https://redis/",
        "https://2130706433/",
        "https://0/",
        "https://api.internal/",
        "https://printer.local/",
        "https://x.localhost/",
    ],
)
def test_a_host_of_the_house_is_refused_even_without_a_list(url: str) -> None:
    with pytest.raises(Forbidden):
        check_endpoint(url, ())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "::127.0.0.1",
    ],
)
def test_an_address_inside_is_refused_in_every_spelling(address: str) -> None:
    with pytest.raises(Forbidden):
        check_address(address)


@pytest.mark.parametrize("address", ["142.250.1.1", "2a00:1450:4001::1", "64:ff9b::8efa:101"])
def test_an_address_of_the_internet_is_reached(address: str) -> None:
    assert check_address(address)


@pytest.mark.parametrize("host", ["0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1", "::1"])
def test_what_the_system_takes_for_an_address_inside_is_refused_when_it_connects(host: str) -> None:
    with pytest.raises((Forbidden, httpcore2.ConnectError)):
        GuardedBackend().connect_tcp(host, 9, timeout=1)


def test_a_host_with_one_address_inside_is_refused_as_a_whole() -> None:
    backend = GuardedBackend(lambda host, port: ["142.250.1.1", "10.0.0.1"])

    with pytest.raises(Forbidden, match=r"10\.0\.0\.1"):
        backend.connect_tcp("fcm.googleapis.com", 443, timeout=1)


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[tuple[int, list[str]]]:
    """A TLS server inside, and the names that were asked for there."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("push.example").configure_cert(tls)
    asked: list[str] = []
    tls.sni_callback = lambda sock, name, context: asked.append(name or "")  # type: ignore[assignment]
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            try:
                tls.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1], asked
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to(
    inside: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second answer of a rebinding name server is never asked for; TLS still wants the name."""
    port, asked = inside
    answers = [["142.250.1.1"], ["127.0.0.1"]]
    connected: list[str] = []

    def connect(self: object, host: str, *rest: object, **options: object) -> object:
        connected.append(host)
        made = socket.create_connection(("127.0.0.1", port), 10)
        return httpcore2._backends.sync.SyncStream(made)

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect)
    with guarded_client(5, lambda host, port: answers.pop(0)) as client, pytest.raises(httpx2.ConnectError):
        client.post("https://push.example/")

    assert connected == ["142.250.1.1"]
    assert asked == ["push.example"]
    assert len(answers) == 1


def test_the_next_address_is_tried_when_one_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def connect(self: object, host: str, *rest: object, **options: object) -> object:
        tried.append(host)
        raise httpcore2.ConnectError("no way")

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect)
    with pytest.raises(httpcore2.ConnectError, match="no way"):
        GuardedBackend(lambda host, port: ["2a00:1450:4001::1", "142.250.1.1"]).connect_tcp("x.example", 443)

    assert tried == ["2a00:1450:4001::1", "142.250.1.1"]


def test_a_name_that_leads_inside_is_refused_before_any_connection(inside: tuple[int, list[str]]) -> None:
    port, asked = inside

    with (
        guarded_client(5, lambda host, port: ["127.0.0.1"]) as client,
        pytest.raises(Forbidden, match=r"127\.0\.0\.1"),
    ):
        client.post(f"https://push.example:{port}/")

    assert asked == []


def test_a_name_that_nobody_knows_is_a_connection_that_failed() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror("Name or service not known")

    with guarded_client(5, unknown) as client, pytest.raises(httpx2.ConnectError):
        client.post("https://push.example/")

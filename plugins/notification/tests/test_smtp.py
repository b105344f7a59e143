"""`notification.email` against a real SMTP server on a free port."""

import asyncio
import contextlib
import email
import email.policy
import socket
import ssl
import subprocess
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from cgjobs import Discard, Retry
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_notification import Content, Email, EmailResult, Settings
from cgjobs_notification.mail.handler import email as send_email
from cgjobs_notification.mail.settings import Smtp
from cgjobs_notification.mail.smtp import SmtpPool


@attrs.define
class Server:
    """A mail server that keeps what it gets and replies what it is told to, by command, first reply first."""

    port: int = 0
    mails: list[EmailMessage] = attrs.field(factory=list)
    envelopes: list[tuple[str, list[str]]] = attrs.field(factory=list)
    peers: list[tuple[str, int]] = attrs.field(factory=list)
    replies: dict[str, deque[str]] = attrs.field(
        factory=lambda: {"MAIL": deque(), "RCPT": deque(), "DATA": deque()}
    )
    connections: list[Any] = attrs.field(factory=list)
    controller: Any = None

    async def handle_MAIL(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.replies["MAIL"]:
            return self.replies["MAIL"].popleft()
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.replies["RCPT"]:
            return self.replies["RCPT"].popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        reply = self.replies["DATA"].popleft() if self.replies["DATA"] else "250 OK"
        if reply.startswith("5"):
            return reply
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        self.peers.append(session.peer)
        self.connections.append(server.transport)
        if reply == "hang up":
            server.transport.close()
        return reply

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        if data.login == b"busy":
            return AuthResult(success=False, handled=False, message="454 4.7.0 Temporary failure")
        return AuthResult(success=data.password == b"right", handled=False)

    def hang_up(self) -> None:
        """Close every connection, as a server does that restarts."""

        async def close() -> None:
            for transport in self.connections:
                transport.abort()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(close(), self.controller.loop).result(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1, its key beside it."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    files: list[str | Path] = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-out",
        path,
        "-keyout",
        path.with_suffix(".key"),
    ]
    subprocess.run([*make.split(), *files], check=True, capture_output=True)
    return path


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    with contextlib.ExitStack() as stack:

        def start(*, controller: dict[str, Any] | None = None, **options: Any) -> Server:
            server = Server(port=free_port())
            if options.get("auth_required"):
                options["authenticator"] = server.authenticate
            server.controller = Controller(
                server, hostname="127.0.0.1", port=server.port, **(controller or {}), **options
            )
            server.controller.start()
            stack.callback(server.controller.stop)
            return server

        yield start


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def to(server: Server | int, **smtp: Any) -> Smtp:
    port = server if isinstance(server, int) else server.port
    given: dict[str, Any] = {"host": "127.0.0.1", "port": port, "sender": "ChatGenius <noreply@chat.example>"}
    return Smtp(**(given | {"starttls": False, "timeout": timedelta(seconds=5)} | smtp))


def context(smtp: Smtp, **options: Any) -> RecordingContext:
    settings = [
        Settings(smtp=smtp, allow_direct_addresses=True),
        DataSettings(directory=Path("/nonexistent")),
    ]
    return RecordingContext(settings=settings, **options)


def hi(message: str | Content = "Hi") -> Email:
    """A mail of its own: one with the key of another is not sent again."""
    return Email(to="ada@example.com", message=message, idempotency_key=uuid.uuid4().hex)


def test_a_mail_arrives_with_all_its_headers(start: Callable[..., Server]) -> None:
    server = start()
    with context(to(server), job_id="01HX") as ctx:
        result = send_email(hi(Content(subject="Grüße", text="Hällo\n.\nbye", html="<p>Hällo</p>")), ctx)

    mail = server.mails[0]
    assert isinstance(result, EmailResult)
    assert (result.outcome, result.transport, result.delivered) == ("sent", "smtp", True)
    assert result.accepted == ("ada@example.com",)
    assert server.envelopes == [("noreply@chat.example", ["ada@example.com"])]
    assert mail["Subject"] == "Grüße"
    assert mail["From"] == "ChatGenius <noreply@chat.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == result.message_id
    assert result.message_id.startswith("<01HX.")
    assert result.message_id.endswith("@chat.example>")
    assert mail["Date"].datetime.tzinfo is not None
    text, html = mail.iter_parts()
    assert text.get_content().splitlines() == ["Hällo", ".", "bye"]
    assert html.get_content().strip() == "<p>Hällo</p>"


def test_a_plain_message_gets_the_configured_subject(start: Callable[..., Server]) -> None:
    server = start()
    with context(to(server)) as ctx:
        send_email(hi(), ctx)

    assert server.mails[0]["Subject"] == "A message from ChatGenius"
    assert server.mails[0].get_content().strip() == "Hi"


def test_twenty_mails_go_over_one_connection(start: Callable[..., Server]) -> None:
    server = start()
    with context(to(server)) as ctx:
        results = [send_email(hi(), ctx) for _ in range(20)]

    assert len(server.mails) == 20
    assert len(set(server.peers)) == 1
    assert [result.connection_reused for result in results] == [False] + [True] * 19


def test_a_connection_is_given_up_after_a_hundred_mails(start: Callable[..., Server]) -> None:
    server = start()
    with SmtpPool(to(server)) as pool:
        for _ in range(101):
            pool.send("a@b.example", "c@d.example", b"Subject: x\r\n\r\nx\r\n")

    assert server.peers.count(server.peers[0]) == 100
    assert len(set(server.peers)) == 2


def test_a_connection_is_given_up_after_a_minute_without_a_mail(start: Callable[..., Server]) -> None:
    server, now = start(), [0.0]
    with SmtpPool(to(server), clock=lambda: now[0]) as pool:
        reused = []
        for at in (0.0, 59.0, 119.0):
            now[0] = at
            reused.append(pool.send("a@b.example", "c@d.example", b"\r\nx\r\n").connection_reused)

    assert reused == [False, True, False]


def test_threads_never_share_a_connection(start: Callable[..., Server]) -> None:
    server = start()
    with context(to(server)) as ctx, ThreadPoolExecutor(4) as threads:
        ctx.use(SmtpPool, to(server))
        results = list(threads.map(lambda _: send_email(hi(), ctx), range(40)))

    assert len(server.mails) == len(results) == 40
    assert len(set(server.peers)) <= 4


def test_a_stale_connection_is_replaced_silently(start: Callable[..., Server]) -> None:
    server = start()
    with context(to(server)) as ctx:
        send_email(hi(), ctx)
        server.hang_up()

        result = send_email(hi(), ctx)

    assert len(server.mails) == 2
    assert not result.connection_reused


def test_a_connection_that_the_server_says_it_closes_is_replaced_silently(
    start: Callable[..., Server],
) -> None:
    server = start()
    with context(to(server)) as ctx:
        send_email(hi(), ctx)
        server.replies["MAIL"].append("421 4.4.2 idle for too long")

        result = send_email(hi(), ctx)

    assert len(server.mails) == 2
    assert not result.connection_reused


def test_a_greylisted_mail_is_retried_later_and_then_taken(start: Callable[..., Server]) -> None:
    server = start()
    server.replies["RCPT"].append("451 4.7.1 Greylisted")
    with context(to(server)) as ctx:
        with pytest.raises(Retry, match="RCPT TO: 451") as caught:
            send_email(hi(), ctx)
        result = send_email(hi(), ctx)

    assert caught.value.after == timedelta(minutes=5)
    assert result.connection_reused  # RSET made it usable again
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("command", "reply"),
    [("MAIL", "553 5.1.8 bad sender"), ("RCPT", "550 5.1.1 no such user"), ("DATA", "552 5.3.4 too large")],
)
def test_a_permanent_refusal_is_not_tried_again(
    start: Callable[..., Server], command: str, reply: str
) -> None:
    server = start()
    server.replies[command].append(reply)
    with context(to(server)) as ctx, pytest.raises(Discard, match=reply):
        send_email(hi(), ctx)

    assert server.mails == []


def test_a_busy_server_is_tried_again(start: Callable[..., Server]) -> None:
    server = start()
    server.replies["MAIL"].append("421 4.3.2 shutting down")
    with context(to(server)) as ctx, pytest.raises(Retry, match="MAIL FROM: 421"):
        send_email(hi(), ctx)


def test_a_mail_larger_than_the_server_takes_is_refused_before_it_is_sent(
    start: Callable[..., Server],
) -> None:
    server = start(data_size_limit=1_000)
    with context(to(server)) as ctx, pytest.raises(Discard, match="MAIL FROM: 552"):
        send_email(hi("x" * 2_000), ctx)


def test_a_connection_lost_after_the_text_is_an_unknown_outcome_and_retried_under_the_same_id(
    start: Callable[..., Server],
) -> None:
    server = start()
    server.replies["DATA"].append("hang up")
    with context(to(server), job_id="J1") as ctx, pytest.raises(Retry, match="outcome unknown"):
        send_email(hi(), ctx)
    with context(to(server), job_id="J1", attempt=2) as ctx:
        result = send_email(hi(), ctx)

    assert [mail["Message-ID"] for mail in server.mails] == [result.message_id] * 2
    assert result.attempts == 2


def test_a_server_that_does_not_answer_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        smtp = to(silent.getsockname()[1], timeout=timedelta(milliseconds=50))
        with context(smtp) as ctx, pytest.raises(Retry, match="connect"):
            send_email(hi(), ctx)


def test_a_refused_connection_is_tried_again() -> None:
    with context(to(free_port())) as ctx, pytest.raises(Retry, match="refused"):
        send_email(hi(), ctx)


def test_starttls_and_a_password_work(
    start: Callable[..., Server], tls: ssl.SSLContext, certificate: Path
) -> None:
    server = start(tls_context=tls, require_starttls=True, auth_required=True)
    smtp = to(server, starttls=True, ca_file=certificate, username="cg", password="right")
    with context(smtp) as ctx:
        results = [send_email(hi(), ctx) for _ in range(2)]

    assert [result.tls for result in results] == [True, True]
    assert len(set(server.peers)) == 1


def test_encryption_from_the_first_byte_works(
    start: Callable[..., Server], tls: ssl.SSLContext, certificate: Path
) -> None:
    server = start(controller={"ssl_context": tls})
    with context(to(server, tls=True, ca_file=certificate)) as ctx:
        assert send_email(hi(), ctx).tls


def test_a_wrong_password_is_final_and_a_busy_check_is_not(
    start: Callable[..., Server], tls: ssl.SSLContext, certificate: Path
) -> None:
    server = start(tls_context=tls, require_starttls=True, auth_required=True)
    smtp = to(server, starttls=True, ca_file=certificate, username="cg", password="wrong")
    busy = attrs.evolve(smtp, username="busy")

    with context(smtp) as ctx, pytest.raises(Discard, match="AUTH: 535"):
        send_email(hi(), ctx)
    with context(busy) as ctx, pytest.raises(Retry, match="AUTH: 454"):
        send_email(hi(), ctx)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    start: Callable[..., Server], tls: ssl.SSLContext
) -> None:
    server = start(tls_context=tls)
    with context(to(server, starttls=True)) as ctx, pytest.raises(Discard, match="certificate verify failed"):
        send_email(hi(), ctx)

    assert server.mails == []


def test_no_mail_goes_in_the_clear_when_starttls_is_configured(start: Callable[..., Server]) -> None:
    server = start()
    with context(to(server, starttls=True)) as ctx, pytest.raises(Discard, match="STARTTLS"):
        send_email(hi(), ctx)

    assert server.mails == []


def test_a_missing_certificate_file_is_named(tmp_path: Path) -> None:
    smtp = to(1, starttls=True, ca_file=tmp_path / "missing.pem")
    with context(smtp) as ctx, pytest.raises(Discard, match=r"missing\.pem"):
        send_email(hi(), ctx)

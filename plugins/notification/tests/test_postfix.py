"""`notification.email` against Debian's Postfix, with Dovecot's SASL, STARTTLS and greylisting."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from cgjobs import Discard, Retry
from cgjobs_notification import Content, Email, Settings
from cgjobs_notification.mail.handler import email
from cgjobs_notification.mail.settings import Smtp
from plugins.notification.tests.chat import Chat
from plugins.notification.tests.postfix import MailServer, mail_server


@pytest.fixture(scope="module")
def postfix() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


def over(server: MailServer, **options: Any) -> Settings:
    given = {"host": "127.0.0.1", "port": server.port, "ca_file": server.ca_file}
    given |= {"sender": "ChatGenius <noreply@chat.example>", "username": "chat", "password": "right"}
    return Settings(smtp=Smtp(**(given | options)), allow_direct_addresses=True)


def to(address: str, **options: Any) -> Email:
    return Email(to=address, message="Grüße", **options)


def test_mails_are_taken_over_one_encrypted_connection_with_a_login(postfix: MailServer, chat: Chat) -> None:
    with chat.context(over(postfix), job_id="P1") as ctx:
        results = [email(to(f"p{number}@example.com"), ctx) for number in range(5)]

    assert {(result.outcome, result.tls, result.delivered) for result in results} == {("sent", True, True)}
    assert [result.connection_reused for result in results] == [False] + [True] * 4
    assert [postfix.sent(result.message_id) for result in results] == [1] * 5


def test_a_greylisted_mail_is_retried_later_and_then_taken(postfix: MailServer, chat: Chat) -> None:
    with chat.context(over(postfix), job_id="P2") as ctx:
        with pytest.raises(Retry, match=r"RCPT TO: 451 4\.7\.1") as caught:
            email(to("grey@example.com"), ctx)
        result = email(to("grey@example.com"), ctx)

    assert caught.value.after == timedelta(minutes=5)
    assert postfix.greylisted == ["grey@example.com"]
    assert postfix.sent(result.message_id) == 1


def test_an_address_that_does_not_exist_fails_at_once_and_is_not_written_to_again(
    postfix: MailServer, chat: Chat
) -> None:
    chat.add("users", {"id": "nobody", "email": "nobody@example.com"})
    payload = Email(user_id="nobody", message="Hi")
    with (
        chat.context(over(postfix), job_id="P3") as ctx,
        pytest.raises(Discard, match=r"RCPT TO: 550 5\.1\.1"),
    ):
        email(payload, ctx)
    with chat.context(over(postfix), job_id="P4") as ctx:
        result = email(payload, ctx)

    assert (result.outcome, result.skipped_reason) == ("skipped", "bounced")


def test_a_wrong_password_is_final(postfix: MailServer, chat: Chat) -> None:
    with chat.context(over(postfix, password="wrong")) as ctx, pytest.raises(Discard, match="AUTH: 535"):
        email(to("a@example.com"), ctx)


def test_postfix_takes_no_mail_in_the_clear_or_without_a_login(postfix: MailServer, chat: Chat) -> None:
    clear = {"starttls": False, "username": None, "password": None}
    with chat.context(over(postfix, **clear)) as ctx, pytest.raises(Discard, match="MAIL FROM: 530"):
        email(to("a@example.com"), ctx)
    anonymous = {"username": None, "password": None}
    with chat.context(over(postfix, **anonymous)) as ctx, pytest.raises(Discard, match="RCPT TO: 554"):
        email(to("a@example.com"), ctx)


def test_a_mail_that_is_too_large_is_refused_before_it_is_sent(postfix: MailServer, chat: Chat) -> None:
    large = Email(to="a@example.com", message=Content(subject="x", text="some words\n" * 40_000))

    with chat.context(over(postfix)) as ctx, pytest.raises(Discard, match="MAIL FROM: 552"):
        email(large, ctx)

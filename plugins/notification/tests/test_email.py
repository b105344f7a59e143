"""`notification.email` without a server: recipients, refusals, the outbox, the settings."""

import mailbox
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from cgjobs import Discard, Retry
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_notification import Content, Email, EmailResult, Settings
from cgjobs_notification.mail.compose import compose
from cgjobs_notification.mail.handler import email
from cgjobs_notification.mail.settings import Smtp
from plugins.notification.tests.chat import Chat


def settings(tmp_path: Path, **options: Any) -> Settings:
    return Settings(**({"outbox": tmp_path / "state" / "outbox"} | options))


def direct(tmp_path: Path, **options: Any) -> RecordingContext:
    """The context of a job that names an address and needs no database."""
    allowed = settings(tmp_path, allow_direct_addresses=True, **options)
    return RecordingContext(job_id="J1", settings=[allowed, DataSettings(directory=tmp_path)])


def outbox(tmp_path: Path) -> mailbox.Maildir:
    return mailbox.Maildir(tmp_path / "state" / "outbox")


def run(payload: Email, ctx: RecordingContext) -> EmailResult:
    with ctx:
        return email(payload, ctx)


def test_without_a_server_a_mail_is_kept_in_the_outbox_and_not_called_delivered(
    tmp_path: Path, chat: Chat
) -> None:
    result = run(Email(user_id="ada", message="Hi"), chat.context(settings(tmp_path)))

    (mail,) = outbox(tmp_path)
    assert (result.outcome, result.transport, result.delivered) == ("sent", "outbox", False)
    assert mail["To"] == "ada@example.com"
    assert mail["Message-ID"] == result.message_id


def test_nothing_goes_to_the_outbox_once_a_server_is_configured(tmp_path: Path) -> None:
    smtp = Smtp(host="127.0.0.1", port=1, sender="a@b.example", starttls=False)

    with direct(tmp_path, smtp=smtp) as ctx, pytest.raises(Retry):
        email(Email(to="a@b.example", message="Hi"), ctx)

    assert not (tmp_path / "state" / "outbox").exists()


def test_a_soft_deleted_user_gets_no_mail(tmp_path: Path, chat: Chat) -> None:
    chat.run("UPDATE users SET deleted_at = '2026-01-01 00:00:00'")

    result = run(Email(user_id="ada", message="Hi"), chat.context(settings(tmp_path)))

    assert (result.outcome, result.skipped_reason) == ("skipped", "user_deleted")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [(None, "has no address"), ("ada@example.com\r\nBcc: everyone@example.com", "line break")],
)
def test_a_user_who_cannot_be_written_to_is_discarded(
    tmp_path: Path, chat: Chat, address: str | None, reason: str
) -> None:
    chat.add("users", {"id": "bob", "email": address})

    with pytest.raises(Discard, match=reason):
        run(Email(user_id="bob", message="Hi"), chat.context(settings(tmp_path)))


def test_two_jobs_with_one_key_send_one_mail(tmp_path: Path, chat: Chat) -> None:
    payload = Email(user_id="ada", message="Hi", idempotency_key="welcome-ada")

    results = [run(payload, chat.context(settings(tmp_path), job_id=job)) for job in ("J1", "J2")]

    assert [result.outcome for result in results] == ["sent", "sent"]
    assert len(outbox(tmp_path)) == 1


def test_without_companion_tables_a_job_that_runs_again_sends_one_mail(
    tmp_path: Path, bare_chat: Chat
) -> None:
    payload, ctx = Email(user_id="ada", message="Hi"), bare_chat.context(settings(tmp_path))

    results = [run(payload, ctx), run(payload, bare_chat.context(settings(tmp_path), marks=ctx.marks))]

    assert [result.outcome for result in results] == ["sent", "sent"]
    assert len(outbox(tmp_path)) == 1


def test_an_address_that_bounced_gets_no_mail(tmp_path: Path, chat: Chat) -> None:
    chat.add("contacts", {"user_id": "ada", "email_bounced_at": "2026-11-01T00:00:00.000Z"})

    result = run(Email(user_id="ada", message="Hi"), chat.context(settings(tmp_path)))

    assert (result.outcome, result.skipped_reason) == ("skipped", "bounced")


@pytest.mark.parametrize(
    ("category", "reason"),
    [("marketing", "opted_out"), ("transactional", "opted_out"), ("security", "")],
)
def test_who_has_unsubscribed_gets_what_is_about_the_account_alone(
    tmp_path: Path, chat: Chat, category: Any, reason: str
) -> None:
    chat.opt_out("email", "*")

    result = run(Email(user_id="ada", message="Hi", category=category), chat.context(settings(tmp_path)))

    assert result.skipped_reason == reason


def test_a_user_id_needs_a_database(tmp_path: Path) -> None:
    with pytest.raises(Discard, match="database"):
        run(Email(user_id="ada", message="Hi"), direct(tmp_path))


def test_a_direct_address_is_refused_unless_allowed(tmp_path: Path, chat: Chat) -> None:
    payload = Email(to="ada@example.com", message="Hi")

    with pytest.raises(Discard, match="allow_direct_addresses"):
        run(payload, chat.context(settings(tmp_path)))

    assert run(payload, direct(tmp_path)).accepted == ("ada@example.com",)


def test_an_expired_mail_is_skipped(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    late = Email(to="a@b.example", message="Hi", expires_at=now - timedelta(seconds=1))
    early = Email(to="a@b.example", message="Hi", expires_at=now + timedelta(hours=1))

    assert run(late, direct(tmp_path)).skipped_reason == "expired"
    assert run(early, direct(tmp_path)).outcome == "sent"


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\f", "\u2028"])
def test_a_line_break_in_a_header_is_refused_before_anything_is_enqueued(character: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        Content(subject=f"Hi{character}Bcc: everyone@example.com", text="x")
    with pytest.raises(ValueError, match="one line"):
        Email(to=f"a@b.example{character}", message="")


@pytest.mark.parametrize("arguments", [{}, {"user_id": "a", "to": "a@b.example"}])
def test_a_mail_goes_either_to_a_user_or_to_an_address(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either user_id or to"):
        Email(message="Hi", **arguments)


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        Email(user_id="a", message="Hi", expires_at=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    "address",
    ["", "ada", "ada@", "@example.com", "a b@example.com", "a@b.example, c@d.example", "<a@b.example>"],
)
def test_what_is_no_address_is_discarded(tmp_path: Path, address: str) -> None:
    with pytest.raises(Discard, match="no address"):
        run(Email(to=address, message="Hi"), direct(tmp_path))


def test_a_domain_with_umlauts_is_written_in_ascii(tmp_path: Path) -> None:
    result = run(Email(to="a@bücher.example", message="Hi"), direct(tmp_path))

    assert result.accepted == ("a@xn--bcher-kva.example",)


def test_the_message_id_tells_jobs_and_recipients_apart() -> None:
    def message_id(job_id: str, recipient: str) -> str:
        content = Content(subject="s", text="t")
        return compose(
            content, sender="a@b.example", recipient=recipient, job_id=job_id, now=datetime.now(UTC)
        ).message_id

    assert message_id("J1", "a@b.example") == message_id("J1", "A@b.example")
    assert len({message_id(job, to) for job in ("J1", "J2") for to in ("a@b.example", "c@b.example")}) == 4


@profile(deadline=None)
@given(
    subject=st.text().map(lambda text: "x" + " ".join(text.replace("\0", "").splitlines())),
    text=st.text(min_size=1),
)
def test_no_text_makes_a_header_of_its_own(subject: str, text: str) -> None:
    mail = compose(
        Content(subject=subject, text=text),
        sender="a@b.example",
        recipient="c@d.example",
        job_id="J1",
        now=datetime.now(UTC),
    )

    head, _, _ = mail.content.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))]
    assert names == [
        *(b"Message-ID", b"Date", b"From", b"To", b"Subject", b"Auto-Submitted"),
        *(b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version"),
    ]
    assert mail.content.isascii()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"username": "u", "password": "p", "starttls": False}, "not sent in the clear"),
        ({"username": "u"}, "username and password"),
        ({"sender": "nobody"}, "sender is"),
        ({"sender": "a@b.example\r\nBcc: x@y.example"}, "sender is"),
        ({"timeout": timedelta(0)}, "above zero"),
        ({"port": 0}, "port"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Smtp(**({"host": "mail.example.com", "sender": "a@b.example"} | settings))


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(
        Smtp(host="mail.example.com", sender="a@b.example", username="u", password="hunter2")
    )

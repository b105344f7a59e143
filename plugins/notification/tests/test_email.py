"""`notification.email` without a server: recipients, refusals, the outbox, the settings."""

import mailbox
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cgjobs_notification.compose import compose
from cgjobs_notification.handlers import email
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from cgjobs import Discard, Retry
from cgjobs.testing import RecordingContext
from cgjobs_notification import Content, Email, EmailResult, Settings
from cgjobs_notification.settings import Smtp, Users


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "chat.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT, deleted_at TEXT)")
        rows = [
            ("ada", "ada@example.com", None),
            ("gone", "gone@example.com", "2026-01-01T00:00:00Z"),
            ("none", None, None),
            ("evil", "ada@example.com\r\nBcc: everyone@example.com", None),
        ]
        db.executemany("INSERT INTO users VALUES (?, ?, ?)", rows)
    db.close()
    return path


def context(tmp_path: Path, *, users: Users | None = None, direct: bool = False) -> RecordingContext:
    settings = Settings(users=users, outbox=tmp_path / "state" / "outbox", allow_direct_addresses=direct)
    return RecordingContext(job_id="J1", settings=[settings])


def outbox(tmp_path: Path) -> mailbox.Maildir:
    return mailbox.Maildir(tmp_path / "state" / "outbox")


def run(payload: Email, ctx: RecordingContext) -> EmailResult:
    with ctx:
        return email(payload, ctx)


def test_without_a_server_a_mail_is_kept_in_the_outbox_and_not_called_delivered(
    tmp_path: Path, database: Path
) -> None:
    result = run(Email(user_id="ada", message="Hi"), context(tmp_path, users=Users(database=database)))

    (mail,) = outbox(tmp_path)
    assert (result.outcome, result.transport, result.delivered) == ("sent", "outbox", False)
    assert mail["To"] == "ada@example.com"
    assert mail["Message-ID"] == result.message_id


def test_nothing_goes_to_the_outbox_once_a_server_is_configured(tmp_path: Path) -> None:
    smtp = Smtp(host="127.0.0.1", port=1, sender="a@b.example", starttls=False)
    settings = Settings(smtp=smtp, outbox=tmp_path / "outbox", allow_direct_addresses=True)

    with RecordingContext(settings=[settings]) as ctx, pytest.raises(Retry):
        email(Email(to="a@b.example", message="Hi"), ctx)

    assert not (tmp_path / "outbox").exists()


def test_a_soft_deleted_user_gets_no_mail(tmp_path: Path, database: Path) -> None:
    result = run(Email(user_id="gone", message="Hi"), context(tmp_path, users=Users(database=database)))

    assert (result.outcome, result.skipped_reason) == ("skipped", "user_deleted")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("user", "reason"),
    [("nobody", "no user 'nobody'"), ("none", "has no address"), ("evil", "line break")],
)
def test_a_user_who_cannot_be_written_to_is_discarded(
    tmp_path: Path, database: Path, user: str, reason: str
) -> None:
    with pytest.raises(Discard, match=reason):
        run(Email(user_id=user, message="Hi"), context(tmp_path, users=Users(database=database)))


@pytest.mark.parametrize(
    ("users", "reason"),
    [
        ({"table": "people"}, "no such table"),
        ({"email": "mail"}, "no such column"),
        ({"deleted_at": "x"}, "u.x"),
    ],
)
def test_a_wrong_table_or_column_is_named(
    tmp_path: Path, database: Path, users: dict[str, str], reason: str
) -> None:
    with pytest.raises(Discard, match=reason):
        run(Email(user_id="ada", message="Hi"), context(tmp_path, users=Users(database=database, **users)))


def test_a_users_table_without_soft_deletion_is_fine(tmp_path: Path, database: Path) -> None:
    users = Users(database=database, deleted_at="")

    assert run(Email(user_id="gone", message="Hi"), context(tmp_path, users=users)).outcome == "sent"


def test_a_missing_database_is_named(tmp_path: Path) -> None:
    users = Users(database=tmp_path / "missing.db")

    with pytest.raises(Discard, match=r"missing\.db.*\[plugins\.notification\.users\]"):
        run(Email(user_id="ada", message="Hi"), context(tmp_path, users=users))


def test_a_busy_database_is_tried_again(tmp_path: Path, database: Path) -> None:
    db = sqlite3.connect(database, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")

    with pytest.raises(Retry, match="busy"):
        run(Email(user_id="ada", message="Hi"), context(tmp_path, users=Users(database=database)))

    db.close()


def test_a_user_id_needs_a_users_table(tmp_path: Path) -> None:
    with pytest.raises(Discard, match=r"\[plugins\.notification\.users\]"):
        run(Email(user_id="ada", message="Hi"), context(tmp_path))


def test_a_direct_address_is_refused_unless_allowed(tmp_path: Path) -> None:
    payload = Email(to="ada@example.com", message="Hi")

    with pytest.raises(Discard, match="allow_direct_addresses"):
        run(payload, context(tmp_path))

    assert run(payload, context(tmp_path, direct=True)).accepted == ("ada@example.com",)


def test_an_expired_mail_is_skipped(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    late = Email(to="a@b.example", message="Hi", expires_at=now - timedelta(seconds=1))
    early = Email(to="a@b.example", message="Hi", expires_at=now + timedelta(hours=1))

    assert run(late, context(tmp_path, direct=True)).skipped_reason == "expired"
    assert run(early, context(tmp_path, direct=True)).outcome == "sent"


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\f", "\u2028"])
def test_a_line_break_in_a_header_is_refused_before_anything_is_enqueued(character: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        Content(subject=f"Hi{character}Bcc: everyone@example.com", text="")
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
        run(Email(to=address, message="Hi"), context(tmp_path, direct=True))


def test_a_domain_with_umlauts_is_written_in_ascii(tmp_path: Path) -> None:
    result = run(Email(to="a@bücher.example", message="Hi"), context(tmp_path, direct=True))

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
@given(subject=st.text().map(lambda text: " ".join(text.replace("\0", "").splitlines())), text=st.text())
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


def test_a_table_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="table is"):
        Users(database=Path("x"), table='users"; DROP TABLE users; --')


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(
        Smtp(host="mail.example.com", sender="a@b.example", username="u", password="hunter2")
    )

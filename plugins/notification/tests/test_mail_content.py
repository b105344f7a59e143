"""What a mail says: templates, files, and the link that unsubscribes."""

import email.policy
import mailbox
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Discard
from cgjobs_data import StoreSettings
from cgjobs_data.testing import S3Server
from cgjobs_notification import Attachment, Content, Email, Settings, Unsubscription, read_unsubscribe_token
from cgjobs_notification.mail.handler import email as send_email
from cgjobs_notification.mail.template import Templates
from cgjobs_notification.mail.unsubscribe import unsubscribe_token
from cgjobs_notification.settings import UnsubscribeSettings
from plugins.notification.tests.chat import Chat

SECRET = "sixteen characters"


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    directory = tmp_path / "templates"
    directory.mkdir()
    files = {
        "welcome.subject.txt": "Welcome,\n {{ name }}!\n",
        "welcome.txt": "Hello {{ name }}{% for row in rows %}\n{{ row.channel }}{% endfor %}",
        "welcome.html": "<style>p { color: red }</style><p>Hello {{ name }}</p>",
        "welcome.de.subject.txt": "Willkommen, {{ name }}!",
        "welcome.de.txt": "Hallo {{ name }}",
    }
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


def settings(tmp_path: Path, **options: Any) -> Settings:
    return Settings(outbox=tmp_path / "outbox", **options)


def sent(tmp_path: Path) -> EmailMessage:
    box = mailbox.Maildir(tmp_path / "outbox")
    (key,) = box.keys()
    return email.message_from_bytes(box.get_bytes(key), policy=email.policy.default)


# Templates


def test_a_template_is_filled_in_and_escaped_where_that_is_needed(templates: Path) -> None:
    made = Templates(templates).render(
        "welcome", None, {"name": "<b>Ada</b>", "rows": [{"channel": "general"}]}
    )

    assert made.subject == "Welcome, <b>Ada</b>!"
    assert made.text == "Hello <b>Ada</b>\ngeneral"
    assert '<p style="color: red;">Hello &lt;b&gt;Ada&lt;/b&gt;</p>' in (made.html or "")


@pytest.mark.parametrize(
    ("locale", "default", "subject"),
    [
        ("de-AT", "", "Willkommen, Ada!"),
        ("de_AT", "", "Willkommen, Ada!"),
        ("fr", "", "Welcome, Ada!"),
        ("fr", "de", "Willkommen, Ada!"),
        (None, "", "Welcome, Ada!"),
        ("../../etc/passwd", "", "Welcome, Ada!"),
    ],
)
def test_a_template_is_taken_in_the_users_language_when_there_is_one(
    templates: Path, locale: str | None, default: str, subject: str
) -> None:
    made = Templates(templates, default).render("welcome", locale, {"name": "Ada", "rows": []})

    assert made.subject == subject


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ missing }}", "missing"),
        ("{{ ''.__class__.__mro__ }}", "unsafe|SecurityError|not safe"),
        ("{{ name.__init__.__globals__ }}", "unsafe|SecurityError|not safe|no attribute"),
        ("{% for n in range(999999999) %}x{% endfor %}", "OverflowError"),
        ("{% include '../secret.txt' %}", "TemplateNotFound"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ 'x' * 2000000 }}", "2,000,000 characters"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_a_template_reaches_nothing_but_its_values(templates: Path, template: str, reason: str) -> None:
    (templates.parent / "secret.txt").write_text("secret")
    (templates / "welcome.txt").write_text(template)

    with pytest.raises(Discard, match=reason):
        Templates(templates).render("welcome", None, {"name": "Ada", "rows": []})


def test_a_template_is_no_source_of_templates(templates: Path) -> None:
    made = Templates(templates).render("welcome", None, {"name": "{{ 7 * 7 }}", "rows": []})

    assert made.text == "Hello {{ 7 * 7 }}"


def test_styles_are_not_fetched(templates: Path) -> None:
    (templates / "welcome.html").write_text(
        '<link rel="stylesheet" href="http://127.0.0.1:1/x.css"><link rel="stylesheet" href="file:///etc/passwd">'
        "<p>Hi</p>"
    )

    made = Templates(templates).render("welcome", None, {"name": "Ada", "rows": []})

    assert "root:" not in (made.html or "")
    assert "<p>Hi</p>" in (made.html or "")


def test_a_mail_is_made_of_a_template_in_the_language_of_the_user(
    templates: Path, chat: Chat, tmp_path: Path
) -> None:
    chat.add("contacts", {"user_id": "ada", "locale": "de-AT"})
    content = Content(template="welcome", data={"name": "Ada"}, rows={"rows": []})
    with chat.context(settings(tmp_path, templates=templates)) as ctx:
        send_email(Email(user_id="ada", message=content), ctx)

    assert sent(tmp_path)["Subject"] == "Willkommen, Ada!"


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("welcome", {}, "set templates"),
        ("goodbye", {"templates": True}, r"no template goodbye\.subject\.txt"),
    ],
)
def test_a_template_that_is_not_there_is_named(
    templates: Path, chat: Chat, tmp_path: Path, name: str, options: dict[str, Any], reason: str
) -> None:
    given = dict.fromkeys(options, templates)
    with chat.context(settings(tmp_path, **given)) as ctx, pytest.raises(Discard, match=reason):
        send_email(Email(user_id="ada", message=Content(template=name)), ctx)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "subject and text, or template"),
        ({"subject": "x"}, "subject and text, or template"),
        ({"subject": "x", "text": "y", "data": {"a": 1}}, "give template too"),
        ({"subject": "x", "text": "y", "template": "z"}, "not both"),
        ({"template": "../x"}, "no name for a template"),
        ({"template": "x", "data": {"a": 1}, "rows": {"a": []}}, "both have a"),
    ],
)
def test_what_says_nothing_or_two_things_is_refused_when_it_is_enqueued(fields: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Content(**fields)


# Files


def store(chat: Chat, where: StoreSettings) -> Chat:
    return attrs.evolve(chat, data=attrs.evolve(chat.data, stores={"reports": where}))


def with_file(path: str, **options: Any) -> Email:
    return Email(
        user_id="ada",
        message="See attachment",
        attachments=(Attachment(store="reports", path=path, **options),),
    )


@pytest.mark.parametrize("kind", ["directory", "bucket"])
def test_a_file_of_a_store_goes_with_the_mail(
    chat: Chat, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    where = StoreSettings(directory=tmp_path / "reports")
    if kind == "bucket":
        server: S3Server = request.getfixturevalue("s3")
        where = server.store()
        server.client().put_object(Bucket=where.bucket, Key="2026/october.pdf", Body=b"%PDF")
    else:
        (tmp_path / "reports" / "2026").mkdir(parents=True)
        (tmp_path / "reports" / "2026" / "october.pdf").write_bytes(b"%PDF")
    with store(chat, where).context(settings(tmp_path)) as ctx:
        send_email(with_file("2026/october.pdf"), ctx)

    (file,) = sent(tmp_path).iter_attachments()
    assert (file.get_filename(), file.get_content_type()) == ("october.pdf", "application/pdf")
    assert file.get_content() == b"%PDF"


def test_a_file_has_the_name_that_it_was_given(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a").write_bytes(b"x")
    with store(chat, StoreSettings(directory=tmp_path / "reports")).context(settings(tmp_path)) as ctx:
        send_email(with_file("a", name="Grüße.csv"), ctx)

    (file,) = sent(tmp_path).iter_attachments()
    assert (file.get_filename(), file.get_content_type()) == ("Grüße.csv", "text/csv")


def test_files_that_are_too_large_together_are_refused(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "large").write_bytes(b"x" * 5_000_001)
    both = Email(user_id="ada", message="x", attachments=(Attachment(store="reports", path="large"),) * 2)
    with (
        store(chat, StoreSettings(directory=tmp_path / "reports")).context(settings(tmp_path)) as ctx,
        pytest.raises(Discard, match="10,000,000 bytes"),
    ):
        send_email(both, ctx)


@pytest.mark.parametrize("path", ["", ".", "../x", "a/../../x", "/etc/passwd", "a//b", "a\0"])
def test_nothing_outside_of_a_store_can_be_attached(path: str) -> None:
    with pytest.raises(ValueError, match="no path within a store"):
        Attachment(store="reports", path=path)


def test_a_file_that_is_not_there_is_named(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    with (
        store(chat, StoreSettings(directory=tmp_path / "reports")).context(settings(tmp_path)) as ctx,
        pytest.raises(Discard, match=r"no 'missing\.pdf' in the store 'reports'"),
    ):
        send_email(with_file("missing.pdf"), ctx)

    assert not list(mailbox.Maildir(tmp_path / "outbox").keys())


def test_a_store_that_nobody_configured_is_named(chat: Chat, tmp_path: Path) -> None:
    with chat.context(settings(tmp_path)) as ctx, pytest.raises(Discard, match="'elsewhere'"):
        send_email(
            Email(user_id="ada", message="x", attachments=(Attachment(store="elsewhere", path="x"),)), ctx
        )


# Unsubscribing


def unsubscribing(tmp_path: Path) -> Settings:
    page = UnsubscribeSettings(url="https://chat.example/unsubscribe?from=mail", secret=SECRET)
    return settings(tmp_path, unsubscribe=page)


def test_a_mail_that_one_can_unsubscribe_from_says_how(chat: Chat, tmp_path: Path) -> None:
    with chat.context(unsubscribing(tmp_path)) as ctx:
        send_email(Email(user_id="ada", message="News", category="marketing"), ctx)

    mail = sent(tmp_path)
    link = mail["List-Unsubscribe"]
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link.startswith("<https://chat.example/unsubscribe?from=mail&token=")
    assert read_unsubscribe_token(link.partition("token=")[2].rstrip(">"), secret=SECRET) == Unsubscription(
        "ada", "marketing"
    )


@pytest.mark.parametrize("category", ["security", "transactional"])
def test_a_mail_about_the_account_has_no_link(chat: Chat, tmp_path: Path, category: Any) -> None:
    with chat.context(unsubscribing(tmp_path)) as ctx:
        send_email(Email(user_id="ada", message="Your password", category=category), ctx)

    assert sent(tmp_path)["List-Unsubscribe"] is None


@given(user=st.text(max_size=40), other=st.text(max_size=40))
def test_a_token_says_who_signed_it_and_about_whom(user: str, other: str) -> None:
    token = unsubscribe_token(user, "digest", secret=SECRET)

    assert read_unsubscribe_token(token, secret=SECRET) == Unsubscription(user, "digest")
    with pytest.raises(ValueError, match="not signed"):
        read_unsubscribe_token(token, secret=f"{SECRET}{other} ")


@pytest.mark.parametrize("token", ["", "x", "%%%", "AAAA" * 20, "ä", "a.b.c"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        read_unsubscribe_token(token, secret=SECRET)


def test_a_token_that_was_changed_is_refused() -> None:
    token = unsubscribe_token("ada", "digest", secret=SECRET)
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(ValueError, match="token"):
            read_unsubscribe_token(changed, secret=SECRET)


@pytest.mark.parametrize(
    ("fields", "reason"), [({"secret": "short"}, "secret"), ({"url": "http://chat.example/"}, "https")]
)
def test_a_link_needs_https_and_a_secret(fields: dict[str, str], reason: str) -> None:
    given = {"url": "https://chat.example/", "secret": SECRET} | fields

    with pytest.raises(ValueError, match=reason):
        UnsubscribeSettings(**given)

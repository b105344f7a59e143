"""What `cgjobs doctor` says of notifications."""

import importlib.util
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cgjobs import Finding
from cgjobs_data import Settings as DataSettings
from cgjobs_notification import Settings
from cgjobs_notification.checks import check
from cgjobs_notification.mail.settings import Smtp
from cgjobs_notification.push.settings import FcmSettings, NtfySettings, PushSettings, WebPushSettings
from cgjobs_notification.sms.settings import Smpp, SmsSettings
from plugins.notification.tests.chat import Chat
from plugins.notification.tests.loopback import Replies


def said(settings: Settings, data: DataSettings | None, patience: float = 60) -> list[Finding]:
    known: dict[Any, Any] = {Settings: settings} | ({DataSettings: data} if data else {})
    return list(check(lambda cls: known[cls], patience=patience))


def lines(settings: Settings, data: DataSettings | None, level: str) -> list[str]:
    return [f"{found.check}: {found.message}" for found in said(settings, data) if found.level == level]


def smtp(port: int) -> Smtp:
    return Smtp(host="127.0.0.1", port=port, sender="a@b.example", starttls=False)


def test_what_is_only_written_to_files_is_said(chat: Chat) -> None:
    warnings = lines(Settings(), chat.data, "warn")

    assert [line.partition(": messages")[0] for line in warnings] == [
        "notification.email: no transport",
        "notification.push: no transport",
        "notification.sms: no transport",
    ]
    assert lines(Settings(), chat.data, "bad") == []


def test_a_server_that_answers_is_fine_and_gets_nothing(chat: Chat, serve: Callable[[], Replies]) -> None:
    server = serve()
    port = int(server.url.rpartition(":")[2])
    settings = Settings(
        smtp=smtp(port),
        push=PushSettings(ntfy=NtfySettings(server=server.url)),
        sms=SmsSettings(
            smpp=Smpp(host="127.0.0.1", port=port, system_id="a", password="b"), countries=("GB",), sender="x"
        ),
    )

    assert {found.level for found in said(settings, chat.data)} == {"ok"}
    assert server.seen == []


def test_a_server_that_cannot_be_reached_is_named(chat: Chat) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        (line,) = lines(Settings(smtp=smtp(port)), chat.data, "bad")

    assert f"notification.email: 127.0.0.1:{port} cannot be reached" in line


def test_it_gives_up_on_a_server_that_does_not_answer(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def silent(*args: Any) -> Any:
        over.wait(60)
        raise OSError("late")

    monkeypatch.setattr(socket, "create_connection", silent)
    begun = time.monotonic()

    findings = said(Settings(smtp=smtp(1)), chat.data, patience=0.1)
    took = time.monotonic() - begun
    over.set()

    assert took < 30
    assert any("not answered within 0.1 s" in found.message for found in findings)


def test_a_missing_extra_is_named_with_its_cure(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "httpx2" else real(name))
    settings = Settings(push=PushSettings(ntfy=NtfySettings(server="http://127.0.0.1:1")))

    (found,) = [one for one in said(settings, chat.data) if "not installed" in one.message]

    assert (found.check, found.level) == ("notification.push", "bad")
    assert found.advice == "pip install 'chatgenius-jobs-notification[push]'"


def test_a_missing_file_is_named(chat: Chat, tmp_path: Path) -> None:
    account = FcmSettings(credentials=tmp_path / "account.json", endpoint="http://127.0.0.1:1")

    bad = lines(Settings(push=PushSettings(fcm=account)), chat.data, "bad")

    assert any("account.json" in line for line in bad)


def test_a_key_that_is_none_is_found_before_the_first_message(chat: Chat) -> None:
    browsers = WebPushSettings(private_key="c2VjcmV0", contact="mailto:a@b.example")

    (line,) = lines(Settings(push=PushSettings(webpush=browsers)), chat.data, "bad")

    assert "VAPID" in line
    assert "c2VjcmV0" not in line


def test_missing_companion_tables_are_named_with_what_is_lost(bare_chat: Chat) -> None:
    bad = lines(Settings(), bare_chat.data, "bad")
    warnings = lines(Settings(), bare_chat.data, "warn")

    assert bad == ["notification.push: the table cgj_push_subscriptions is missing: no device is known"]
    assert sum("is missing" in line for line in warnings) == 6


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    missing = DataSettings(url=f"sqlite:///{tmp_path / 'missing.db'}")

    assert any("cannot be looked up" in line for line in lines(Settings(), missing, "bad"))
    assert any("no database" in line for line in lines(Settings(), DataSettings(directory=tmp_path), "warn"))


def test_without_the_plugin_data_there_is_no_database() -> None:
    known: dict[Any, Any] = {Settings: Settings()}

    def settings(cls: type[Any]) -> Any:
        if cls not in known:
            raise LookupError(cls)
        return known[cls]

    assert any("no database" in found.message for found in check(settings))

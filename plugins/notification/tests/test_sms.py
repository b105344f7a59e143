"""`notification.sms`: one text message to one person, and never twice."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cgjobs import Discard, OutcomeUnknown, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_notification import Settings, Sms, SmsResult
from cgjobs_notification.sms.handler import sms
from cgjobs_notification.sms.rest import AnyGateway
from cgjobs_notification.sms.settings import HttpGateway, SmsSettings
from plugins.notification.tests.chat import Chat
from plugins.notification.tests.loopback import Replies

NUMBER = "+447400123456"


def over(server: Replies, **options: Any) -> Settings:
    gateway = HttpGateway(url=server.url, json={"to": "{to}", "text": "{text}", "from": "{sender}"})
    given: dict[str, Any] = {"http": gateway, "countries": ("GB",), "sender": "ChatGenius"}
    return Settings(sms=SmsSettings(**(given | options)), allow_direct_addresses=True)


def hi(**options: Any) -> Sms:
    return Sms(**({"user_id": "ada", "message": "Hi"} | options))


def test_a_message_goes_to_the_number_of_the_user(chat: Chat, serve: Callable[[], Replies]) -> None:
    server = serve()
    with chat.context(over(server, prices={"GB": 0.04}), job_id="J1") as ctx:
        result = sms(hi(message="ô" * 71), ctx)

    assert isinstance(result, SmsResult)
    assert (result.status, result.provider, result.delivered) == ("accepted", "http", True)
    assert (result.segments, result.encoding, result.price) == (2, "ucs2", 0.08)
    assert result.to == "+44******456"
    assert server.seen[0].json == {"to": NUMBER, "text": "ô" * 71, "from": "ChatGenius"}
    (row,) = chat.rows("SELECT key, channel, state FROM cgj_deliveries")
    assert row == {"key": "J1", "channel": "sms", "state": "sent"}


def test_the_number_is_nowhere_but_on_the_wire(chat: Chat, serve: Callable[[], Replies]) -> None:
    server = serve()
    server.replies.append((400, {}, {"error": f"{NUMBER} is no"}))
    with chat.context(over(server)) as ctx:
        with pytest.raises(Discard) as caught:
            sms(hi(), ctx)
        result = sms(hi(idempotency_key="2"), ctx)

    told = [str(caught.value), repr(result), repr(ctx.lines), repr(chat.rows("SELECT * FROM cgj_deliveries"))]
    assert "7400123" not in "".join(told)


def test_without_a_provider_the_message_is_kept_in_the_outbox_and_not_called_delivered(
    chat: Chat, tmp_path: Path
) -> None:
    with chat.context(Settings(sms=SmsSettings(outbox=tmp_path / "outbox"))) as ctx:
        result = sms(hi(), ctx)

    (file,) = (tmp_path / "outbox").iterdir()
    assert (result.provider, result.delivered, result.provider_id) == ("outbox", False, file.name)
    assert json.loads(file.read_text())["to"] == "+44******456"


def test_a_number_that_nobody_was_given_is_refused_once_a_provider_costs_money(
    chat: Chat, serve: Callable[[], Replies]
) -> None:
    chat.run("UPDATE users SET phone = '+447700900001'")  # of those that are set aside for films
    with chat.context() as ctx:
        assert sms(hi(), ctx).status == "accepted"
    with chat.context(over(serve())) as ctx, pytest.raises(Discard, match="nobody was given"):
        sms(hi(idempotency_key="2"), ctx)


@pytest.mark.parametrize("companions", [True, False])
def test_a_message_of_which_nobody_knows_whether_it_was_taken_is_not_sent_again(
    chat: Chat, serve: Callable[[], Replies], companions: bool
) -> None:
    if not companions:
        chat.run("DROP TABLE cgj_deliveries")
    server = serve()
    server.replies.append(None)
    with (
        chat.context(over(server), job_id="J1") as ctx,
        pytest.raises(OutcomeUnknown, match="may have taken"),
    ):
        sms(hi(), ctx)
    with (
        chat.context(over(server), job_id="J1", attempt=2, marks=ctx.marks) as ctx,
        pytest.raises(OutcomeUnknown, match="did not say"),
    ):
        sms(hi(), ctx)

    assert len(server.seen) == 1


@pytest.mark.parametrize("companions", [True, False])
def test_a_worker_that_dies_while_it_sends_leaves_an_unknown_outcome(
    chat: Chat, serve: Callable[[], Replies], companions: bool
) -> None:
    if not companions:
        chat.run("DROP TABLE cgj_deliveries")
    server, attempts = serve(), list[str]()

    class Dies:
        def send(self, text: object) -> None:
            attempts.append("first")
            raise SystemExit

    with chat.context(over(server), job_id="J1", uses={AnyGateway: Dies()}) as ctx, pytest.raises(SystemExit):
        sms(hi(), ctx)
    with chat.context(over(server), job_id="J1", marks=ctx.marks) as ctx, pytest.raises(OutcomeUnknown):
        sms(hi(), ctx)

    assert attempts == ["first"]
    assert server.seen == []


@pytest.mark.parametrize("companions", [True, False])
def test_a_busy_provider_is_tried_again_and_then_takes_it(
    chat: Chat, serve: Callable[[], Replies], companions: bool
) -> None:
    if not companions:
        chat.run("DROP TABLE cgj_deliveries")
    server = serve()
    server.replies.append((429, {"Retry-After": "30"}, {}))
    with chat.context(over(server), job_id="J1") as ctx, pytest.raises(Retry) as caught:
        sms(hi(), ctx)
    with chat.context(over(server), job_id="J1", attempt=2, marks=ctx.marks) as ctx:
        result = sms(hi(), ctx)
    with chat.context(over(server), job_id="J1", attempt=3, marks=ctx.marks) as ctx:
        again = sms(hi(), ctx)

    assert caught.value.after == timedelta(seconds=30)
    assert (result.status, result.attempts) == ("accepted", 2)
    assert (again.status, again.segments) == ("accepted", 1)
    assert len(server.seen) == 2


@pytest.mark.parametrize("companions", [True, False])
def test_one_number_gets_no_more_than_so_many_messages_in_an_hour(
    chat: Chat, serve: Callable[[], Replies], companions: bool
) -> None:
    if not companions:
        chat.run("DROP TABLE cgj_deliveries")
    server = serve()
    with chat.context(over(server, per_user=2)) as ctx:
        results = [sms(hi(idempotency_key=str(number)), ctx) for number in range(3)]
        other = sms(hi(user_id=None, to="+447400654321", idempotency_key="9"), ctx)

    assert [result.skipped_reason for result in results] == ["", "", "user_cap"]
    assert other.status == "accepted"
    assert len(server.seen) == 3


@pytest.mark.parametrize("companions", [True, False])
def test_all_together_get_no_more_than_so_many_messages_in_an_hour(
    chat: Chat, serve: Callable[[], Replies], companions: bool
) -> None:
    if not companions:
        chat.run("DROP TABLE cgj_deliveries")
    server = serve()
    with chat.context(over(server, per_hour=2)) as ctx:
        for number in range(2):
            sms(hi(user_id=None, to=f"+44740012345{number}", idempotency_key=str(number)), ctx)
        with pytest.raises(Snooze, match="per_hour is 2"):
            sms(hi(idempotency_key="9"), ctx)

    assert len(server.seen) == 2
    assert [line.event for line in ctx.lines if line.level == "error"] == ["sms_cap_reached"]


@pytest.mark.parametrize(
    ("settings", "fields", "reason"),
    [
        ({"max_segments": 1}, {"message": "x" * 161}, "2 parts"),
        ({"countries": ("DE",)}, {}, "GB, which is none of countries"),
        ({}, {"sender": "Bank"}, "none of senders"),
        ({"prices": {"*": 0.05}}, {"max_price": 0.09, "message": "x" * 161}, "2 parts cost 0.1"),
        ({}, {"max_price": 0.09}, "neither GB nor"),
        ({"require_verified": True}, {}, "verified"),
    ],
)
def test_what_must_not_be_sent_is_refused_before_anything_is(
    chat: Chat, serve: Callable[[], Replies], settings: dict[str, Any], fields: dict[str, Any], reason: str
) -> None:
    server = serve()
    with chat.context(over(server, **settings)) as ctx, pytest.raises(Discard, match=reason):
        sms(hi(**fields), ctx)

    assert server.seen == []
    assert chat.rows("SELECT * FROM cgj_deliveries") == []


def test_a_sender_of_the_list_and_a_verified_number_will_do(chat: Chat, serve: Callable[[], Replies]) -> None:
    server = serve()
    chat.add("contacts", {"user_id": "ada", "phone": NUMBER, "phone_verified_at": "2026-11-01T00:00:00.000Z"})
    with chat.context(over(server, senders=("Chat",), require_verified=True)) as ctx:
        sms(hi(sender="Chat"), ctx)

    assert server.seen[0].json["from"] == "Chat"


def test_a_user_without_a_number_is_named(chat: Chat) -> None:
    chat.run("UPDATE users SET phone = NULL")
    with chat.context() as ctx, pytest.raises(Discard, match="no telephone number"):
        sms(hi(), ctx)


def test_what_need_not_be_sent_is_skipped(chat: Chat) -> None:
    late = datetime.now(UTC) - timedelta(seconds=1)
    with chat.context() as ctx:
        assert sms(hi(expires_at=late), ctx).skipped_reason == "expired"
        chat.add(
            "opt_outs", {"user_id": "ada", "channel": "sms", "category": "*", "at": "x", "source": "STOP"}
        )
        assert sms(hi(category="security"), ctx).skipped_reason == "opted_out"


def test_a_number_without_a_user_needs_no_database(tmp_path: Path) -> None:
    settings = Settings(sms=SmsSettings(outbox=tmp_path / "outbox"), allow_direct_addresses=True)
    with RecordingContext(settings=[settings, DataSettings(directory=tmp_path)]) as ctx:
        assert sms(Sms(to=NUMBER, message="Hi"), ctx).status == "accepted"


def test_a_number_is_refused_unless_direct_addresses_are_allowed(chat: Chat) -> None:
    with chat.context() as ctx, pytest.raises(Discard, match="allow_direct_addresses"):
        sms(Sms(to=NUMBER, message="Hi"), ctx)

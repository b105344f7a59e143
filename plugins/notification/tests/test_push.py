"""`notification.push`: one message to all devices of a user, and what is tried again."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from cgjobs import Discard, JobCancelled, Retry
from cgjobs_notification import Note, Push, PushResult, Settings
from cgjobs_notification.push.handler import push
from cgjobs_notification.push.settings import NtfySettings, PushSettings, WebPushSettings
from plugins.notification.tests.chat import Chat
from plugins.notification.tests.loopback import Replies, Seen

HI = Push(user_id="ada", message="Hi")


def subscribe(chat: Chat, *topics: str, kind: str = "ntfy") -> None:
    for number, topic in enumerate(topics):
        row = {"id": f"D-{topic}", "user_id": "ada", "kind": kind, "address": topic}
        chat.add("push_subscriptions", row | {"created_at": f"2026-11-01T00:00:{number:02}.000Z"})


@attrs.define
class Topics:
    """A server of ntfy that replies by topic: a list of statuses, the last one for ever."""

    server: Replies
    statuses: dict[str, list[int]] = attrs.field(factory=dict)

    def answer(self, seen: Seen) -> tuple[int, dict[str, str], Any]:
        statuses = self.statuses.get(seen.json["topic"], [200])
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        return status, {"Retry-After": "60"} if status == 429 else {}, {"id": f"m-{seen.json['topic']}"}

    @property
    def seen(self) -> list[str]:
        return [seen.json["topic"] for seen in self.server.seen]


@pytest.fixture
def topics(serve: Callable[[], Replies]) -> Topics:
    made = Topics(serve())
    made.server.answer = made.answer
    return made


def settings(topics: Topics, **options: Any) -> Settings:
    return Settings(push=PushSettings(ntfy=NtfySettings(server=topics.server.url), **options))


def test_each_device_gets_the_message(chat: Chat, topics: Topics) -> None:
    subscribe(chat, "a", "b")
    with chat.context(settings(topics, title="Chat")) as ctx:
        result = push(HI, ctx)

    assert isinstance(result, PushResult)
    assert (result.outcome, result.sent, result.gone, result.failed, result.delivered) == (
        "sent",
        2,
        0,
        0,
        True,
    )
    assert [(item.id, item.outcome, item.provider_id) for item in result.devices] == [
        ("D-a", "sent", "m-a"),
        ("D-b", "sent", "m-b"),
    ]
    assert topics.server.seen[0].json["title"] == "Chat"
    states = chat.rows("SELECT destination, state FROM cgj_deliveries ORDER BY destination")
    assert [tuple(row.values()) for row in states] == [("D-a", "sent"), ("D-b", "sent")]


@pytest.mark.parametrize("companions", [True, False])
def test_only_the_devices_that_failed_are_tried_again(chat: Chat, topics: Topics, companions: bool) -> None:
    subscribe(chat, "a", "b", "c")
    if not companions:
        chat.run("DROP TABLE cgj_deliveries")
    topics.statuses = {"b": [429, 200], "c": [400]}
    with chat.context(settings(topics), job_id="J1") as ctx:
        with pytest.raises(Retry, match="1 devices to be tried again, 2 devices are done") as caught:
            push(HI, ctx)
        marks, checkpoint = ctx.marks, ctx.checkpoints[-1]
    with chat.context(settings(topics), job_id="J1", attempt=2, marks=marks, checkpoint=checkpoint) as ctx:
        result = push(HI, ctx)

    assert caught.value.after == timedelta(minutes=1)
    assert topics.seen == ["a", "b", "c", "b"]
    if companions:
        states = chat.rows("SELECT state FROM cgj_deliveries ORDER BY destination")
        assert [row["state"] for row in states] == ["sent", "sent", "failed"]
    assert [(item.id, item.outcome, item.status) for item in result.devices] == [
        ("D-a", "sent", 200),
        ("D-b", "sent", 200),
        ("D-c", "failed", 400),
    ]
    assert result.attempts == 2


@pytest.mark.parametrize("companions", [True, False])
def test_a_worker_that_was_killed_before_it_said_what_it_sent_sends_nothing_twice(
    chat: Chat, topics: Topics, companions: bool
) -> None:
    subscribe(chat, "a", "b")
    if not companions:
        chat.run("DROP TABLE cgj_deliveries")
    topics.statuses = {"b": [503, 200]}
    with chat.context(settings(topics), job_id="J1") as ctx, pytest.raises(Retry):
        push(HI, ctx)
    with chat.context(settings(topics), job_id="J1", attempt=2, marks=ctx.marks) as ctx:  # no checkpoint
        result = push(HI, ctx)

    assert topics.seen == ["a", "b", "b"]
    assert result.sent == 2
    assert result.devices[0].reason == "in an earlier attempt"


def test_two_jobs_with_one_key_send_once(chat: Chat, topics: Topics) -> None:
    subscribe(chat, "a")
    payload = attrs.evolve(HI, idempotency_key="welcome-ada")
    for job in ("J1", "J2"):
        with chat.context(settings(topics), job_id=job) as ctx:
            assert push(payload, ctx).sent == 1

    assert topics.seen == ["a"]


def browser(chat: Chat, url: str) -> None:
    """A subscription with keys that are none matters not: the service is asked first."""
    keys = {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    }
    row = {"id": "B1", "user_id": "ada", "kind": "webpush", "address": url, "created_at": "2026-12-01"}
    chat.add("push_subscriptions", row | keys)


def with_browsers(topics: Topics, **options: Any) -> Settings:
    key = "kdhIDBLrOVFxz1lYaW2mBTMx1R1fLH5dF2dQKxUiPTY"
    given = {"private_key": key, "contact": "mailto:ops@example.com", "insecure_endpoints": True} | options
    ntfy = NtfySettings(server=topics.server.url)
    return Settings(push=PushSettings(ntfy=ntfy, webpush=WebPushSettings(**given)))


def test_a_browser_that_has_unsubscribed_is_disabled_and_the_rest_is_sent(
    chat: Chat, topics: Topics, serve: Callable[[], Replies]
) -> None:
    server = serve()
    server.replies.append((410, {}, b"gone"))
    subscribe(chat, "a")
    browser(chat, f"{server.url}/1")
    with chat.context(with_browsers(topics)) as ctx:
        first, second = push(HI, ctx), push(attrs.evolve(HI, idempotency_key="2"), ctx)

    assert (first.outcome, first.sent, first.gone) == ("sent", 1, 1)
    assert [item.id for item in second.devices] in (["D-a"], ["D-a", "B1"])
    (row,) = chat.rows("SELECT disabled_reason FROM cgj_push_subscriptions WHERE disabled_at IS NOT NULL")
    assert row["disabled_reason"] == "gone"
    assert len(server.seen) == 1


def test_wrong_credentials_fail_the_job_disable_nothing_and_the_other_services_get_the_message(
    chat: Chat, topics: Topics, serve: Callable[[], Replies]
) -> None:
    server = serve()
    server.answer = lambda seen: (403, {}, b"bad key")
    browser(chat, f"{server.url}/1")
    subscribe(chat, "a")
    with (
        chat.context(with_browsers(topics)) as ctx,
        pytest.raises(Discard, match=r"bad key.*no device was disabled"),
    ):
        push(HI, ctx)

    assert topics.seen == ["a"]
    assert chat.rows("SELECT id FROM cgj_push_subscriptions WHERE disabled_at IS NOT NULL") == []
    assert [line.event for line in ctx.lines if line.level == "error"] == ["push_credentials_refused"]


def test_a_key_that_is_none_is_no_fault_of_a_device(chat: Chat, topics: Topics) -> None:
    browser(chat, "https://fcm.googleapis.com/1")
    subscribe(chat, "a")
    ctx = chat.context(with_browsers(topics, private_key="c2VjcmV0"))
    with ctx, pytest.raises(Discard, match=r"VAPID.*no device was disabled"):
        push(HI, ctx)

    assert topics.seen == ["a"]
    assert chat.rows("SELECT id FROM cgj_push_subscriptions WHERE disabled_at IS NOT NULL") == []
    assert [row["state"] for row in chat.rows("SELECT state FROM cgj_deliveries")] == ["sent"]


def test_a_job_that_is_cancelled_ends_between_two_devices(chat: Chat, topics: Topics) -> None:
    subscribe(chat, "a", "b", "c")
    with chat.context(settings(topics), cancel_after=2) as ctx, pytest.raises(JobCancelled):
        push(HI, ctx)

    assert topics.seen == ["a"]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1/", "https://169.254.169.254/latest/meta-data/"])
def test_an_endpoint_inside_gets_nothing_and_is_not_tried_again(
    chat: Chat, topics: Topics, endpoint: str
) -> None:
    browser(chat, endpoint)
    with chat.context(with_browsers(topics, insecure_endpoints=False)) as ctx:
        result = push(HI, ctx)

    assert (result.outcome, result.failed) == ("failed", 1)
    assert "https" in result.devices[0].reason or "allowed_hosts" in result.devices[0].reason


def test_only_the_kinds_that_were_asked_for_get_it(chat: Chat, topics: Topics) -> None:
    subscribe(chat, "a")
    with chat.context(settings(topics)) as ctx:
        result = push(attrs.evolve(HI, kinds=("fcm",)), ctx)

    assert (result.outcome, result.skipped_reason) == ("skipped", "no_devices")


def test_a_device_whose_service_is_not_configured_is_named(chat: Chat, topics: Topics) -> None:
    subscribe(chat, "token", kind="fcm")
    with chat.context(settings(topics)) as ctx:
        result = push(HI, ctx)

    assert result.devices[0].reason == "there is no [plugins.notification.push.fcm]"


def test_without_any_service_the_message_is_kept_in_the_outbox_and_not_called_delivered(
    chat: Chat, tmp_path: Path
) -> None:
    subscribe(chat, "token", kind="fcm")
    note = Note(title="Ada", data={"channel": "1"})
    with chat.context(Settings(push=PushSettings(outbox=tmp_path / "outbox"))) as ctx:
        result = push(attrs.evolve(HI, message=note), ctx)

    (file,) = (tmp_path / "outbox").iterdir()
    content = json.loads(file.read_text())
    assert (result.outcome, result.sent, result.delivered) == ("sent", 1, False)
    assert (content["device"], content["note"]["title"]) == ("D-token", "Ada")
    assert "address" not in content


def test_what_need_not_be_sent_is_skipped(chat: Chat, topics: Topics) -> None:
    subscribe(chat, "a")
    late = attrs.evolve(HI, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with chat.context(settings(topics)) as ctx:
        assert push(late, ctx).skipped_reason == "expired"
        chat.opt_out("push", "mention")
        assert push(HI, ctx).skipped_reason == "opted_out"
        chat.run("UPDATE users SET deleted_at = '2026-11-01 00:00:00'")
        assert push(HI, ctx).skipped_reason == "user_deleted"

    assert topics.seen == []


def test_devices_need_their_table(bare_chat: Chat) -> None:
    with bare_chat.context() as ctx, pytest.raises(Discard, match="cgjobs data init"):
        push(HI, ctx)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": " "}, "empty"),
        ({"ttl": timedelta(days=29)}, "28d"),
        ({"collapse_key": "a b"}, "collapse key"),
        ({"collapse_key": "x" * 33}, "collapse key"),
        ({"idempotency_key": ""}, "no key"),
        ({"expires_at": datetime(2026, 1, 1)}, "no offset"),  # noqa: DTZ001
    ],
)
def test_what_is_no_message_is_refused_when_it_is_enqueued(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        attrs.evolve(HI, **fields)


def test_data_for_a_device_is_bounded() -> None:
    with pytest.raises(ValueError, match="3,001 bytes"):
        Note(title="x", data={"k": "ü" * 1_500})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "private_key or private_key_file"),
        ({"private_key": "x", "private_key_file": Path("x")}, "private_key or private_key_file"),
        ({"private_key": "x", "contact": "ops"}, "mailto:"),
        ({"private_key": "x", "timeout": timedelta(0)}, "above zero"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        WebPushSettings(**({"contact": "mailto:a@b.example"} | fields))


@pytest.mark.parametrize("url", ["http://ntfy.example", "ntfy.sh", "ftp://ntfy.sh", "https://[::1"])
def test_a_server_is_written_as_https(url: str) -> None:
    with pytest.raises(ValueError, match="server"):
        NtfySettings(server=url)


def test_no_secret_is_shown() -> None:
    shown = repr(
        [WebPushSettings(private_key="hunter2", contact="mailto:a@b.example"), NtfySettings(token="hunter2")]
    )

    assert "hunter2" not in shown

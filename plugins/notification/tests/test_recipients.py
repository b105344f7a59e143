"""Who is written to, what the user wants, and the hours in which nothing shall disturb."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Discard, Snooze
from cgjobs_data import Database
from cgjobs_data import Settings as DataSettings
from cgjobs_notification import Settings, Sms
from cgjobs_notification.consent import await_quiet_hours, quiet_until, refusal
from cgjobs_notification.people import People
from cgjobs_notification.recipient import Device, Person, Wishes
from cgjobs_notification.sms.handler import sms
from plugins.notification.tests.chat import NOW, Chat, make_chat

NIGHT = (time(22), time(7))
Lookup = Callable[[Chat], People]


@pytest.fixture
def people() -> Iterator[Lookup]:
    """Look users up as a job does."""
    with contextlib.ExitStack() as stack:
        yield lambda chat: People(stack.enter_context(Database(chat.data)), "J1")


# Users


def test_a_user_is_what_the_database_says_now(chat: Chat, people: Lookup) -> None:
    found = people(chat)

    assert found.person("ada").email == "ada@example.com"
    chat.run("UPDATE users SET email = 'lovelace@example.com', deleted_at = '2026-11-01 00:00:00'")
    assert found.person("ada") == Person(
        id="ada", email="lovelace@example.com", phone="+447400123456", deleted=True
    )


def test_contacts_come_before_what_the_table_of_users_says(chat: Chat, people: Lookup) -> None:
    chat.add(
        "contacts",
        {
            "user_id": "ada",
            "phone": "+447400000001",
            "phone_verified_at": "2026-11-01T00:00:00.000Z",
            "timezone": "Europe/Berlin",
            "locale": "de-AT",
        },
    )

    ada = people(chat).person("ada")

    assert (ada.phone, ada.phone_verified) == ("+447400000001", True)
    assert (ada.timezone, ada.locale) == ("Europe/Berlin", "de-AT")


def test_a_user_that_nobody_knows_is_named(chat: Chat, people: Lookup) -> None:
    with pytest.raises(Discard, match="no user 'bob'"):
        people(chat).person("bob")


def test_without_companion_tables_everybody_wants_everything(bare_chat: Chat, people: Lookup) -> None:
    found = people(bare_chat)

    assert found.person("ada").timezone is None
    assert found.wishes("ada", "email", "marketing") == Wishes()
    found.bounced(found.person("ada"), "550", NOW)  # nowhere to say so
    with pytest.raises(Discard, match="cgjobs data init"):
        found.devices("ada", ())


def test_a_bounce_is_of_one_address_and_a_new_one_is_written_to(chat: Chat, people: Lookup) -> None:
    found = people(chat)

    found.bounced(found.person("ada"), "RCPT TO: 550 5.1.1 no such user", NOW)
    found.bounced(found.person("ada"), "RCPT TO: 550 5.1.1 still none", NOW)

    assert "still none" in found.person("ada").email_bounced
    chat.run("UPDATE users SET email = 'lovelace@example.com'")
    assert found.person("ada").email_bounced == ""
    chat.run("UPDATE cgj_contacts SET email_bounce_reason = 'told by our provider'")
    assert found.person("ada").email_bounced == "told by our provider"


def test_a_device_that_is_gone_is_not_found_again(chat: Chat, people: Lookup) -> None:
    for number in (1, 2):
        chat.add(
            "push_subscriptions",
            {
                "id": f"D{number}",
                "user_id": "ada",
                "kind": "ntfy",
                "address": "t",
                "created_at": f"2026-11-0{number}T00:00:00.000Z",
            },
        )
    found = people(chat)

    assert [device.id for device in found.devices("ada", ())] == ["D1", "D2"]
    assert found.devices("ada", ("fcm",)) == []
    found.disable(Device(id="D1", kind="ntfy", address="t"), "410 gone", NOW)
    found.disable(Device(id="D1", kind="ntfy", address="t"), "later", NOW + timedelta(days=1))

    assert [device.id for device in found.devices("ada", ())] == ["D2"]
    (row,) = chat.rows("SELECT disabled_at, disabled_reason FROM cgj_push_subscriptions WHERE id = 'D1'")
    assert row == {"disabled_at": "2026-11-24T12:00:00.000Z", "disabled_reason": "410 gone"}


# Wishes


def preference(channel: str, category: str, **more: Any) -> dict[str, Any]:
    return {"user_id": "ada", "channel": channel, "category": category, "enabled": True} | more


def test_a_row_of_all_categories_holds_for_each(chat: Chat, people: Lookup) -> None:
    chat.add("notification_preferences", preference("email", "*", enabled=False))
    chat.opt_out("sms", "*")
    found = people(chat)

    assert not found.wishes("ada", "email", "digest").enabled
    assert found.wishes("ada", "push", "digest").enabled
    assert found.wishes("ada", "sms", "mention").opted_out
    assert not found.wishes("ada", "email", "mention").opted_out


def test_the_quiet_hours_of_a_category_come_before_those_of_all(chat: Chat, people: Lookup) -> None:
    chat.add(
        "notification_preferences",
        preference("*", "*", quiet_from="22:00", quiet_until="07:00"),
        preference("push", "digest", quiet_from="18:00", quiet_until="09:00"),
        preference("email", "digest", quiet_from="late", quiet_until="09:00"),
    )
    found = people(chat)

    assert found.wishes("ada", "push", "digest").quiet == (time(18), time(9))
    assert found.wishes("ada", "push", "mention").quiet == NIGHT
    assert found.wishes("ada", "email", "digest").quiet == NIGHT  # what is no time is as if it were not there


@pytest.mark.parametrize(
    ("wishes", "channel", "category", "reason"),
    [
        (Wishes(), "email", "marketing", ""),
        (Wishes(enabled=False), "email", "digest", "disabled"),
        (Wishes(enabled=False), "email", "transactional", "disabled"),
        (Wishes(enabled=False), "email", "security", ""),
        (Wishes(opted_out=True), "email", "marketing", "opted_out"),
        (Wishes(opted_out=True), "email", "security", ""),
        (Wishes(opted_out=True), "push", "security", ""),
        (Wishes(opted_out=True), "sms", "security", "opted_out"),
    ],
)
def test_what_the_user_does_not_want_is_not_sent_but_for_passwords(
    wishes: Wishes, channel: Any, category: Any, reason: str
) -> None:
    assert refusal(wishes, channel, category) == reason


# Quiet hours


@pytest.mark.parametrize(
    ("quiet", "timezone", "now", "until"),
    [
        (NIGHT, "UTC", "2026-11-24T21:59:59", None),
        (NIGHT, "UTC", "2026-11-24T22:00:00", "2026-11-25T07:00:00"),
        (NIGHT, "UTC", "2026-11-25T06:59:59", "2026-11-25T07:00:00"),
        (NIGHT, "UTC", "2026-11-25T07:00:00", None),
        (NIGHT, "America/New_York", "2026-11-24T07:00:00", "2026-11-24T12:00:00"),
        (NIGHT, "Asia/Kolkata", "2026-11-24T16:30:00", "2026-11-25T01:30:00"),
        ((time(12), time(13)), "Europe/Berlin", "2026-11-24T11:30:00", "2026-11-24T12:00:00"),
        ((time(9), time(9)), "UTC", "2026-11-24T09:00:00", None),
        (None, "UTC", "2026-11-24T03:00:00", None),
        (NIGHT, "no such zone", "2026-11-24T23:00:00", "2026-11-25T07:00:00"),
        # Berlin puts its clocks back at 03:00 on 25 October 2026 and forward at 02:00 on 28 March 2027.
        (NIGHT, "Europe/Berlin", "2026-10-24T21:00:00", "2026-10-25T06:00:00"),
        (NIGHT, "Europe/Berlin", "2027-03-27T22:00:00", "2027-03-28T05:00:00"),
    ],
)
def test_quiet_hours_go_by_the_users_clock(quiet: Any, timezone: str, now: str, until: str | None) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert quiet_until(quiet, timezone, at) == (until and datetime.fromisoformat(until).replace(tzinfo=UTC))


@given(
    begin=st.times(),
    end=st.times(),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia"]),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_who_waits_for_the_end_of_quiet_hours_waits_once(
    begin: time, end: time, zone: str, now: datetime
) -> None:
    until = quiet_until((begin, end), zone, now)

    if until is not None:
        assert now < until <= now + timedelta(hours=26)
        local = until.astimezone(ZoneInfo(zone))
        again = quiet_until((begin, end), zone, until)
        # An end that the clock skips, or shows twice, is met a second time at most.
        assert again is None or again - until <= timedelta(hours=1), local


def waits(category: Any, **options: Any) -> Any:
    given: dict[str, Any] = {"timezone": "UTC", "now": NOW.replace(hour=23), "respect": None}
    given |= {"skips": False, "expires_at": None}
    return await_quiet_hours(Wishes(quiet=NIGHT), category, **(given | options))


def test_in_quiet_hours_a_message_waits_until_they_end() -> None:
    with pytest.raises(Snooze, match="07:00") as caught:
        waits("digest")

    assert caught.value.after == timedelta(hours=8)


def test_what_cannot_wait_does_not() -> None:
    assert waits("security") == ""
    assert waits("transactional") == ""
    assert waits("mention", respect=False) == ""
    with pytest.raises(Snooze):
        waits("transactional", respect=True)


def test_a_category_may_be_dropped_in_quiet_hours() -> None:
    assert waits("mention", skips=True) == "quiet_hours"


def test_what_would_be_pointless_when_the_user_wakes_up_is_not_put_off() -> None:
    assert waits("mention", expires_at=NOW + timedelta(hours=12)) == "expired"


def test_the_handler_asks_the_users_clock_when_the_message_is_sent(chat: Chat, people: Lookup) -> None:
    here = datetime.now(UTC).astimezone(ZoneInfo("Asia/Tokyo"))
    span = {
        "quiet_from": f"{here - timedelta(hours=2):%H:%M}",
        "quiet_until": f"{here + timedelta(hours=2):%H:%M}",
    }
    chat.add("contacts", {"user_id": "ada", "timezone": "Asia/Tokyo"})
    chat.add("notification_preferences", preference("sms", "*", **span))

    with chat.context() as ctx, pytest.raises(Snooze, match="quiet hours"):
        sms(Sms(user_id="ada", message="Hi", category="mention"), ctx)
    with chat.context(Settings(skip_in_quiet_hours=("mention",))) as ctx:
        result = sms(Sms(user_id="ada", message="Hi", category="mention"), ctx)

    assert result.skipped_reason == "quiet_hours"


@pytest.mark.parametrize("companions", [True, False])
def test_users_are_found_in_postgresql_too(
    postgres: str, tmp_path: Path, companions: bool, people: Lookup
) -> None:
    chat = make_chat(postgres, tmp_path, companions=companions)
    found = people(chat)

    assert found.person("ada").email == "ada@example.com"
    assert found.wishes("ada", "push", "mention") == Wishes()
    if companions:
        found.bounced(found.person("ada"), "550", NOW)
        assert found.person("ada").email_bounced
    chat.engine.dispose()


def test_a_database_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Discard, match=r"missing\.db"):
        Database(DataSettings(url=f"sqlite:///{tmp_path / 'missing.db'}"))

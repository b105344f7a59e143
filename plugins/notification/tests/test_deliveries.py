"""One message to one destination is sent once: the table of deliveries, and the marks where there is none."""

import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cgjobs import Discard, OutcomeUnknown, Retry, Snooze
from cgjobs.testing import RecordingContext
from cgjobs_data import Database
from cgjobs_notification import Sms
from cgjobs_notification.delivery import Delivery, Ledger, Marks
from cgjobs_notification.ledger import STALE, TableLedger
from cgjobs_notification.sms.handler import sms
from plugins.notification.tests.chat import NOW, Chat, make_chat


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["Ledgers"]:
    if request.param == "sqlite":
        made = Ledgers(request.getfixturevalue("chat"))
    else:
        made = Ledgers(make_chat(request.getfixturevalue(request.param), tmp_path))
    yield made
    made.database.close()
    made.chat.engine.dispose()


class Ledgers:
    """The ledgers of jobs, over one table."""

    def __init__(self, chat: Chat) -> None:
        self.chat, self.database = chat, Database(chat.data)

    def of(self, job_id: str = "J1", after: timedelta = timedelta(0)) -> TableLedger:
        return TableLedger(self.database, self.database.companion("deliveries"), job_id, NOW + after)

    @property
    def rows(self) -> list[dict[str, Any]]:
        table = self.database.companion("deliveries")
        with self.database.reading("test") as connection:
            found = connection.execute(select(table.table).order_by(table["at"])).mappings()
            return [{name: value for name, value in row.items() if name != "at"} for row in found]


def deliver(
    ledger: Ledger,
    *,
    on_unknown: Any = "retry",
    raises: BaseException | None = None,
    ctx: RecordingContext | None = None,
) -> str:
    """Send something; gives what was known of it."""
    with Delivery(ctx or RecordingContext(), ledger, "K", "sms", "D", on_unknown=on_unknown) as delivery:
        if delivery:
            if raises is not None:
                raise raises
            delivery.provider_id = "P1"
    return delivery.state


def test_what_was_sent_is_not_sent_again_by_any_job(ledgers: Ledgers) -> None:
    assert deliver(ledgers.of("J1")) == "new"
    assert deliver(ledgers.of("J1")) == "sent"
    assert deliver(ledgers.of("J2", timedelta(days=9))) == "sent"

    assert ledgers.rows == [
        {
            "key": "K",
            "channel": "sms",
            "destination": "D",
            "state": "sent",
            "provider_id": "P1",
            "detail": None,
            "job_id": "J1",
        }
    ]


@pytest.mark.parametrize("error", [Retry("busy"), Snooze(timedelta(1))])
def test_what_certainly_was_not_sent_is_sent_by_the_next_attempt(ledgers: Ledgers, error: Exception) -> None:
    with pytest.raises(type(error)):
        deliver(ledgers.of(), raises=error)

    assert ledgers.rows == []
    assert deliver(ledgers.of()) == "new"


def test_what_failed_for_good_may_be_tried_by_an_operator(ledgers: Ledgers) -> None:
    with pytest.raises(Discard):
        deliver(ledgers.of(), raises=Discard("no such number"))

    assert [(row["state"], row["detail"]) for row in ledgers.rows] == [("failed", "no such number")]
    assert deliver(ledgers.of()) == "failed"
    assert ledgers.rows[0]["state"] == "sent"


def test_of_an_unknown_outcome_the_channel_decides(ledgers: Ledgers) -> None:
    with pytest.raises(OutcomeUnknown):
        deliver(ledgers.of(), raises=OutcomeUnknown("no reply"))
    assert ledgers.rows[0]["state"] == "unknown"

    with pytest.raises(OutcomeUnknown, match="did not say"):
        deliver(ledgers.of(), on_unknown="stop")
    assert ledgers.rows[0]["state"] == "unknown"
    assert deliver(ledgers.of(), on_unknown="retry") == "unknown"
    assert ledgers.rows[0]["state"] == "sent"


def test_a_claim_of_an_earlier_attempt_of_the_job_is_an_unknown_outcome(ledgers: Ledgers) -> None:
    with pytest.raises(KeyboardInterrupt):
        deliver(ledgers.of(), raises=KeyboardInterrupt())

    assert ledgers.rows[0]["state"] == "claimed"
    assert deliver(ledgers.of(after=timedelta(seconds=1))) == "unknown"


def test_a_claim_of_another_job_is_waited_for_until_it_is_stale(ledgers: Ledgers) -> None:
    with pytest.raises(KeyboardInterrupt):
        deliver(ledgers.of("J1"), raises=KeyboardInterrupt())

    with pytest.raises(Snooze, match="job J1 is sending it"):
        deliver(ledgers.of("J2", STALE - timedelta(seconds=1)))
    assert deliver(ledgers.of("J2", STALE + timedelta(seconds=1))) == "unknown"


def test_of_many_jobs_at_once_one_sends(ledgers: Ledgers) -> None:
    sent, barrier = list[str](), threading.Barrier(4)

    def job(number: int) -> None:
        barrier.wait(30)
        try:
            with Delivery(
                RecordingContext(), ledgers.of(f"J{number}"), "K", "sms", "D", on_unknown="stop"
            ) as delivery:
                if delivery:
                    sent.append(f"J{number}")
        except (Snooze, Retry):
            pass  # another one is at it, or SQLite is busy

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(job, range(4)))

    assert len(sent) == 1
    assert [row["state"] for row in ledgers.rows] == ["sent"]


def test_what_was_sent_stays_sent_when_that_cannot_be_written_down(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, ctx = ledgers.of(), RecordingContext()

    def away(*args: Any, **options: Any) -> None:
        raise Retry("the database is away")

    monkeypatch.setattr(ledger, "settle", away)
    deliver(ledger, ctx=ctx)

    assert [(line.level, line.event) for line in ctx.lines] == [("error", "delivery_not_recorded")]
    assert ledgers.rows[0]["state"] == "claimed"


def test_messages_of_the_last_hour_are_counted(ledgers: Ledgers) -> None:
    for number, minutes in enumerate((0, 50, 70)):
        ledger, ctx = ledgers.of(after=timedelta(minutes=minutes)), RecordingContext()
        with Delivery(ctx, ledger, f"K{number}", "sms", "D", on_unknown="stop"):
            pass
    ledger = ledgers.of()

    since = NOW + timedelta(minutes=80) - timedelta(hours=1)
    assert ledger.sent_since("sms", since) == ledger.sent_since("sms", since, "D") == 2
    assert ledger.sent_since("sms", since, "E") == ledger.sent_since("email", since) == 0


def test_old_deliveries_are_deleted_the_oldest_first(ledgers: Ledgers) -> None:
    for days in range(5):
        ledger = ledgers.of(after=timedelta(days=days))
        with Delivery(RecordingContext(), ledger, f"K{days}", "sms", "D", on_unknown="stop"):
            pass
    ledger = ledgers.of()

    assert ledger.purge(NOW + timedelta(days=3), most=2) == 2
    assert [row["key"] for row in ledgers.rows] == ["K2", "K3", "K4"]
    assert ledger.purge(NOW + timedelta(days=3)) == 1
    assert ledger.purge(NOW + timedelta(days=3)) == 0


def test_some_jobs_delete_what_is_older_than_the_settings_say(chat: Chat) -> None:
    row = {"key": "K", "channel": "sms", "destination": "D", "state": "sent", "job_id": "J"}
    chat.add("deliveries", row | {"at": "2020-01-01T00:00:00.000Z"})
    job = next(f"J{n}" for n in range(5_000) if zlib.crc32(f"J{n}".encode()) % 500 == 0)
    payload = Sms(user_id="ada", message="Hi")
    with chat.context(job_id="J1") as ctx:
        sms(payload, ctx)
    before = len(chat.rows("SELECT * FROM cgj_deliveries"))
    with chat.context(job_id=job) as ctx:
        sms(payload, ctx)

    assert before == 2
    assert {row["key"] for row in chat.rows("SELECT * FROM cgj_deliveries")} == {"J1", job}


# Without the table


def test_without_the_table_marks_do_the_same_within_a_job() -> None:
    ctx = RecordingContext()
    with pytest.raises(Retry):
        deliver(Marks(ctx), raises=Retry("busy"))
    assert ctx.marks == {}
    with pytest.raises(Discard):
        deliver(Marks(ctx), raises=Discard("no"))
    assert ctx.marks == {}
    assert deliver(Marks(ctx)) == "new"
    assert deliver(Marks(ctx)) == "sent"
    assert list(ctx.marks.values()) == ["done"]
    assert Marks(ctx).sent_since("sms", NOW) is None


@pytest.mark.parametrize("error", [OutcomeUnknown("no reply"), KeyboardInterrupt()])
def test_without_the_table_an_unknown_outcome_stays_one(error: BaseException) -> None:
    ctx = RecordingContext()
    with pytest.raises(type(error)):
        deliver(Marks(ctx), raises=error)

    with pytest.raises(OutcomeUnknown, match="did not say"):
        deliver(Marks(ctx), on_unknown="stop")
    assert deliver(Marks(ctx), on_unknown="retry") == "unknown"
    assert deliver(Marks(ctx), on_unknown="stop") == "sent"

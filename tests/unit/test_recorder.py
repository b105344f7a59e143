"""What a worker counts before it is written."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from cgjobs.broker import Call
from cgjobs.broker.reads import QueueReading
from cgjobs.broker.values import Claimed, Settlement
from cgjobs.event import Event
from cgjobs.model import QueueStats
from cgjobs.recorder import Recorder
from cgjobs.running import Run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = int(NOON.timestamp() // 3600)
CLAIMED = Claimed(
    "work", "id", "token", b"", 0, 2, 0, "2026-01-01T12:00:00.000000Z", "normal", "", "", started_at=""
)


class Desk:
    """A recorder, the time, and what runs."""

    def __init__(self, at: datetime = NOON + timedelta(minutes=10)) -> None:
        self.at, self.ticks, self.runs = at, 0.0, list[Run]()
        self.sent: list[Call[Any]] = []
        self.recorder = Recorder(
            self._send,
            {"work": 4},
            lambda: self.runs,
            timedelta(days=35),
            clock=lambda: self.at.timestamp(),
            ticks=lambda: self.ticks,
            every=timedelta(milliseconds=1),
        )

    async def _send(self, call: Call[Any]) -> Any:
        """A broker whose clock is an hour ahead, with three jobs that wait."""
        self.sent.append(call)
        if call.commands[0][1].endswith("history"):
            return int((self.at + timedelta(hours=1)).timestamp() * 1000)
        stats = QueueStats(waiting=3, active=0, completed=0, failed=0, delayed=0, paused=False)
        return {"work": QueueReading(stats, None)}

    def settle(self, kind: str = "completed", us: int = 0, error: str = "", **claimed: Any) -> None:
        job = attrs.evolve(CLAIMED, **claimed)
        run = Run(job, started=0.0, subtype="work.note")
        settlement = Settlement(kind, job, "work.note", us, error=error)  # type: ignore[arg-type]
        self.recorder.settled([(run, settlement)])

    def taken(self) -> dict[tuple[int, str], dict[str, int]]:
        """What would be written, by hour (from noon) and name."""
        rows = json.loads(self.recorder.taken().commands[0][-1])
        return {(hour - HOUR, name): {**adds, **most} for hour, _, name, adds, most in rows}


def test_a_job_counts_where_it_was_enqueued_began_and_ended() -> None:
    desk = Desk(NOON + timedelta(hours=2, minutes=10))
    desk.settle(us=int(1800 * 1e6))

    found = desk.taken()

    assert found[0, "work.note"] == {"enqueued": 1}
    began = found[1, "work.note"]
    assert (began.pop("started"), began.pop("w:sum")) == (1, int(100 * 60 * 1e6))
    assert list(began.values()) == [1]
    assert {name: found[2, "work.note"][name] for name in ("completed", "busy", "r:sum")} == {
        "completed": 1,
        "busy": int(1800 * 1e6),
        "r:sum": int(1800 * 1e6),
    }


def test_a_delayed_job_waits_from_when_it_was_due_and_counts_as_enqueued_when_it_was() -> None:
    desk = Desk(NOON + timedelta(hours=1, minutes=10))
    desk.settle(enqueued_at="2026-01-01T13:09:00.500000Z")

    found = desk.taken()

    assert found[0, "work.note"] == {"enqueued": 1}
    assert found[1, "work.note"]["w:sum"] == pytest.approx(59.5e6, abs=10)


def test_a_job_that_was_handed_back_counts_once_and_has_no_wait() -> None:
    desk = Desk()
    desk.settle("return")
    desk.settle(started_at="2026-01-01T12:05:00.000000Z")

    found = desk.taken()[0, "work.note"]

    assert found["returned"] == found["completed"] == found["started"] == 1
    assert "enqueued" not in found
    assert not [name for name in found if name.startswith("w")]


@pytest.mark.parametrize(
    "created",
    ["", "yesterday", "2026-01-01T12:00:nanZ", "2026-01-01T12:00:infZ", "9" * 40, "0001-01-01T00:00:00Z"],
)
def test_a_time_that_somebody_wrote_does_no_harm(created: str) -> None:
    desk = Desk()
    desk.settle(created_at=created)

    found = desk.taken()

    assert found[0, "work.note"]["completed"] == 1
    assert {hour for hour, _ in found} == {0}


def test_a_job_from_the_future_counts_now() -> None:
    desk = Desk()
    desk.settle(created_at="9999-01-01T00:00:00.000000Z")

    found = desk.taken()

    assert found[0, "work.note"]["enqueued"] == 1
    assert {hour for hour, _ in found} == {0}


def test_what_runs_over_an_hour_is_busy_in_both() -> None:
    desk = Desk(NOON + timedelta(minutes=59))
    run = Run(CLAIMED, started=0.0, subtype="work.note")
    desk.runs.append(run)
    desk.ticks = 60.0
    first = desk.taken()
    desk.at, desk.ticks = NOON + timedelta(minutes=61), 180.0
    desk.runs.clear()
    desk.recorder.settled([(run, Settlement("completed", CLAIMED, "work.note", int(180e6)))])

    assert first[0, "work.note"] == {"busy": int(60e6)}
    assert first[0, ""] == {"slots": 4 * 60_000}
    assert desk.taken()[1, "work.note"]["busy"] == int(120e6)
    assert desk.taken() == {(1, ""): {"slots": 0}}


def test_attempts_that_failed_count_by_the_class_of_their_error() -> None:
    desk = Desk()
    desk.settle("retry", error="ConnectionError: refused: 7")
    desk.settle("crashed", error="Crashed: signal 9")
    desk.settle("failed", error="X" * 100)
    desk.settle("snooze", error="Snooze: later")

    found = desk.taken()[0, "work.note"]

    errors = {name: number for name, number in found.items() if name.startswith("e:")}
    assert errors == {"e:ConnectionError": 1, "e:Crashed": 1, f"e:{'X' * 64}": 1}
    assert (found["retried"], found["crashed"], found["failed"], found["snoozed"]) == (2, 1, 1, 1)


def test_jobs_that_never_ran_are_told_from_those_whose_worker_died() -> None:
    desk = Desk()
    poison = "Poison: its worker died again and again while it ran"
    for event in (
        Event("job_recovered", "work", "a"),
        Event("job_failed", "work", "b", error=poison),
        Event("job_failed", "work", "c", error="Expired: it had to start before"),
        Event("job_failed", "work", "d", attempt=1, error="X: no"),
        Event("job_completed", "work", "e", attempt=1),
    ):
        desk.recorder.heard(event)

    assert desk.taken()[0, ""] == {"lost": 2, "dropped": 1, "slots": 0}


def test_it_is_written_regularly_by_the_brokers_clock_with_a_look_at_the_queues() -> None:
    async def write_for_a_while(desk: Desk) -> None:
        writing = asyncio.create_task(desk.recorder.write_regularly())
        while len(desk.sent) < 6:
            await asyncio.sleep(0)
        writing.cancel()

    desk = Desk()
    asyncio.run(write_for_a_while(desk))
    desk.settle()

    names = [call.commands[0][1].partition("_")[2] for call in desk.sent[:5]]
    assert names == ["history", "history", "history", "stats", "history"]
    rows = json.loads(desk.sent[4].commands[0][-1])
    assert [
        HOUR + 1,
        "work",
        "",
        {"samples": 1, "waiting": 3, "slots": 0},
        {"waiting_most": 3, "oldest": 0},
    ] in rows
    assert desk.taken()[1, "work.note"]["completed"] == 1


def test_queues_are_looked_at() -> None:
    desk = Desk()
    for waiting, since in ((5, desk.at - timedelta(seconds=90)), (2, None)):
        stats = QueueStats(waiting=waiting, active=0, completed=0, failed=0, delayed=0, paused=False)
        desk.recorder.looked({"work": QueueReading(stats, since)})

    assert desk.taken()[0, ""] == {
        "samples": 2,
        "waiting": 7,
        "waiting_most": 5,
        "oldest": 90_000,
        "slots": 0,
    }

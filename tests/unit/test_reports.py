"""What running jobs report, when it cannot be written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cgjobs.broker import Call
from cgjobs.broker.values import Claimed
from cgjobs.errors import BrokerUnavailable
from cgjobs.event import Event
from cgjobs.joblog import Lines
from cgjobs.model import Progress
from cgjobs.reports import Reports
from cgjobs.running import Run


def reporting() -> Run:
    run = Run(Claimed("work", "j", "t", b"", 0, 2, 0, "", "normal", "", ""), lines=Lines(5))
    run.report, run.unsaved = Progress(1, 2, "half"), b"7"
    assert run.lines is not None
    run.lines.add("first")
    return run


class Away:
    """A broker that goes away while it is sent something; the handler goes on meanwhile."""

    def __init__(self, run: Run | None = None) -> None:
        self.run, self.told = run, list[Event]()

    async def send(self, call: Call[Any]) -> Any:
        if self.run is not None:
            self.run.report, self.run.unsaved = Progress(2, 2, "all"), b"8"
            assert self.run.lines is not None
            self.run.lines.add("second")
        raise BrokerUnavailable("away")

    def reports(self) -> Reports:
        return Reports(self.send, self.told.append, 5)


def test_what_could_not_be_written_is_left_to_the_next_write() -> None:
    run, away = reporting(), Away()

    with pytest.raises(BrokerUnavailable):
        asyncio.run(away.reports().write([run]))

    assert (run.report, run.unsaved) == (Progress(1, 2, "half"), b"7")
    assert run.lines is not None
    assert run.lines.take() == (0, ["first"])
    assert not run.being_written
    assert away.told == []


def test_what_the_handler_reported_meanwhile_wins_and_no_line_is_lost() -> None:
    run = reporting()
    away = Away(run)

    with pytest.raises(BrokerUnavailable):
        asyncio.run(away.reports().write([run]))

    assert (run.report, run.unsaved) == (Progress(2, 2, "all"), b"8")
    assert run.lines is not None
    assert run.lines.take() == (0, ["first", "second"])


def test_a_job_without_reports_is_no_reason_to_talk_to_the_broker() -> None:
    run = Run(Claimed("work", "j", "t", b"", 0, 2, 0, "", "normal", "", ""))

    asyncio.run(Away().reports().write([run]))

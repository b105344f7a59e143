"""Every kind of fault at random, in short; ``make chaos ARGS="--soak 120"`` is the long form."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from tests.e2e.soak_plan import FAULTS, plan
from tests.e2e.verdict import (
    Outage,
    Record,
    Run,
    begun_while_paused,
    extra,
    misplaced,
    resurrected,
    unexplained,
)

ROUND = 17.0
"""Seconds in which each kind of fault has its turn."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_random_faults_lose_nothing_and_repeat_only_what_was_in_flight() -> None:
    seed = random.randrange(10**6)  # another one each time; the output has it
    command = [
        sys.executable,
        "-m",
        "tests.e2e.restarts",
        "--soak",
        f"{ROUND:g}",
        "--seed",
        str(seed),
        "--json",
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["acknowledged"] > 100
    assert not any(found["wrong"].values())


def test_a_seed_gives_the_same_plan_in_which_each_fault_has_its_turn() -> None:
    first, second = (plan(random.Random(7), ROUND) for _ in range(2))

    assert first == second
    assert {fault.kind for fault in plan(random.Random(7), 60)} == {kind for kind, _, _, _ in FAULTS}


# The judge has to find what is wrong


@pytest.fixture
def record() -> Record:
    return Record(acknowledged={"a-1": 98.0}, broker_killed=[98.5], places={10: 0, 11: 1})


def test_the_judge_explains_a_second_run_by_a_kill_or_a_long_outage_only(record: Record) -> None:
    [pair] = extra([Run("a-1", 1, 10, 100.0), Run("a-1", 1, 11, 104.0), Run("a-1", 2, 11, 105.0)])
    short, long = Outage(0, 101, 101.5), Outage(0, 101, 103)

    assert len(unexplained(record, [pair], 3.0)) == 1
    record.outages = [short, Outage(1, 101, 103)]
    assert len(unexplained(record, [pair], 3.0)) == 1, "the long one was another's"
    record.outages = [long]
    assert unexplained(record, [pair], 3.0) == []
    record.outages, record.killed = [], {10: 105.0}
    assert len(unexplained(record, [pair], 3.0)) == 1, "killed after it had begun again"
    record.killed = {10: 101.0}
    assert unexplained(record, [pair], 3.0) == []


def test_the_judge_finds_jobs_that_are_nowhere_or_twice_or_did_nothing(record: Record) -> None:
    assert misplaced(record, {"finished": ["a-1"]}, ["a-1"]) == []
    assert misplaced(record, {"canceled": ["a-1"]}, []) == []
    assert misplaced(record, {"finished": []}, []) == [
        "a-1 is in no place; it never ran; acknowledged 0.500 s before the broker was killed"
    ]
    assert misplaced(record, {"finished": ["a-1"]}, []) == ["a-1 is completed and never ran to its end"]
    assert len(misplaced(record, {"finished": ["a-1"], "failed": ["a-1"]}, ["a-1"])) == 1


def test_the_judge_finds_what_began_after_a_cancel_or_a_pause(record: Record) -> None:
    run = Run("a-1", 1, 10, 100.0)

    assert resurrected(record, [run]) == begun_while_paused(record, [run], 3.0, "a") == []
    record.cancelled, record.pauses = {"a-1": 99.0}, [(99.0, 101.0)]
    assert resurrected(record, [run]) == begun_while_paused(record, [run], 3.0, "a") == ["a-1"]
    record.outages = [Outage(0, 97.0, 99.0)]
    assert begun_while_paused(record, [run], 3.0, "a") == [], "it was frozen, and is at its first step"

"""Which queues a worker asks, and for how many jobs."""

from __future__ import annotations

from cgjobs.slots import TURN, Slots


def test_at_the_start_every_queue_is_asked_for_all_its_places() -> None:
    slots = Slots({"a": 2, "b": 1})

    assert slots.wants() == {"a": 2, "b": 1}


def test_a_queue_that_had_nothing_is_not_asked_again() -> None:
    slots = Slots({"a": 2, "b": 1})

    slots.reserve(slots.wants())
    slots.asked({"a": 2, "b": 1}, left=["b"])

    assert slots.wants() == {"b": 1}


def test_a_full_queue_is_not_asked() -> None:
    slots = Slots({"a": 1})

    slots.take("a")

    assert slots.wants() == {}
    assert not slots.has_room("a")


def test_a_queue_that_was_full_is_asked_when_a_place_is_free() -> None:
    slots = Slots({"a": 1})
    slots.reserve({"a": 1})
    slots.asked({"a": 1}, left=[])
    slots.take("a")

    slots.give("a")

    assert slots.wants() == {"a": 1}


def test_a_queue_that_was_not_full_needs_a_wake_up() -> None:
    slots = Slots({"a": 2})
    slots.reserve({"a": 2})
    slots.asked({"a": 2}, left=[])
    slots.take("a")

    slots.give("a")

    assert slots.wants() == {}


def test_no_call_asks_for_more_than_a_batch() -> None:
    assert Slots({"a": 10_000}).wants() == {"a": TURN}


def test_whoever_waits_is_told_that_a_claim_was_answered() -> None:
    slots = Slots({"a": 1})
    slots.reserve({"a": 1})

    slots.asked({"a": 1}, left=[])

    assert slots.changed.is_set()


def test_an_idle_queue_that_was_woken_is_asked_once_at_a_time() -> None:
    slots = Slots({"a": 100})
    slots.reserve(slots.wants())

    assert slots.wants() == {}

    slots.asked({"a": 50}, left=[])
    slots.woken(["a"])

    assert slots.wants() == {"a": 50}


def test_a_queue_with_plenty_of_work_is_asked_twice_at_once() -> None:
    slots = Slots({"a": 100})
    slots.reserve(slots.wants())
    slots.asked({"a": 50}, left=["a"])

    slots.reserve(slots.wants())

    assert slots.wants() == {"a": 50}

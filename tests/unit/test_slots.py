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


def test_a_queue_is_listened_to_when_it_has_room_and_no_work_that_we_know_of() -> None:
    slots = Slots({"a": 1, "b": 1, "c": 1})
    assert slots.listenable() == ()  # at the start any of them may have work

    slots.reserve({"a": 1, "b": 1, "c": 1})
    slots.asked({"a": 1, "b": 1, "c": 1}, left=["b"])
    slots.take("c")

    assert slots.listenable() == ("a",)


def test_a_claim_that_waits_for_work_keeps_its_places_and_is_the_only_one() -> None:
    slots = Slots({"a": 2})
    slots.reserve({"a": 2})
    slots.asked({"a": 2}, left=[])
    wants = slots.awaited(["a"])

    slots.reserve(wants)

    assert wants == {"a": 2}
    assert (slots.listenable(), slots.wants()) == ((), {})
    assert not slots.has_room("a")


def test_a_job_that_ends_beside_a_claim_that_waits_does_not_make_its_queue_hungry() -> None:
    slots = Slots({"a": 2})
    slots.take("a")
    slots.reserve({"a": 1})
    slots.asked({"a": 1}, left=[])
    slots.reserve(slots.awaited(["a"]))

    slots.give("a")

    assert not slots.is_hungry(["a"])


def test_a_queue_with_a_limit_is_not_claimed_from_before_there_is_work() -> None:
    slots = Slots({"a": 2, "b": 2}, {"b": (1,)})

    assert slots.awaited(["a", "b"]) == {"a": 2}

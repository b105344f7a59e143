"""Payload versions: what the decorator refuses, what the envelope says, what upcasters may do."""

from __future__ import annotations

from typing import Any

import attrs
import orjson
import pytest

from cgjobs import Context, Subtype, subtype
from cgjobs.codec import PERFORM, Codec, Envelope, Unreadable
from cgjobs.errors import InvalidPayload
from cgjobs.schema import json_schema
from cgjobs.upcasting import upcast


@attrs.frozen
class Note:
    """A payload."""

    text: str = ""


def made(version: int, upcasters: Any = None) -> Subtype[Any, Any]:
    @subtype("work.note", version=version, upcasters=upcasters)
    def note(payload: Note, ctx: Context) -> None:
        """Do nothing."""

    return note


def same(wire: dict[str, Any]) -> dict[str, Any]:
    return wire


@pytest.mark.parametrize(
    ("version", "upcasters", "said"),
    [
        (0, None, "from 1 to 1000000"),
        (True, None, "from 1 to"),
        ("2", None, "from 1 to"),
        (2, None, "no upcaster from version 1"),
        (4, {2: same}, "no upcaster from version 1, 3"),
        (2, {1: same, 2: same}, "an upcaster from 2"),
        (1, {"1": same}, "an upcaster from '1'"),
        (2, {1: "x"}, "from version 1 is no function"),
        (1_000_000, None, "no upcaster from version 1, 2, 3, 4, 5 and 999994 more"),
    ],
)
def test_versions_without_all_their_steps_are_refused_at_import(
    version: Any, upcasters: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=r"'work\.note'") as refused:
        made(version, upcasters)

    assert said in str(refused.value)


@pytest.mark.parametrize("version", [2, 3, 1_000_000])
def test_the_envelope_carries_the_version(version: int) -> None:
    packed = Codec().pack("work.note", {}, "c", version)

    assert Codec().unpack(packed).payload_version == version


def test_version_1_is_not_written() -> None:
    assert Codec().pack("work.note", {}, "c", 1) == Codec().pack("work.note", {}, "c")
    assert Codec().unpack(Codec().pack("work.note", {}, "c")).payload_version == 1


@pytest.mark.parametrize("version", [0, -1, 1_000_001, True, "2", 2.0, None, [2]])
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    envelope = {"v": 1, "name": "a.b", "payload": {}, "correlationId": "c", "payloadVersion": version}

    with pytest.raises(Unreadable, match="version"):
        Codec().unpack(orjson.dumps([PERFORM, None, [envelope], {}]))


def test_steps_are_taken_in_order_and_the_stored_payload_stays_as_it_is() -> None:
    def add(step: int) -> Any:
        def upcaster(wire: dict[str, Any]) -> dict[str, Any]:
            wire["text"] += str(step)
            return wire

        return upcaster

    stored = Envelope("work.note", {"type": "note", "text": ""}, "c", payload_version=2)

    new = upcast(made(4, {1: add(1), 2: add(2), 3: add(3)}), stored)

    assert (new.payload, new.payload_version) == ({"type": "note", "text": "23"}, 4)
    assert stored.payload == {"type": "note", "text": ""}


def test_a_payload_of_this_version_is_left_alone() -> None:
    stored = Envelope("work.note", {}, "c")

    assert upcast(made(1), stored) is stored


def test_a_newer_payload_is_refused() -> None:
    with pytest.raises(InvalidPayload, match=r"version 3.*only 1 is known"):
        upcast(made(1), Envelope("work.note", {}, "c", payload_version=3))


@pytest.mark.parametrize("given", [None, [], "x", 7])
def test_an_upcaster_has_to_give_a_dict(given: Any) -> None:
    with pytest.raises(InvalidPayload, match=f"gave {type(given).__name__}; it must give a dict"):
        upcast(made(2, {1: lambda wire: given}), Envelope("work.note", {}, "c"))


def test_values_of_the_payload_are_masked_in_an_upcasters_error() -> None:
    def fails(wire: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"cannot use {wire['password']} of {wire['inner'][0]['pin']}")

    stored = Envelope("work.note", {"password": "hunter2", "inner": [{"pin": 4711}]}, "c")

    with pytest.raises(InvalidPayload) as refused:
        upcast(made(2, {1: fails}), stored)

    assert "ValueError: cannot use ******** of ********" in str(refused.value)


def test_the_schema_of_a_later_version_says_which() -> None:
    assert json_schema(made(2, {1: same}))["x-payload-version"] == 2
    assert "x-payload-version" not in json_schema(made(1))

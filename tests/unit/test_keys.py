"""The names of keys: Python's and those of the functions on the server are the same."""

from __future__ import annotations

import inspect
import re
from importlib.resources import files

import pytest

from cgjobs import keys
from cgjobs.broker import library
from cgjobs.model import Priority

PRELUDE = (files("cgjobs.functions") / "prelude.lua").read_text()
# local function job_key(id) return 'rq:job:' .. id end
WRITTEN = r"local function (\w+)_key\(\w+\) return '([^']+)' \.\. \w+(?: \.\. '([^']+)')? end"
ON_SERVER = {name: f"{start}x{end}" for name, start, end in re.findall(WRITTEN, PRELUDE)}
NAMES = [
    name
    for name, item in inspect.getmembers(keys, inspect.isfunction)
    if name not in {"waiting", "workers_of"}
]


@pytest.mark.parametrize("name", NAMES)
def test_a_key_has_the_same_name_on_both_sides(name: str) -> None:
    assert getattr(keys, name)("x") == ON_SERVER[name]


def test_no_key_of_the_server_is_unknown_here() -> None:
    assert set(ON_SERVER) <= set(NAMES)


def test_the_levels_of_a_queue_are_lists_beside_the_normal_one() -> None:
    assert [keys.waiting("q", level) for level in Priority] == [
        "rq:queue:q:critical",
        "rq:queue:q:high",
        "rq:queue:q",
        "rq:queue:q:low",
    ]
    assert "return 'rq:queue:' .. queue .. ':' .. level" in PRELUDE


@pytest.mark.parametrize("name", ["LEASES", "EVENTS", "METRICS", "QUARANTINE", "ENDINGS"])
def test_a_fixed_key_has_the_same_name_on_both_sides(name: str) -> None:
    order = re.search(r"local (LEASES[\w, ]+) = (.+)", PRELUDE)
    assert order is not None

    found = dict(zip(order[1].split(", "), re.findall("'([^']+)'", order[2]), strict=True))

    assert found[name] == getattr(keys, name)


def test_the_levels_and_states_of_a_queue_have_distinct_keys() -> None:
    made = [getattr(keys, name)("x") for name in NAMES] + [keys.waiting("x", level) for level in Priority]

    assert len(set(made)) == len(made)


def test_every_lua_file_is_part_of_the_library() -> None:
    present = {
        file.name.removesuffix(".lua")
        for file in files("cgjobs.functions").iterdir()
        if file.name.endswith(".lua")
    }

    assert present == set(library._FILES)


def test_the_library_carries_its_own_digest() -> None:
    assert library.digest() in library.source().splitlines()[1]
    assert re.fullmatch("[0-9a-f]{16}", library.digest())

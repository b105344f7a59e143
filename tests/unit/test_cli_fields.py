"""Payload fields as options: their names, how their texts are read, and the faults by flag."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import attrs
import pytest

from cgjobs.cli.fields import PayloadOption, by_flag, payload_options, to_wire
from cgjobs.errors import Fault


@attrs.frozen
class Inner:
    """A part.

    Args:
        size: In bytes.
        parent: One like it.
    """

    size: int
    parent: Inner | None = None


@attrs.frozen
class Everything:
    """One field of each kind.

    Args:
        user_id: Who.
        from_: Whence.
        level: How much.
        wait: Not ours to wait.
        secret: Never shown.
    """

    user_id: str
    from_: str = "here"
    level: Literal["low", "high"] = "low"
    count: int | None = None
    share: float = 0.5
    after: timedelta = timedelta(hours=1)
    on: bool = True
    off: bool = False
    numbers: tuple[int, ...] = ()
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    text_or_inner: str | Inner = ""
    table: dict[str, int] = attrs.field(factory=dict)
    wait: str = ""
    secret: str = attrs.field(default="hush", repr=False)


OPTIONS = {option.flag: option for option in payload_options(Everything, {"--wait"})}


def test_a_name_that_is_taken_gets_a_name_of_its_own() -> None:
    assert "--wait" not in OPTIONS
    assert OPTIONS["--payload.wait"].path == ("wait",)


def test_names_are_those_of_python_in_kebab_case_and_lead_to_the_wire() -> None:
    assert OPTIONS["--user-id"].path == ("userId",)
    assert OPTIONS["--from"].path == ("from",)
    assert OPTIONS["--text-or-inner.size"].path == ("textOrInner", "size")


def test_a_class_within_itself_has_no_options_without_end() -> None:
    assert "--inner.parent" in OPTIONS
    assert "--inner.parent.size" not in OPTIONS


def test_help_has_docs_and_defaults_but_no_secret() -> None:
    assert OPTIONS["--user-id"].help == "Who. [required]"
    assert OPTIONS["--level"].help == "How much. [default: low]"
    assert OPTIONS["--after"].help == "[default: 1h]"
    assert OPTIONS["--secret"].help == "Never shown."


def test_a_value_is_named_by_its_kind() -> None:
    flags = ("--user-id", "--count", "--share", "--after", "--level", "--inner", "--numbers")

    assert [OPTIONS[flag].metavar for flag in flags] == [
        "TEXT",
        "INT",
        "NUMBER",
        "DURATION",
        "low|high",
        "JSON",
        "INT",
    ]


def test_flags_can_be_switched_off_only_where_that_says_something() -> None:
    assert OPTIONS["--on"].is_flag
    assert OPTIONS["--on"].negatable
    assert not OPTIONS["--off"].negatable


@pytest.mark.parametrize(
    ("flag", "given", "wire"),
    [
        ("--user-id", "7", "7"),
        ("--count", "7", 7),
        ("--count", "seven", "seven"),
        ("--share", "1e-3", 0.001),
        ("--share", "NaN", "NaN"),
        ("--numbers", ["1", "x"], [1, "x"]),
        ("--inner", '{"size": 1}', {"size": 1}),
        ("--inners", ['{"size": 1}', "{"], [{"size": 1}, "{"]),
        ("--text-or-inner", '{"size": 1}', '{"size": 1}'),
        ("--off", True, True),
    ],
)
def test_what_cannot_be_read_stays_text_for_the_codec_to_refuse(
    flag: str, given: str | list[str] | bool, wire: object
) -> None:
    assert OPTIONS[flag].written(given) == wire


def test_options_win_over_data_and_leave_it_alone() -> None:
    data = {"userId": "a", "inner": {"size": 1, "parent": None}}

    wire, faults = to_wire(OPTIONS.values(), {"--user-id": "b", "--inner.size": "2"}, data)

    assert faults == []
    assert wire == {"userId": "b", "inner": {"size": 2, "parent": None}}
    assert data["inner"] == {"size": 1, "parent": None}


@pytest.mark.parametrize(
    ("path", "flag"),
    [
        ("userId", "--user-id"),
        ("inner.size", "--inner.size"),
        ("inners[2].size", "--inners[2].size"),
        ("inner.parent.size", "--inner.parent.size"),
        ("userIdentity", "userIdentity"),
        ("", ""),
    ],
)
def test_faults_name_the_option(path: str, flag: str) -> None:
    rename = by_flag(OPTIONS.values())

    assert rename(Fault(path, "wrong")) == Fault(flag, "wrong")


def test_every_option_is_another_parameter() -> None:
    options: list[PayloadOption] = list(OPTIONS.values())

    assert len({option.parameter for option in options}) == len(options)

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import attrs
import orjson
import pytest
from attrs import validators
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Context, subtype
from cgjobs.codec import Codec
from cgjobs.errors import InvalidPayload
from cgjobs.schema import json_schema

CODEC = Codec()


class Format(enum.StrEnum):
    HTML = "html"
    CSV = "csv"


@attrs.frozen
class Period:
    """From when to when.

    Args:
        start: The first moment.
    """

    start: datetime
    parts: tuple[Period, ...] = ()


@attrs.frozen
class Usage:
    """What to report.

    Args:
        user_id: Who asked,
            as a ULID.
        max_age: How far to look back.
    """

    user_id: str = attrs.field(validator=validators.matches_re(r"[0-9A-Z]{3}"))
    period: Period | Literal["last_month"]
    max_age: timedelta = timedelta(days=90)
    top: int = attrs.field(default=10, validator=validators.and_(validators.ge(1), validators.lt(100)))
    share: float | None = attrs.field(
        default=None, validator=validators.optional([validators.gt(0), validators.le(1)])
    )
    formats: frozenset[Format] = attrs.field(
        default=frozenset({Format.HTML}), validator=validators.min_len(1)
    )
    zone: str | None = attrs.field(
        default=None, validator=validators.optional(validators.in_(["UTC", "CET"]))
    )
    notify: tuple[str, ...] = attrs.field(
        factory=tuple,
        validator=validators.deep_iterable(validators.max_len(5), iterable_validator=validators.max_len(2)),
    )
    labels: dict[str, int] = attrs.field(factory=dict, validator=validators.max_len(2))
    compare: bool = True
    key: str = attrs.field(default="s3cret", repr=False)


@subtype("report.usage")
def usage(payload: Usage, ctx: Context) -> None:
    """Report who used what."""


SCHEMA = json_schema(usage)
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value fits, by as much of JSON Schema as our schemas use."""
    return all(_rule_holds(keyword, rule, value, schema) for keyword, rule in schema.items())


def _rule_holds(keyword: str, rule: Any, value: Any, schema: dict[str, Any]) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "$ref":
            return fits(value, SCHEMA["$defs"][rule.removeprefix("#/$defs/")])
        case "type":
            names = [rule] if isinstance(rule, str) else rule
            return any(type(value) in TYPES[name] for name in names)
        case "const":
            return value == rule
        case "enum":
            return value in rule
        case "anyOf":
            return any(fits(value, each) for each in rule)
        case "allOf":
            return all(fits(value, each) for each in rule)
        case "pattern" if isinstance(value, str):
            return bool(re.search(rule, value))
        case "maxLength" if isinstance(value, str):
            return len(value) <= rule
        case "maxItems" if isinstance(value, list):
            return len(value) <= rule
        case "minItems" if isinstance(value, list):
            return len(value) >= rule
        case "maxProperties" if isinstance(value, dict):
            return len(value) <= rule
        case "uniqueItems" if isinstance(value, list):
            return len({orjson.dumps(item) for item in value}) == len(value)
        case "items" if isinstance(value, list):
            return all(fits(item, rule) for item in value)
        case "minimum" if is_number:
            return value >= rule
        case "exclusiveMinimum" if is_number:
            return value > rule
        case "maximum" if is_number:
            return value <= rule
        case "exclusiveMaximum" if is_number:
            return value < rule
        case "required" if isinstance(value, dict):
            return all(name in value for name in rule)
        case "properties" if isinstance(value, dict):
            return all(fits(item, rule[name]) for name, item in value.items() if name in rule)
        case "additionalProperties" if isinstance(value, dict):
            others = [item for name, item in value.items() if name not in schema.get("properties", {})]
            return not others if rule is False else all(fits(item, rule) for item in others)
        case "format" if isinstance(value, str) and rule == "date-time":
            return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value))
    return True


GOOD: dict[str, Any] = {"type": "usage", "userId": "U01", "period": "last_month"}


def test_a_schema_names_its_dialect_subtype_and_handler() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "report.usage"
    assert SCHEMA["description"] == "Report who used what."
    assert SCHEMA["properties"]["type"] == {"const": "usage"}
    assert SCHEMA["required"] == ["userId", "period"]
    assert SCHEMA["additionalProperties"] is False
    assert list(orjson.loads(orjson.dumps(SCHEMA))) == list(SCHEMA)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        (
            "userId",
            {"type": "string", "pattern": "^(?:[0-9A-Z]{3})$", "description": "Who asked, as a ULID."},
        ),
        ("period", {"anyOf": [{"enum": ["last_month"]}, {"$ref": "#/$defs/Period"}]}),
        ("top", {"type": "integer", "minimum": 1, "exclusiveMaximum": 100, "default": 10}),
        ("share", {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1, "default": None}),
        (
            "formats",
            {
                "type": "array",
                "items": {"enum": ["html", "csv"]},
                "uniqueItems": True,
                "minItems": 1,
                "default": ["html"],
            },
        ),
        ("zone", {"type": ["string", "null"], "enum": ["UTC", "CET", None], "default": None}),
        (
            "notify",
            {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 2, "default": []},
        ),
        (
            "labels",
            {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "maxProperties": 2,
                "default": {},
            },
        ),
        ("compare", {"type": "boolean", "default": True}),
        ("key", {"type": "string", "writeOnly": True}),
    ],
)
def test_a_field_has_its_type_its_rules_its_default_and_its_help(name: str, schema: dict[str, Any]) -> None:
    assert SCHEMA["properties"][name] == schema


def test_a_duration_is_a_string_with_a_pattern_and_examples() -> None:
    duration = SCHEMA["properties"]["maxAge"]

    assert duration["type"] == "string"
    assert duration["default"] == "90d"
    assert all(fits(example, duration) for example in [*duration["examples"], "1h30m", "P30D", "PT1.5H"])
    assert not any(fits(text, duration) for text in ["", "90", "d", "P", "PT", "-1d", "1s1h"])


def test_a_class_that_contains_itself_is_defined_once() -> None:
    assert SCHEMA["$defs"] == {
        "Period": {
            "description": "From when to when.",
            "type": "object",
            "properties": {
                "start": {"type": "string", "format": "date-time", "description": "The first moment."},
                "parts": {"type": "array", "items": {"$ref": "#/$defs/Period"}, "default": []},
            },
            "required": ["start"],
            "additionalProperties": False,
        }
    }


def test_what_is_dumped_fits_the_schema() -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    payload = Usage("U01", Period(moment, (Period(moment),)), share=0.5, notify=("a",), labels={"a": 1})

    assert fits(CODEC.dump(usage, payload), SCHEMA)


VALUES: dict[str, list[Any]] = {
    "type": ["usage", "audit", None],
    "userId": ["U01", "u01", 1, None],
    "period": ["last_month", "last_week", {"start": "2026-01-31T00:00:00Z"}, {"start": 1}, {}, {"begin": 1}],
    "maxAge": ["30d", "1h30m", "P30D", "30", 30, None],
    "top": [1, 99, 0, 100, 1.5, True, "7"],
    "share": [None, 1, 0.5, 0, 2, True],
    "formats": [["csv"], ["csv", "html"], ["csv", "csv"], [], ["pdf"], "csv"],
    "zone": [None, "UTC", "EST"],
    "notify": [[], ["a", "b"], ["a", "b", "c"], ["abcdef"], [1]],
    "labels": [{}, {"a": 1}, {"a": "1"}, {"a": 1, "b": 2, "c": 3}],
    "compare": [True, 1, "true"],
    "key": ["x", 1],
    "user_id": ["U01"],
}


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}))
def test_the_codec_and_the_schema_agree(changes: dict[str, Any]) -> None:
    for wire in ({**GOOD, **changes}, changes):
        assert _is_loaded(wire) == fits(wire, SCHEMA)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in VALUES for value in VALUES[name]])
def test_the_codec_and_the_schema_agree_on_each_value(name: str, value: Any) -> None:
    wire = {**GOOD, name: value}

    assert _is_loaded(wire) == fits(wire, SCHEMA)


def _is_loaded(wire: dict[str, Any]) -> bool:
    try:
        CODEC.load(usage, wire)
    except InvalidPayload:
        return False
    return True


@attrs.frozen
class Rules:
    """Rules of the less usual kinds."""

    begins: str = attrs.field(validator=validators.matches_re(r"[a-z]", func=re.match))
    holds: str = attrs.field(validator=validators.matches_re(r"[0-9]", func=re.search))
    loud: str = attrs.field(validator=validators.matches_re(r"[a-z]", re.IGNORECASE))
    letter: str = attrs.field(validator=validators.in_("abc"))
    even: int = attrs.field(validator=[validators.ge(0), validators.in_([0, "two"])])
    both: str = attrs.field(
        validator=[validators.matches_re(r"a.*"), validators.matches_re(r".*b")], default="ab"
    )
    copied: str = attrs.field(default=attrs.Factory(lambda self: self.begins, takes_self=True))


@subtype("report.rules")
def rules(payload: Rules, ctx: Context) -> None:
    """Obey rules."""


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("begins", {"type": "string", "pattern": "^(?:[a-z])"}),
        ("holds", {"type": "string", "pattern": "[0-9]"}),
        ("loud", {"type": "string"}),
        ("letter", {"type": "string"}),
        ("even", {"type": "integer", "minimum": 0}),
        (
            "both",
            {
                "type": "string",
                "pattern": "^(?:a.*)$",
                "allOf": [{"pattern": "^(?:.*b)$"}],
                "default": "ab",
            },
        ),
        ("copied", {"type": "string"}),
    ],
)
def test_a_rule_is_told_as_far_as_json_schema_can_and_never_narrower(
    name: str, schema: dict[str, Any]
) -> None:
    assert json_schema(rules)["properties"][name] == schema


def nested() -> tuple[type, type]:
    @attrs.frozen
    class Place:
        """Where."""

        city: str

    first = Place

    @attrs.frozen
    class Place:  # type: ignore[no-redef]
        zip: str

    return first, Place


def test_two_nested_classes_of_one_name_have_a_definition_each() -> None:
    first, second = nested()
    payload = attrs.make_class("Move", {"start": attrs.field(type=first), "end": attrs.field(type=second)})

    def move(payload: Any, ctx: Context) -> None:
        """Move."""

    move.__annotations__["payload"] = payload
    definitions = json_schema(subtype("report.move")(move))["$defs"]

    assert len(definitions) == 2
    assert [list(each["properties"]) for each in definitions.values()] == [["city"], ["zip"]]

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import attrs
import orjson
import pytest
from attrs import validators
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Context, subtype
from cgjobs.codec import Codec, Envelope, Unreadable, field_help
from cgjobs.config import LimitConfig
from cgjobs.errors import InvalidPayload, PayloadTooLarge

CODEC = Codec()
SECRET = "hunter2-hunter2"
UserId = NewType("UserId", str)


class Urgency(enum.StrEnum):
    LOW = "low"
    HIGH = "high"


class Level(enum.IntEnum):
    ONE = 1
    TWO = 2


@attrs.frozen
class Message:
    """What is said.

    Args:
        title: In one line.
        body: The rest,
            on as many lines as it takes.
    """

    title: str
    body: str = ""


@attrs.frozen
class Recipient:
    email: str = attrs.field(validator=validators.matches_re(r"[^@\s]+@[^@\s]+"))
    from_: str | None = None


@attrs.frozen
class Email:
    user_id: str = attrs.field(validator=validators.min_len(1))
    message: str | Message
    recipients: tuple[Recipient, ...] = ()
    retries: int = attrs.field(default=3, validator=[validators.ge(0), validators.le(9)])
    token: str | None = attrs.field(
        default=None, repr=False, validator=validators.optional(validators.max_len(20))
    )


@subtype("notification.email")
def email(payload: Email, ctx: Context) -> None:
    """Send one mail."""


@attrs.frozen
class Rich:
    text: str
    number: int
    ratio: float
    flag: bool
    nothing: None
    at: datetime
    day: date
    age: timedelta
    path: Path
    price: Decimal
    key: UUID
    blob: bytes
    urgency: Urgency
    level: Level
    mode: Literal["fast", "slow", 3, True]
    message: str | Message | None
    window: timedelta | Literal["forever"]
    size: int | float | None
    lines: list[str]
    pairs: tuple[tuple[int, ...], ...]
    people: Sequence[Message]
    labels: dict[str, str | int]
    nested: Mapping[str, list[Message]]
    words: frozenset[str]
    days: set[date]


@subtype("report.rich")
def rich(payload: Rich, ctx: Context) -> None:
    """Everything that a payload may contain."""


@attrs.frozen
class Tree:
    name: str
    children: tuple[Tree, ...] = ()


@subtype("report.tree")
def tree(payload: Tree, ctx: Context) -> None:
    """A class that contains itself."""


text = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
# Whole seconds: Python 3.11's datetime.fromisoformat reads an offset of less than a second as UTC.
zones = st.integers(-23 * 3600, 23 * 3600).map(lambda seconds: timezone(timedelta(seconds=seconds)))
durations = st.timedeltas(timedelta(0), timedelta(days=200_000))
messages = st.builds(Message, text, text)
rich_payloads = st.builds(
    Rich,
    text=text,
    number=integers,
    ratio=floats,
    flag=st.booleans(),
    nothing=st.none(),
    at=st.datetimes(timezones=zones),
    day=st.dates(),
    age=durations,
    path=text.map(Path),
    price=st.decimals(allow_nan=False, allow_infinity=False),
    key=st.uuids(),
    blob=st.binary(),
    urgency=st.sampled_from(Urgency),
    level=st.sampled_from(Level),
    mode=st.sampled_from(["fast", "slow", 3, True]),
    message=text | messages | st.none(),
    window=durations | st.just("forever"),
    size=integers | floats | st.none(),
    lines=st.lists(text),
    pairs=st.lists(st.lists(integers).map(tuple)).map(tuple),
    people=st.lists(messages).map(tuple),
    labels=st.dictionaries(text, text | integers),
    nested=st.dictionaries(text, st.lists(messages, max_size=3), max_size=3),
    words=st.frozensets(text),
    days=st.sets(st.dates()),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def faults_of(error: pytest.ExceptionInfo[InvalidPayload]) -> list[str]:
    return [str(fault) for fault in error.value.faults]


@given(rich_payloads)
def test_every_payload_survives_the_wire(payload: Rich) -> None:
    wire = CODEC.dump(rich, payload)

    assert CODEC.load(rich, orjson.loads(orjson.dumps(wire))) == payload
    assert CODEC.unpack(CODEC.pack("report.rich", wire, "c")).payload == wire


def test_fields_are_written_in_camel_case_after_the_type() -> None:
    wire = CODEC.dump(email, Email("u1", Message("Hi"), (Recipient("a@b", from_="c"),)))

    assert list(wire.items()) == [
        ("type", "email"),
        ("userId", "u1"),
        ("message", {"title": "Hi", "body": ""}),
        ("recipients", [{"email": "a@b", "from": "c"}]),
        ("retries", 3),
    ]


def test_a_wire_name_can_be_given() -> None:
    @attrs.frozen
    class Named:
        sender: str = attrs.field(metadata={"wire": "from"})

    assert CODEC.dump(_subtype_of(Named), Named("me")) == {"type": "thing", "from": "me"}


def _subtype_of(cls: type) -> Any:
    def handler(payload: Any, ctx: Any) -> None:
        """Nothing."""

    handler.__annotations__ = {"payload": cls, "ctx": Context, "return": None}
    return subtype("test.thing")(handler)


def test_a_set_is_written_sorted() -> None:
    @attrs.frozen
    class Words:
        words: frozenset[str]

    assert CODEC.dump(_subtype_of(Words), Words(frozenset("cab")))["words"] == ["a", "b", "c"]


def test_wrong_types_in_a_python_payload_are_found_all_at_once() -> None:
    payload: Any = Email.__new__(Email)
    for name, value in {
        "user_id": 7,
        "message": Message(title=None),  # type: ignore[arg-type]
        "recipients": [Recipient("a@b"), "c@d"],
        "retries": True,
        "token": b"x",
    }.items():
        object.__setattr__(payload, name, value)

    with pytest.raises(InvalidPayload) as error:
        CODEC.dump(email, payload)

    assert faults_of(error) == [
        "userId: expected a string, got the number 7",
        "message.title: expected a string, got null",
        "recipients[1]: expected an instance of Recipient, got the string 'c@d'",
        "retries: expected an integer, got true",
        "token: expected a string or null; the value is secret and not shown",
    ]


def test_a_payload_of_another_class_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="expected an instance of Email, got a Python Message"):
        CODEC.dump(email, Message("Hi"))


def test_validators_run_again_when_a_payload_is_dumped() -> None:
    payload = Email("u1", "Hi")
    object.__setattr__(payload, "retries", 99)

    with pytest.raises(InvalidPayload) as error:
        CODEC.dump(email, payload)

    assert faults_of(error) == ["retries: must be <= 9: 99"]


def test_every_fault_of_a_wire_payload_is_named_by_its_wire_name() -> None:
    wire = {
        "type": "sms",
        "user_id": "u1",
        "mesage": "Hi",
        "recipients": [{"email": "a@b"}, {"email": "nobody"}, {"mail": 3}],
        "retries": "7",
        "token": SECRET * 2,
    }

    with pytest.raises(InvalidPayload) as error:
        CODEC.load(email, wire)

    assert error.value.what == "the payload of notification.email"
    assert faults_of(error) == [
        "type: expected 'email', got the string 'sms'",
        "userId: missing",
        "message: missing",
        "recipients[1].email: must match regex '[^@\\\\s]+@[^@\\\\s]+' ('nobody' doesn't)",
        "recipients[2].email: missing",
        "recipients[2].mail: unknown field; did you mean 'email'?",
        "retries: expected an integer, got the string '7'",
        "user_id: unknown field; did you mean 'userId'?",
        "mesage: unknown field; did you mean 'message'?",
        "token: refused by its validator; the value is secret and not shown",
    ]
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("number", True, "expected an integer, got true"),
        ("number", 7.0, "expected an integer, got the number 7.0"),
        ("number", 2**63, "an integer must fit into 64 bits"),
        ("number", "x" * 99, f"expected an integer, got the string '{'x' * 39}…'"),
        ("ratio", float("nan"), "expected a finite number, got the number nan"),
        ("ratio", 10**400, "expected a finite number, got an integer of more than 64 bits"),
        ("flag", 1, "expected true or false, got the number 1"),
        ("nothing", 0, "expected null, got the number 0"),
        (
            "at",
            "2026-01-31",
            "the string '2026-01-31' has no offset from UTC; append Z, or one as +01:00",
        ),
        ("at", 7, "expected a date and time such as 2026-01-31T12:00:00Z, got the number 7"),
        ("day", "2026-02-30", "expected a date such as 2026-01-31, got the string '2026-02-30'"),
        ("age", 90, "90 has no unit; write 90d, 90h, 90m or 90s"),
        ("age", "90", "90 has no unit; write 90d, 90h, 90m or 90s"),
        ("age", [], "expected a duration such as 90s, 12h or 30d, got an array"),
        ("price", "1,5", "expected a decimal number in a string, got the string '1,5'"),
        ("price", 1.5, "expected a decimal number in a string, got the number 1.5"),
        ("key", "{}", "expected a UUID, got the string '{}'"),
        ("blob", "%%", "expected Base64, got the string '%%'"),
        ("urgency", "hgh", "expected one of 'low', 'high', got the string 'hgh'; did you mean 'high'?"),
        ("level", True, "expected one of 1, 2, got true"),
        ("mode", 1, "expected one of 'fast', 'slow', 3, true, got the number 1"),
        ("message", [], "expected a string or an object or null, got an array"),
        ("window", "1", "expected 'forever' or a duration such as 90s, 12h or 30d, got the string '1'"),
        ("lines", {}, "expected an array, got an object"),
        ("labels", [], "expected an object, got an array"),
        ("labels", {1: "a"}, "expected an object whose keys are strings"),
        ("words", ["a", "a"], "an item is there twice"),
    ],
)
def test_a_wrong_value_is_refused_and_shown(field: str, value: object, fault: str) -> None:
    wire = CODEC.dump(rich, RICH) | {field: value}

    with pytest.raises(InvalidPayload) as error:
        CODEC.load(rich, wire)

    assert faults_of(error) == [f"{field}: {fault}"]


RICH = Rich(
    text="a",
    number=1,
    ratio=1.0,
    flag=True,
    nothing=None,
    at=datetime(2026, 1, 31, tzinfo=UTC),
    day=date(2026, 1, 31),
    age=timedelta(days=1),
    path=Path("a"),
    price=Decimal(1),
    key=UUID(int=1),
    blob=b"",
    urgency=Urgency.LOW,
    level=Level.ONE,
    mode="fast",
    message=None,
    window="forever",
    size=None,
    lines=[],
    pairs=(),
    people=(),
    labels={},
    nested={},
    words=frozenset(),
    days=set(),
)


def test_an_integer_is_taken_for_a_float() -> None:
    loaded = CODEC.load(rich, CODEC.dump(rich, RICH) | {"ratio": 2})

    assert isinstance(loaded.ratio, float)


def test_what_is_not_a_mapping_is_no_payload() -> None:
    with pytest.raises(InvalidPayload, match="expected an object, got an array"):
        CODEC.load(email, [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"at": datetime(2026, 1, 31)}, "at: the date and time has no time zone"),  # noqa: DTZ001
        ({"day": datetime(2026, 1, 31, tzinfo=UTC)}, "day: expected a date such as"),
        ({"age": timedelta(-1)}, "age: -1 day, 0:00:00 is negative"),
        ({"price": Decimal("NaN")}, "price: expected a decimal number"),
        ({"urgency": "low"}, "urgency: expected one of"),
        ({"words": ["a"]}, "words: expected an array"),
        ({"size": True}, "size: expected an integer or null or a finite number, got true"),
        ({"labels": {"k": None}}, "labels.k: expected a string or an integer"),
        ({"pairs": ((1,), (2, "3"))}, r"pairs\[1\]\[1\]: expected an integer"),
    ],
)
def test_a_value_that_would_not_survive_the_wire_is_refused_before(changes: Any, fault: str) -> None:
    with pytest.raises(InvalidPayload, match=fault):
        CODEC.dump(rich, attrs.evolve(RICH, **changes))


def test_a_member_of_an_enum_that_is_a_string_is_written_as_a_bare_string() -> None:
    wire = CODEC.dump(rich, attrs.evolve(RICH, text=Urgency.LOW, number=Level.TWO))

    assert [type(wire[name]) for name in ("text", "number")] == [str, int]


def test_an_annotation_may_have_another_name() -> None:
    @attrs.frozen
    class Named:
        user: Annotated[UserId, "whose"]

    assert CODEC.load(_subtype_of(Named), {"user": "u1"}) == Named(UserId("u1"))


def test_a_rule_between_fields_waits_until_both_are_there() -> None:
    @attrs.frozen
    class Span:
        first: int
        last: int = attrs.field()

        @last.validator
        def _after(self, attribute: object, value: int) -> None:
            if value < self.first:
                raise ValueError(f"must be {self.first} or later")

    span = _subtype_of(Span)

    for wire, fault in ({"last": 1}, "first: missing"), ({"first": 2, "last": 1}, "last: must be 2 or later"):
        with pytest.raises(InvalidPayload) as error:
            CODEC.load(span, wire)
        assert faults_of(error) == [fault]


def test_rules_across_fields_are_reported_without_a_path() -> None:
    @attrs.frozen
    class Span:
        first: int
        last: int

        def __attrs_post_init__(self) -> None:
            if self.last < self.first:
                raise ValueError("last is before first")

    with pytest.raises(InvalidPayload) as error:
        CODEC.load(_subtype_of(Span), {"first": 2, "last": 1})

    assert faults_of(error) == ["last is before first"]


def test_a_rule_across_fields_cannot_tell_a_secret() -> None:
    @attrs.frozen
    class Login:
        password: str = attrs.field(metadata={"secret": True})

        def __attrs_post_init__(self) -> None:
            raise ValueError(f"{self.password} is weak")

    with pytest.raises(InvalidPayload) as error:
        CODEC.load(_subtype_of(Login), {"password": SECRET})

    assert SECRET not in str(error.value)


@given(json_values)
def test_no_error_contains_a_secret(value: Any) -> None:
    with pytest.raises(InvalidPayload) as error:
        CODEC.load(email, {"token": [SECRET, value, {SECRET: SECRET}]})

    assert SECRET not in str(error.value)


def test_a_payload_may_be_as_large_as_the_limit_and_no_larger() -> None:
    size = len(orjson.dumps(CODEC.dump(email, Email("u", ""))))

    Codec(LimitConfig(payload_bytes=size)).dump(email, Email("u", ""))
    with pytest.raises(PayloadTooLarge, match="bytes are more than the limit"):
        Codec(LimitConfig(payload_bytes=size - 1)).dump(email, Email("u", ""))


def test_a_payload_may_be_as_deep_as_the_limit_and_no_deeper() -> None:
    four = Tree("[{", (Tree("[{"),))  # object, array, object, array

    Codec(LimitConfig(payload_depth=4)).dump(tree, four)
    with pytest.raises(PayloadTooLarge, match="more than 3 levels"):
        Codec(LimitConfig(payload_depth=3)).dump(tree, four)


def test_a_bottomless_payload_is_too_large() -> None:
    deep = Tree("leaf")
    wire: dict[str, Any] = {"name": "leaf"}
    for _ in range(2_000):
        deep, wire = Tree("t", (deep,)), {"name": "t", "children": [wire]}

    with pytest.raises(PayloadTooLarge):
        CODEC.dump(tree, deep)
    with pytest.raises(PayloadTooLarge):
        CODEC.load(tree, wire)


def test_many_faults_are_listed_up_to_a_bound() -> None:
    with pytest.raises(InvalidPayload) as error:
        CODEC.load(
            tree, {"name": "t", "children": list(range(10_000)), **{f"x{i}": 1 for i in range(10_000)}}
        )

    assert 50 <= len(error.value.faults) <= 200


def test_half_a_surrogate_pair_is_named_by_its_field() -> None:
    with pytest.raises(InvalidPayload) as error:
        CODEC.dump(email, Email("u", Message("\ud800")))

    assert [fault.path for fault in error.value.faults] == ["message.title"]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (complex, "no form on the wire"),
        (object, "no form on the wire"),
        (dict[int, str], "no form on the wire"),
        (tuple[int, str], "no form on the wire"),
        (list, "no form on the wire"),
        (None.__class__ | list[complex], "no form on the wire"),
        (Message | Recipient, "mistaken for each other"),
        (str | datetime, "mistaken for each other"),
        (Urgency | str, "mistaken for each other"),
        (set[list[int]], "hashable"),
        (enum.Enum("Odd", {"A": 1.5}), "strings, integers, booleans or None"),
    ],
)
def test_a_field_without_a_wire_form_is_refused_by_name(annotation: Any, reason: str) -> None:
    Odd = attrs.make_class("Odd", {"when": attrs.field(type=annotation)}, frozen=True)  # noqa: N806

    with pytest.raises(TypeError, match=rf"field 'when' of Odd is a .*{reason}"):
        CODEC.check(_subtype_of(Odd))


def test_fields_with_the_same_wire_name_are_refused() -> None:
    Twice = attrs.make_class("Twice", {"a_b": attrs.field(type=int), "aB": attrs.field(type=int)})  # noqa: N806

    with pytest.raises(TypeError, match="'a_b' and 'aB' of Twice are both 'aB'"):
        CODEC.check(_subtype_of(Twice))


def test_a_field_named_type_is_refused() -> None:
    Typed = attrs.make_class("Typed", {"type_": attrs.field(type=str)})  # noqa: N806

    with pytest.raises(TypeError, match="'type' on the wire"):
        CODEC.check(_subtype_of(Typed))


def test_a_description_is_short_and_hides_secrets() -> None:
    wire = CODEC.dump(email, Email("u1", "x" * 100, (Recipient("a@b"),), token=SECRET))

    assert CODEC.describe(email, wire) == (
        f"notification.email(userId='u1', message='{'x' * 39}…', recipients=[1], retries=3, token=********)"
    )
    assert len(CODEC.describe(rich, CODEC.dump(rich, RICH))) <= 200


def test_the_description_of_each_field_is_read_from_the_docstring() -> None:
    assert field_help(Message) == {
        "title": "In one line.",
        "body": "The rest, on as many lines as it takes.",
    }
    assert field_help(Email) == {}


def test_a_result_is_written_as_json() -> None:
    result = {
        "who": Email("u1", "Hi"),
        "took": timedelta(seconds=1.5),
        "at": {Path("b"), Path("a")},
        "n": Level.TWO,
    }

    assert orjson.loads(CODEC.dump_result(result)) == {
        "who": {"userId": "u1", "message": "Hi", "recipients": [], "retries": 3, "token": None},
        "took": "1s500ms",
        "at": ["a", "b"],
        "n": 2,
    }
    assert CODEC.dump_result(None) == b"null"


def test_a_result_that_is_no_json_is_refused_with_all_faults() -> None:
    with pytest.raises(InvalidPayload) as error:
        CODEC.dump_result({"a": [1j], "b": float("inf"), "c": {1: 2}}, "the result of report.usage")

    assert str(error.value).splitlines() == [
        "the result of report.usage: 3 faults",
        "  a[0]: a Python complex has no form on the wire",
        "  b: expected a finite number, got the number inf",
        "  c: expected an object whose keys are strings",
    ]


def test_a_result_that_is_too_large_or_bottomless_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(PayloadTooLarge):
        Codec(LimitConfig(result_bytes=10)).dump_result("x" * 20)
    with pytest.raises(PayloadTooLarge):
        CODEC.dump_result(endless)


def call(
    *, function: Any = "cgjobs.perform", instance: Any = None, keywords: Any = None, **changes: Any
) -> bytes:
    envelope = {"v": 1, "name": "a.b", "payload": {}, "correlationId": "c"} | changes
    return json.dumps([function, instance, [envelope], keywords or {}]).encode()


def _beginning(data: bytes) -> str:
    return data[:40].decode("latin-1")


def test_a_call_is_what_the_json_serializer_of_rq_writes() -> None:
    packed = CODEC.pack("a.b", {"type": "b", "n": 1}, "c")

    assert json.loads(packed) == json.loads(call(payload={"type": "b", "n": 1}))
    assert b" " not in packed


@pytest.mark.parametrize("pack", [bytes, zlib.compress])
def test_a_call_written_by_rq_is_read(pack: Any) -> None:
    assert CODEC.unpack(pack(call(payload={"n": 2**63 - 1}))) == Envelope("a.b", {"n": 2**63 - 1}, "c", 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04N.",  # a pickle
        b"x",
        b"[1, 2, 3, 4]",
        call(function="os.system"),
        call(instance=1),
        call(keywords={"a": 1}),
        call(v=2),
        call(v=True),
        call(v=1.0),
        call(name="a"),
        call(name="a.b\n"),
        call(name=["a.b"]),
        call(payload=[]),
        call(correlationId=None),
        call(extra=1),
        json.dumps(["cgjobs.perform", None, [], {}]).encode(),
        json.dumps(["cgjobs.perform", None, [{}, {}], {}]).encode(),
        call(payload={"n": 2**63}),
        call().replace(b'"payload": {}', b'"payload": {"n": ' + b"9" * 5000 + b"}"),
        call(payload={"n": float("nan")}),
        call().replace(b'"payload": {}', b'"payload": {"a": 1, "a": 2}'),
        call().replace(b'"payload": {}', b'"payload": {"n": 1e999}'),
        call(payload={"a": json.loads("[" * 40 + "]" * 40)}),
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
        zlib.compress(call())[:-1],
        zlib.compress(call()) + b"x",
        zlib.compress(b"\x80\x04N."),
        call(payload={"a": "x" * 300_000}),
    ],
    ids=_beginning,
)
def test_what_is_no_call_of_ours_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        CODEC.unpack(data)


def test_a_zip_bomb_is_not_inflated() -> None:
    bomb = zlib.compress(b" " * 50_000_000)

    with pytest.raises(Unreadable, match="larger than the limit"):
        CODEC.unpack(bomb)


@given(st.binary() | st.binary().map(zlib.compress) | st.binary().map(lambda data: b"x\x9c" + data))
def test_arbitrary_bytes_are_unreadable_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(Unreadable):
        CODEC.unpack(data)


@given(st.lists(json_values, max_size=5) | json_values, json_values)
def test_arbitrary_json_is_unreadable_and_nothing_worse(value: Any, part: Any) -> None:
    changed = [json.loads(call(name=part)), json.loads(call(v=part))]
    calls: list[Any] = [value, ["cgjobs.perform", None, [value], {}], *changed]

    for data in calls:
        if data != json.loads(call()):
            with pytest.raises(Unreadable):
                CODEC.unpack(json.dumps(data).encode())


def test_the_reason_for_being_unreadable_never_contains_the_content() -> None:
    for data in (
        call(function=SECRET),
        call(name=SECRET),
        call(extra=SECRET),
        SECRET.encode(),
        call(v=SECRET),
    ):
        with pytest.raises(Unreadable) as error:
            CODEC.unpack(data)
        assert SECRET not in str(error.value)

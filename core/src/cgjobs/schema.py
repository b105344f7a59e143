"""The JSON Schema (2020-12) of a payload: what `Codec.load` accepts, for forms, clients and documentation.

Rules that no schema can say (validators that are functions, bounds of dates and durations) are left out, so
that the schema may accept what `Codec.load` refuses, and not the other way round.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from attrs import validators

from cgjobs.codec import field_help
from cgjobs.subtype import Subtype
from cgjobs.wire.form import Array, Choice, Form, OneOf, Table
from cgjobs.wire.record import Field, Record, payload_form
from cgjobs.wire.scalar import SCALARS, Refusal, Scalar

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Json = dict[str, Any]


def json_schema(subtype: Subtype[Any, Any]) -> Json:
    """The schema of a subtype's payload on the wire.

    Nested classes are in ``$defs``; secret fields are ``writeOnly`` and their defaults are not given.

    Raises:
        TypeError: A field has no wire form, see `Codec.check`.
    """
    definitions = _Definitions()
    own = definitions.object(payload_form(subtype.payload))
    own["properties"] = {"type": {"const": subtype.kind}, **own["properties"]}
    schema = {"$schema": DIALECT, "title": subtype.name, "description": subtype.summary, **own}
    if subtype.version != 1:
        schema["x-payload-version"] = subtype.version  # an annotation: no validator looks at it
    return schema | ({"$defs": definitions.by_name} if definitions.by_name else {})


class _Definitions:
    """The schemas of nested classes, each made once: a class may contain itself."""

    def __init__(self) -> None:
        self.by_name: dict[str, Json] = {}
        self._names: dict[type, str] = {}

    def object(self, form: Record) -> Json:
        """The schema of an attrs class."""
        texts = field_help(form.cls)
        return {
            "type": "object",
            "properties": {
                field.name: self._field(field, texts.get(field.attribute.name, "")) for field in form.fields
            },
            "required": [field.name for field in form.fields if field.required],
            "additionalProperties": False,
        }

    def _field(self, field: Field, description: str) -> Json:
        schema = _merged([self._of(field.form), _rules(field.attribute.validator, field.form)])
        if description:
            schema["description"] = description
        if field.secret:
            schema["writeOnly"] = True
        elif not field.required:
            with contextlib.suppress(Refusal, _Unknown):
                schema["default"] = field.form.dump(_default(field.attribute.default))
        return schema

    def _of(self, form: Form) -> Json:
        match form:
            case Scalar(schema=schema):
                return dict(schema)
            case Choice(values=values):
                return {"enum": [wire for wire, _ in values]}
            case Array(item=item):
                return {"type": "array", "items": self._of(item)} | (
                    {"uniqueItems": True} if form.distinct else {}
                )
            case Table(value=value):
                return {"type": "object", "additionalProperties": self._of(value)}
            case OneOf(forms=forms):
                return _any_of([self._of(each) for each in forms])
            case Record():
                return {"$ref": f"#/$defs/{self._name(form)}"}
        raise TypeError(f"no schema for {form!r}")

    def _name(self, form: Record) -> str:
        if form.cls not in self._names:
            name = form.cls.__name__
            if name in self.by_name:
                name = f"{form.cls.__module__}.{form.cls.__qualname__}"
            self._names[form.cls] = name
            self.by_name[name] = {}  # taken before the fields are looked at
            first_line = (inspect.getdoc(form.cls) or "").partition("\n")[0]
            self.by_name[name] |= self.object(form) | ({"description": first_line} if first_line else {})
        return self._names[form.cls]


class _Unknown(Exception):
    """A default that depends on the instance."""


def _default(default: Any) -> Any:
    if not isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default
    if default.takes_self:
        raise _Unknown
    return default.factory()


def _any_of(schemas: list[Json]) -> Json:
    if all(schema.keys() == {"type"} for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    return {"anyOf": schemas}


def _rules(validator: Any, form: Form) -> Json:
    """What an attrs validator demands. JSON Schema's keywords say nothing about values of other types."""
    fold = _FOLDS.get(type(validator))
    return fold(validator, form) if fold else {}


def _number(validator: Any, form: Form) -> Json:
    keyword = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}
    is_number = isinstance(validator.bound, int | float)  # durations and dates are strings on the wire
    return {keyword[validator.compare_op]: validator.bound} if is_number else {}


def _length(prefix: str, bound: str) -> Callable[[Any, Form], Json]:
    units = {"Length": SCALARS[str], "Items": Array, "Properties": Table}

    def fold(validator: Any, form: Form) -> Json:
        parts = form.forms if isinstance(form, OneOf) else (form,)
        return {
            f"{prefix}{unit}": getattr(validator, bound)
            for unit, kind in units.items()
            if any(part is kind or (isinstance(kind, type) and isinstance(part, kind)) for part in parts)
        }

    return fold


def _options(validator: Any, form: Form) -> Json:
    if isinstance(validator.options, str):  # there it means a part of that string
        return {}
    try:
        return {"enum": [form.dump(option) for option in validator.options]}
    except Refusal:
        return {}


def _pattern(validator: Any, form: Form) -> Json:
    pattern = validator.pattern
    if not isinstance(pattern.pattern, str) or pattern.flags & ~re.UNICODE:
        return {}
    text = pattern.pattern
    match validator.match_func.__name__:
        case "fullmatch":
            text = f"^(?:{text})$"
        case "match":
            text = f"^(?:{text})"
    return {"pattern": text}


def _optional(validator: Any, form: Form) -> Json:
    rules = _rules(validator.validator, form)
    return rules | ({"enum": [*rules["enum"], None]} if "enum" in rules else {})


def _items(validator: Any, form: Form) -> Json:
    parts = form.forms if isinstance(form, OneOf) else (form,)
    rules = _rules(validator.iterable_validator, form)
    for part in parts:
        if isinstance(part, Array) and (each := _rules(validator.member_validator, part.item)):
            rules = _merged([rules, {"items": each}])
    return rules


def _all(inner: Iterable[Any], form: Form) -> Json:
    return _merged(_rules(validator, form) for validator in inner)


def _merged(schemas: Iterable[Json]) -> Json:
    """One schema that demands what all of them demand."""
    merged: Json = {}
    for schema in schemas:
        for keyword, value in schema.items():
            present = merged.setdefault(keyword, value)
            if isinstance(present, dict) and isinstance(value, Mapping):
                merged[keyword] = _merged([present, dict(value)])
            elif present != value:
                merged["allOf"] = [*merged.get("allOf", []), {keyword: value}]
    return merged


_FOLDS: Mapping[type, Callable[[Any, Form], Json]] = {  # attrs gives the classes of its validators no name
    type(validators.ge(0)): _number,
    type(validators.max_len(0)): _length("max", "max_length"),
    type(validators.min_len(0)): _length("min", "min_length"),
    type(validators.in_([0])): _options,
    type(validators.matches_re("")): _pattern,
    type(validators.optional(validators.ge(0))): _optional,
    type(validators.and_()): lambda validator, form: _all(validator._validators, form),
    type(validators.deep_iterable(validators.ge(0))): _items,
}

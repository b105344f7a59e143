"""How simple values are put together: choices, arrays, tables and alternatives, each strict both ways."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, cast

import attrs
import orjson

from cgjobs.errors import Fault, suggest
from cgjobs.wire.scalar import SCALARS, Refusal, cut, expected, show

MOST_FAULTS = 50
"""An object or an array with this many faults is not looked at further."""


class Form(Protocol):
    """What the values of one annotation are on the wire."""

    @property
    def noun(self) -> str:
        """What the wire must have here, for people: ``an integer``."""

    @property
    def python(self) -> tuple[type, ...]:
        """The classes of its values in Python."""

    @property
    def json(self) -> tuple[type, ...]:
        """The classes of its values in JSON, as orjson reads it."""

    def dump(self, value: Any, /) -> Any:
        """From Python to the wire. Raises `Refusal`."""

    def load(self, value: Any, /) -> Any:
        """From the wire to Python. Raises `Refusal`."""


@attrs.frozen(eq=False)
class Choice:
    """One of some values: a ``Literal`` or an enum."""

    noun: str
    python: tuple[type, ...]
    values: tuple[tuple[Any, Any], ...]  # (wire, Python); a mapping would take True for 1
    literal: bool

    @property
    def json(self) -> tuple[type, ...]:
        """The classes of the values on the wire."""
        return tuple({type(wire) for wire, _ in self.values})

    def dump(self, value: Any) -> Any:
        """The wire value of a literal or a member."""
        for wire, member in self.values:
            if member.__class__ is value.__class__ and member == value:
                return wire
        raise expected(self.noun, value)

    def load(self, value: Any) -> Any:
        """The literal or member with this wire value."""
        for wire, member in self.values:
            if wire.__class__ is value.__class__ and wire == value:
                return member
        names = [wire for wire, _ in self.values if isinstance(wire, str)]
        close = suggest(value[:40], names) if isinstance(value, str) else None
        hint = f"; did you mean {close!r}?" if close else ""
        raise Refusal(Fault("", f"expected {self.noun}, got {show(value)}{hint}"))


@attrs.frozen(eq=False)
class Array:
    """Any number of items: a list, a tuple or a set. A set is written sorted."""

    noun: ClassVar[str] = "an array"
    json: ClassVar[tuple[type, ...]] = (list,)
    item: Form
    python: tuple[type, ...]
    build: Callable[[Iterable[Any]], Any]

    @property
    def distinct(self) -> bool:
        """Whether it is a set: no item may be there twice."""
        return self.build in (set, frozenset)

    def dump(self, value: Any) -> list[Any]:
        """A list of the items' wire forms."""
        if not isinstance(value, self.python):
            raise expected(self.noun, value)
        wire = each(self.item.dump, cast(Iterable[Any], value), itertools.count())
        return in_order(wire) if self.distinct else wire

    def load(self, value: Any) -> Any:
        """The items, in the collection that the annotation names."""
        if value.__class__ is not list:
            raise expected(self.noun, value)
        items = self.build(each(self.item.load, value, itertools.count()))
        if len(items) != len(value):
            raise Refusal(Fault("", "an item is there twice"))
        return items


@attrs.frozen(eq=False)
class Table:
    """Values by any string: ``dict[str, T]``."""

    noun: ClassVar[str] = "an object"
    json: ClassVar[tuple[type, ...]] = (dict,)
    python: ClassVar[tuple[type, ...]] = (Mapping,)
    value: Form

    def dump(self, value: Any) -> dict[str, Any]:
        """The values' wire forms by the same keys."""
        return self._convert(self.value.dump, value)

    def load(self, value: Any) -> dict[str, Any]:
        """The values by the same keys."""
        return self._convert(self.value.load, value)

    def _convert(self, convert: Callable[[Any], Any], value: Any) -> dict[str, Any]:
        if value.__class__ is not dict and not isinstance(value, Mapping):
            raise expected(self.noun, value)
        if any(key.__class__ is not str for key in value):
            raise Refusal(Fault("", "expected an object whose keys are strings"))
        return dict(zip(value, each(convert, value.values(), value), strict=True))


@attrs.frozen(eq=False)
class OneOf:
    """Several forms, no two of which can be mistaken for each other on the wire."""

    forms: tuple[Form, ...]
    _dumps: dict[type, list[Callable[[Any], Any]]] = attrs.field(factory=dict, init=False)
    _loads: dict[type, list[Callable[[Any], Any]]] = attrs.field(factory=dict, init=False)

    @property
    def noun(self) -> str:
        """All of its nouns."""
        return " or ".join(form.noun for form in self.forms)

    @property
    def python(self) -> tuple[type, ...]:
        """The classes of all forms."""
        return tuple(itertools.chain.from_iterable(form.python for form in self.forms))

    @property
    def json(self) -> tuple[type, ...]:
        """The classes of all forms."""
        return tuple(itertools.chain.from_iterable(form.json for form in self.forms))

    def dump(self, value: Any) -> Any:
        """By the first form that takes the value."""
        cls = value.__class__
        if cls not in self._dumps:
            self._dumps[cls] = [form.dump for form in self.forms if issubclass(cls, form.python)]
        return self._first(self._dumps[cls], value)

    def load(self, value: Any) -> Any:
        """By the first form that takes the value."""
        cls = value.__class__
        if cls not in self._loads:
            self._loads[cls] = [form.load for form in self.forms if issubclass(cls, form.json)]
        return self._first(self._loads[cls], value)

    def _first(self, converts: list[Callable[[Any], Any]], value: Any) -> Any:
        if len(converts) == 1:
            return converts[0](value)  # only this form can be meant, and it knows what is wrong inside
        for convert in converts:
            try:
                return convert(value)
            except Refusal:
                continue
        raise expected(self.noun, value)


def choice(values: Sequence[tuple[Any, Any]], *, literal: bool) -> Choice:
    """A choice of (wire, Python) pairs. Raises TypeError when a wire value is not simple."""
    if not values or any(wire.__class__ not in (str, int, bool, types.NoneType) for wire, _ in values):
        raise TypeError("its values must be strings, integers, booleans or None")
    shown = [repr(wire) if isinstance(wire, str) else orjson.dumps(wire).decode() for wire, _ in values]
    noun = shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"
    return Choice(noun, tuple({type(value) for _, value in values}), tuple(values), literal)


def array(item: Form, python: tuple[type, ...], build: Callable[[Iterable[Any]], Any]) -> Array:
    """An array of items. Raises TypeError for a set of what cannot be in one."""
    if build in (set, frozenset) and any(cls.__hash__ is None for cls in item.python):
        raise TypeError("the items of a set must be hashable")
    return Array(item, python, build)


def one_of(forms: Sequence[Form]) -> OneOf:
    """Alternatives. Raises TypeError when the wire does not tell them apart; literals go before the rest."""
    literals = [form for form in forms if isinstance(form, Choice) and form.literal]
    others = [form for form in forms if form not in literals]
    for left, right in itertools.combinations(others, 2):
        if set(left.json) & set(right.json) and {left, right} != {SCALARS[int], SCALARS[float]}:
            raise TypeError(f"{left.noun} and {right.noun} could be mistaken for each other")
    if SCALARS[int] in others:
        others.sort(key=lambda form: form is SCALARS[float])  # it would take the integers, too
    return OneOf((*literals, *others))


def each(convert: Callable[[Any], Any], items: Iterable[Any], steps: Iterable[object]) -> list[Any]:
    """All items converted, or a `Refusal` with the faults of all, each under its index or key."""
    done: list[Any] = []
    faults: list[Fault] = []
    for step, item in zip(steps, items, strict=False):
        try:
            done.append(convert(item))
        except Refusal as refusal:
            faults += under(step, refusal.faults)
            if len(faults) >= MOST_FAULTS:
                break
    if faults:
        raise Refusal(*faults)
    return done


def under(step: object, faults: Iterable[Fault]) -> list[Fault]:
    """The faults with an index or a key before their paths."""
    start = f"[{step}]" if isinstance(step, int) else cut(str(step))
    return [
        Fault(start + (fault.path if fault.path[:1] in ("", "[") else f".{fault.path}"), fault.message)
        for fault in faults
    ]


def in_order(wire: list[Any]) -> list[Any]:
    """The items of a set, always in the same order."""
    try:
        return sorted(wire)
    except TypeError:  # objects, or strings and numbers
        return sorted(wire, key=orjson.dumps)

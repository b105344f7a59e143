"""Attrs classes on the wire, and the form of any annotation."""

from __future__ import annotations

import enum
import functools
import itertools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

import attrs

from cgjobs.errors import Fault, suggest
from cgjobs.wire.form import (
    MOST_FAULTS,
    Array,
    Form,
    OneOf,
    Table,
    array,
    choice,
    each,
    in_order,
    one_of,
    under,
)
from cgjobs.wire.scalar import SCALARS, Refusal, Scalar, cut, expected, show

_RULES = (ValueError, TypeError, LookupError, ArithmeticError)  # what a validator may raise to refuse


@attrs.frozen
class Field:
    """One field of an attrs class.

    Args:
        attribute: As attrs has it.
        name: On the wire: ``user_id`` is ``userId``, ``from_`` is ``from``, metadata ``wire`` wins.
        form: Of its annotation.
        secret: Whether its value is never shown: ``repr=False`` or metadata ``secret``.
    """

    attribute: attrs.Attribute[Any]
    name: str
    form: Form
    secret: bool

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.attribute.default is attrs.NOTHING

    def faults(self, faults: Iterable[Fault]) -> list[Fault]:
        """The faults of its value, under its name; only that there are some, when it is secret."""
        if self.secret:
            return [Fault(self.name, f"expected {self.form.noun}; the value is secret and not shown")]
        return under(self.name, faults)

    def broken(self, error: Exception) -> Fault:
        """What its validator objects to, in the validator's words without the Python name."""
        if self.secret:
            return Fault(self.name, "refused by its validator; the value is secret and not shown")
        name = repr(self.attribute.name)
        return Fault(self.name, _words(error).replace(f" of {name}", "").replace(f"{name} ", "", 1))


class Record:
    """The fields of an attrs class, all known: each wrong, missing or unknown one is a fault."""

    noun = "an object"
    json: tuple[type, ...] = (dict,)

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.python: tuple[type, ...] = (cls,)

    @functools.cached_property  # not in __init__: a class may have fields of its own class
    def fields(self) -> tuple[Field, ...]:
        """Its fields in order.

        Raises:
            TypeError: The annotation of a field has no form; names the class and the field.
        """
        return tuple(_fields(self.cls))

    @functools.cached_property
    def _dumps(self) -> list[tuple[str, str, Callable[[Any], Any], bool, Field]]:
        return [
            (field.attribute.name, field.name, field.form.dump, field.attribute.default is None, field)
            for field in self.fields
        ]

    @functools.cached_property
    def _loads(self) -> list[tuple[str, str, Callable[[Any], Any], bool, Field]]:
        return [
            (field.name, str(field.attribute.alias), field.form.load, field.required, field)
            for field in self.fields
        ]

    @functools.cached_property
    def _ruled(self) -> list[Field]:
        return [field for field in self.fields if field.attribute.validator is not None]

    def dump(self, value: Any) -> dict[str, Any]:
        """Its fields by wire name; a None that is the default is left out. Validators run again."""
        if value.__class__ is not self.cls:
            raise expected(f"an instance of {self.cls.__name__}", value)
        wire: dict[str, Any] = {}
        faults: list[Fault] = []
        wrong: set[str] = set()
        for python_name, name, dump, omit_none, field in self._dumps:
            item = getattr(value, python_name)
            if item is None and omit_none:
                continue
            try:
                wire[name] = dump(item)
            except Refusal as refusal:
                faults += field.faults(refusal.faults)
                wrong.add(python_name)
        faults += self._broken(value, wrong)
        if faults:
            raise Refusal(*faults)
        return wire

    def load(self, value: Any) -> Any:
        """An instance, its validators run."""
        if value.__class__ is not dict and not isinstance(value, Mapping):
            raise expected(self.noun, value)
        arguments: dict[str, Any] = {}
        faults: list[Fault] = []
        known = 0
        for name, alias, load, required, field in self._loads:
            if name in value:
                known += 1
                try:
                    arguments[alias] = load(value[name])
                except Refusal as refusal:
                    faults += field.faults(refusal.faults)
            elif required:
                faults.append(Fault(name, "missing"))
        if known != len(value):
            faults += self._unknown(value)
        try:
            if not faults:
                return self.cls(**arguments)
        except _RULES as error:
            faults = self._broken(*self._partial(arguments)) or [self._unfit(error)]
        else:
            faults += self._broken(*self._partial(arguments))
        raise Refusal(*faults)

    def _unknown(self, value: Mapping[Any, Any]) -> Iterable[Fault]:
        names = {field.name: field for field in self.fields}
        spelt = {field.attribute.name: field.name for field in self.fields}
        unknown = (key for key in value if key not in names)
        for key in itertools.islice(unknown, MOST_FAULTS):
            key = cut(str(key))  # difflib is slow on long names
            close = spelt.get(key) or suggest(key, names)
            yield Fault(key, "unknown field" + (f"; did you mean {close!r}?" if close else ""))

    def _partial(self, arguments: Mapping[str, Any]) -> tuple[Any, set[str]]:
        """An instance with those fields alone, for its validators, and the names of the other fields."""
        instance: Any = object.__new__(self.cls)
        absent = set()
        for field in self.fields:
            alias = str(field.attribute.alias)
            if alias in arguments:
                object.__setattr__(instance, field.attribute.name, arguments[alias])
            else:
                absent.add(field.attribute.name)
        return instance, absent

    def _broken(self, instance: Any, skip: AbstractSet[str]) -> list[Fault]:
        """The faults that validators find, in all fields but ``skip``."""
        faults = []
        for field in self._ruled:
            attribute = field.attribute
            if attribute.name in skip:
                continue
            try:
                attribute.validator(instance, attribute, getattr(instance, attribute.name))  # type: ignore[misc]
            except AttributeError:
                if not skip:
                    raise  # otherwise it compares with one of the fields that are missing or wrong
            except _RULES as error:
                faults.append(field.broken(error))
        return faults

    def _unfit(self, error: Exception) -> Fault:
        if any(field.secret for field in self.fields):
            return Fault(
                "", f"refused by {self.cls.__name__}; its reason may contain a secret and is not shown"
            )
        return Fault("", _words(error))


record: Callable[[type], Record] = functools.cache(Record)
"""The form of an attrs class, made once."""


_ARRAYS: Mapping[Any, tuple[tuple[type, ...], Callable[[Iterable[Any]], Any]]] = {
    list: ((list, tuple), list),
    tuple: ((list, tuple), tuple),
    Sequence: ((list, tuple), tuple),
    set: ((AbstractSet,), set),
    frozenset: ((AbstractSet,), frozenset),
    AbstractSet: ((AbstractSet,), frozenset),
}


def form_of(annotation: Any) -> Form:
    """The form of an annotation.

    Raises:
        TypeError: It has none.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return form_of(args[0])
    if isinstance(annotation, NewType):
        return form_of(annotation.__supertype__)
    if annotation in SCALARS:
        return SCALARS[annotation]
    if origin is Literal:
        return choice([(value, value) for value in args], literal=True)
    if origin in (Union, types.UnionType):
        return one_of([form_of(arg) for arg in args])
    if origin in _ARRAYS and (origin is not tuple or args[1:] == (...,)):
        return array(form_of(args[0]), *_ARRAYS[origin])
    if origin in (dict, Mapping) and args[0] is str:
        return Table(form_of(args[1]))
    if isinstance(annotation, type) and attrs.has(annotation):
        return record(annotation)
    if (
        isinstance(annotation, type)
        and issubclass(annotation, enum.Enum)
        and not issubclass(annotation, enum.Flag)
    ):
        return choice([(member.value, member) for member in annotation], literal=False)
    raise TypeError("it has no form on the wire")


def wire_name(attribute: attrs.Attribute[Any]) -> str:
    """The wire name of a field: ``user_id`` is ``userId``, ``from_`` is ``from``; metadata ``wire`` wins."""
    first, *rest = attribute.name.strip("_").split("_")
    return str(
        attribute.metadata.get("wire") or first + "".join(part[:1].upper() + part[1:] for part in rest)
    )


def _fields(cls: type) -> Iterable[Field]:
    try:
        attributes = attrs.fields(attrs.resolve_types(cls))
    except (NameError, TypeError) as error:
        raise TypeError(f"the annotations of {cls.__qualname__} cannot be read: {error}") from error
    names: dict[str, str] = {}
    for attribute in attributes:
        if not attribute.init:
            continue
        try:
            form = form_of(attribute.type)
        except TypeError as error:
            raise TypeError(
                f"field {attribute.name!r} of {cls.__qualname__} is a {attribute.type!r}: {error}"
            ) from error
        name = wire_name(attribute)
        if other := names.get(name):
            raise TypeError(
                f"{other!r} and {attribute.name!r} of {cls.__qualname__} are both {name!r} on the wire"
            )
        names[name] = attribute.name
        yield Field(attribute, name, form, attribute.repr is False or bool(attribute.metadata.get("secret")))


def _words(error: Exception) -> str:
    return cut(str(error.args[0]), 200) if error.args else type(error).__name__


def _payload_form(cls: type) -> Record:
    form = record(cls)
    for field in form.fields:
        if field.name == "type":
            raise TypeError(
                f"field {field.attribute.name!r} of {cls.__qualname__} is 'type' on the wire, where the "
                "subtype's name stands; rename it"
            )
    waiting: list[Form] = [form]
    seen: set[type] = set()
    while waiting:
        match waiting.pop():
            case Record() as inner if inner.cls not in seen:
                seen.add(inner.cls)
                waiting += [field.form for field in inner.fields]
            case Array(item=inner_form) | Table(value=inner_form):
                waiting.append(inner_form)
            case OneOf(forms=forms):
                waiting += forms
    return form


payload_form: Callable[[type], Record] = functools.cache(_payload_form)
"""The form of a payload class, checked once. TypeError: a field has none, or is ``type`` on the wire."""


def plain(value: object) -> Any:
    """A value without annotation, such as a result, on the wire: each part by the class that it has.

    Raises:
        Refusal: A part has no form.
    """
    if scalar := SCALARS.get(type(value)):
        return scalar.dump(value)
    match value:
        case enum.Enum():
            return plain(value.value)
        case list() | tuple():
            return each(plain, value, itertools.count())
        case set() | frozenset():
            return in_order(each(plain, value, itertools.count()))
        case Mapping():
            return Table(_PLAIN).dump(value)
    cls: Any = type(value)
    if attrs.has(cls):
        fields = {wire_name(attribute): getattr(value, attribute.name) for attribute in attrs.fields(cls)}
        return Table(_PLAIN).dump(fields)
    for scalar in SCALARS.values():  # subclasses, such as PosixPath
        if isinstance(value, scalar.python):
            return scalar.dump(value)
    raise Refusal(Fault("", f"{show(value)} has no form on the wire"))


_PLAIN = Scalar("a value with a form on the wire", (object,), (object,), {}, plain, plain)

"""From tables as they were written to attrs classes, by their annotations: every fault at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence, Set
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from cgjobs.conversion import VALUES, convert
from cgjobs.errors import Fault, suggest
from cgjobs.written import Source, Table, Written, plain, unwrap, write

T = TypeVar("T")
INVALID: Final = object()
"""What a setting is read as when a fault has been recorded for it."""
_SECRET_NAME = re.compile(
    r"password|passwd|secret|token|key(?!_rate|_concurrency)|webhook|credential|dsn", re.IGNORECASE
)
_LISTS: Final[Mapping[Any, Callable[[list[Any]], Any]]] = {
    list: list,
    set: set,
    Set: frozenset,
    frozenset: frozenset,
    tuple: tuple,
    Sequence: tuple,
    Collection: tuple,
    Iterable: tuple,
}
"""What stands for a list of values, and what is made of it."""
_NOT_SHOWN = "it is secret and not shown"


@attrs.frozen
class Field:
    """One setting that a class has.

    Args:
        name: As it is written, in snake_case.
        hint: Its type.
        attribute: What attrs knows of it.
    """

    name: str
    hint: Any
    attribute: attrs.Attribute[Any]

    @property
    def secret(self) -> bool:
        """Whether its value is never shown."""
        return not self.attribute.repr or is_secret(self.name)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.attribute.default is attrs.NOTHING


def fields_of(cls: Any) -> dict[str, Field]:
    """The settings of an attrs class, by name."""
    hints = get_type_hints(cls)
    settable = [attribute for attribute in attrs.fields(cls) if attribute.init]
    return {a.alias: Field(a.alias, hints.get(a.name, Any), a) for a in settable}


def is_secret(name: str) -> bool:
    """True when the name of a setting says that it is never shown."""
    return _SECRET_NAME.search(name) is not None


class SettingReader:
    """Reads tables into attrs classes, collecting faults and origins.

    A class may have fields of the types that `convert` knows, lists, sets and tuples of one type,
    ``dict[str, T]``, further attrs classes, and unions of these. A key is written in kebab-case or
    snake_case. The value of a secret (a field with ``repr=False``, or one whose name says so) is in no fault.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.origins: dict[str, str] = {}
        self._secrets: set[str] = set()

    def refuse(self, source: Source, key: str, message: str) -> None:
        """Record a fault."""
        self.faults.append(Fault(source.at(key), message))

    def read(
        self,
        cls: type[T],
        table: Table,
        key: str,
        *,
        base: T | None = None,
        hidden: Container[str] = (),
        secret: bool = False,
    ) -> T | None:
        """Read a table into an instance.

        Args:
            cls: The attrs class.
            table: What was written.
            key: The table's dotted key, ``""`` for the root.
            base: The instance whose values stand where nothing is written; None for the fields' defaults.
            hidden: Fields that cannot be written.
            secret: Whether every value is secret.

        Returns:
            The instance, or None when faults were recorded.
        """
        before = len(self.faults)
        fields = fields_of(cls)
        known = [name for name in fields if name not in hidden]
        values = {} if base is None else {n: getattr(base, f.attribute.name) for n, f in fields.items()}
        sources: dict[str, Source] = {}
        for spelling, entry in table.entries.items():
            name = plain(spelling)
            if name not in known:
                self.refuse(entry.source, dotted(key, spelling), unknown("key", spelling, known))
            elif name in sources:
                self.refuse(
                    entry.source, dotted(key, spelling), f"is written twice, as {name!r} too; keep one"
                )
            else:
                sources[name] = entry.source
                default, field = values.pop(name, None), fields[name]
                value = self.value(
                    field.hint, entry, dotted(key, name), base=default, secret=secret or field.secret
                )
                if value is not INVALID:
                    values[name] = value
        for name in known:
            if fields[name].required and name not in values and name not in sources:
                self.faults.append(Fault(dotted(key, name), f"is required; {_where_to_write(key, name)}"))
        for field, error in _refusals(cls, fields, values):
            message = f"is refused; {_NOT_SHOWN}" if secret or field.secret else self._words(error)
            self.refuse(sources.get(field.name, table.source), dotted(key, field.name), message)
        if len(self.faults) > before or not sources.keys() <= values.keys():
            return None
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:  # a check of the class as a whole
            self.refuse(table.source, key, f"is refused; {_NOT_SHOWN}" if secret else self._words(error))
            return None

    def value(self, hint: Any, entry: Written | Table, key: str, *, secret: bool, base: Any = None) -> Any:
        """Read one value of any type that a field may have.

        Returns:
            The value, or `INVALID` when faults were recorded.
        """
        if isinstance(entry, Written):
            if entry.value is None:
                return INVALID
            if not key.endswith("]"):  # the items of a list have the origin of the list
                self.origins[key] = entry.source.origin
            if secret:
                self._secrets.add(str(entry.value))
        options = alternatives(hint)
        if len(options) > 1:
            return self._one_of(options, entry, key, secret)
        hint = options[0]
        kind = get_origin(hint) or hint
        try:
            if has_fields(kind):
                instance = self.read(kind, _table(entry), key, base=base, secret=secret)
                return INVALID if instance is None else instance
            if is_mapping(kind):
                return self._mapping(hint, _table(entry), key, secret)
            if hint in (Any, object):
                return unwrap(entry)
            if isinstance(entry, Table):
                raise ValueError("is a table, not a single value")
            if make := _LISTS.get(kind):
                values = self._items(hint, entry, key, secret)
                return INVALID if _any_invalid(values) else make(values)
            return convert(hint, entry.value, text=bool(entry.source.variable), file=entry.source.file)
        except ValueError as error:
            wanted = getattr(kind, "__name__", str(kind))
            self.refuse(entry.source, key, f"is no {wanted}; {_NOT_SHOWN}" if secret else str(error))
            return INVALID

    def _mapping(self, hint: Any, table: Table, key: str, secret: bool) -> Any:
        _, item = get_args(hint) or (str, Any)
        values = {
            name: self.value(item, entry, dotted(key, name), secret=secret or is_secret(name))
            for name, entry in table.entries.items()
        }
        return INVALID if _any_invalid(values.values()) else values

    def _items(self, hint: Any, entry: Written, key: str, secret: bool) -> list[Any]:
        raw = entry.value
        if isinstance(raw, str) and entry.source.variable:
            raw = [part.strip() for part in raw.split(",") if part.strip()]
        if not isinstance(raw, (list, tuple, set, frozenset)):
            raise ValueError(f"{raw!r} is not a list")
        item, *_ = get_args(hint) or (Any,)
        return [
            self.value(item, write(part, entry.source), f"{key}[{index}]", secret=secret)
            for index, part in enumerate(raw)
        ]

    def _one_of(self, options: tuple[Any, ...], entry: Written | Table, key: str, secret: bool) -> Any:
        refusals: list[str] = []
        fitting = [option for option in options if is_table(option) == isinstance(entry, Table)]
        for option in fitting or options:
            attempt = SettingReader()
            value = attempt.value(option, entry, key, secret=secret)
            self._secrets |= attempt._secrets
            if value is not INVALID:
                self.origins |= attempt.origins
                return value
            refusals += [fault.message for fault in attempt.faults]
        self.refuse(entry.source, key, "; ".join(dict.fromkeys(refusals)))
        return INVALID

    def _words(self, error: Exception) -> str:
        # The validators of attrs have the value and the attribute in ``args`` after the message.
        words = str(error.args[0]) if error.args else type(error).__name__
        told = any(secret in words or repr(secret)[1:-1] in words for secret in self._secrets if secret)
        return "is refused; the reason contains a secret and is not shown" if told else words


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The types of a union without None; any other type by itself."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(option for option in get_args(hint) if option is not NoneType)
    return (hint,)


def has_fields(kind: Any) -> bool:
    """True for a class that is written as a table of its fields."""
    return attrs.has(kind) and kind not in VALUES


def is_mapping(kind: Any) -> bool:
    """True for ``dict``, ``Mapping`` and the like."""
    return isinstance(kind, type) and issubclass(kind, Mapping)


def is_table(hint: Any) -> bool:
    """True when a value of this type can only be written as a table."""
    return all(has_fields(kind) or is_mapping(get_origin(kind) or kind) for kind in alternatives(hint))


def unknown(noun: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that nothing answers to."""
    names = sorted(known)
    if close := suggest(name, names):
        return f"unknown {noun} {name!r}; did you mean {close!r}?"
    return f"unknown {noun} {name!r}; known: {', '.join(names) or 'none'}"


def dotted(key: str, name: str) -> str:
    """The key of ``name`` in the table at ``key``."""
    return f"{key}.{name}" if key else name


def _refusals(
    cls: Any, fields: Mapping[str, Field], values: Mapping[str, Any]
) -> Iterator[tuple[Field, Exception]]:
    """What the fields' own converters and validators refuse: everything, where attrs stops at the first.

    They are asked one by one, with an instance that was never initialised.
    """
    probe = cls.__new__(cls)
    accepted = []
    for name, value in values.items():
        field = fields[name]
        converter: Any = field.attribute.converter
        try:
            converted = converter(value) if converter else value
        except (TypeError, ValueError) as error:
            yield field, error
        else:
            accepted.append((field, converted))
            object.__setattr__(probe, field.attribute.name, converted)
    for field, value in accepted:
        if check := field.attribute.validator:
            try:
                check(probe, field.attribute, value)
            except (TypeError, ValueError) as error:
                yield field, error
            except AttributeError:  # it looks at another field, which is absent or at its default
                continue


def _table(entry: Written | Table) -> Table:
    if isinstance(entry, Written):
        raise ValueError("is a single value, not a table")
    return entry


def _any_invalid(values: Iterable[object]) -> bool:
    return any(value is INVALID for value in values)  # by identity: values may define == in their own way


def _where_to_write(key: str, name: str) -> str:
    variable = plain(dotted(key, name)).replace(".", "_").upper()
    return f"set it in [{key}] or as CGJOBS_{variable}" if key else f"set CGJOBS_{variable}"

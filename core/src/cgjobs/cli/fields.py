"""The fields of a payload class as options, and from options back to the wire."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import attrs
import orjson

from cgjobs.codec import field_help
from cgjobs.errors import Fault
from cgjobs.wire.form import Array, Choice, Form, OneOf
from cgjobs.wire.record import Field, Record, payload_form
from cgjobs.wire.scalar import SCALARS, Refusal

Value = str | list[str] | bool
"""What the command line has for an option: a text, several, or a flag."""
_METAVARS = {id(SCALARS[cls]): name for cls, name in ((str, "TEXT"), (int, "INT"), (float, "NUMBER"))}


@attrs.frozen
class PayloadOption:
    """One option of ``cgjobs enqueue``.

    Args:
        flag: Such as ``--user-id``; a field of a nested class is ``--message.subject``.
        path: Where its value stands on the wire.
        form: Of its values.
        help: For people, with default.
        negatable: Whether a flag can be switched off too, since it is on by default or has three states.
    """

    flag: str
    path: tuple[str, ...]
    form: Form
    help: str
    negatable: bool = False

    @property
    def parameter(self) -> str:
        """A Python name of its own."""
        return "payload_" + re.sub(r"\W", "_", "_".join(self.path))

    @property
    def is_flag(self) -> bool:
        """Whether it is true or false and takes no value."""
        return set(self.form.json) <= {bool, type(None)} and bool in self.form.json

    @property
    def is_list(self) -> bool:
        """Whether it can be repeated."""
        return self._array is not None

    @property
    def metavar(self) -> str:
        """What its value is, for the help."""
        form = self._array.item if self._array else self.form
        forms = form.forms if isinstance(form, OneOf) else (form,)
        names = dict.fromkeys(_metavar(each) for each in forms if each.json != (type(None),))
        return "|".join(names)

    def written(self, value: Value) -> Any:
        """The value as the wire has it. What cannot be read stays text, for the codec to refuse."""
        if isinstance(value, list):
            item = self._array.item if self._array else self.form
            return [_read(item, text) for text in value]
        return value if isinstance(value, bool) else _read(self.form, value)

    @property
    def _array(self) -> Array | None:
        forms = self.form.forms if isinstance(self.form, OneOf) else (self.form,)
        arrays = [form for form in forms if isinstance(form, Array)]
        return arrays[0] if arrays and str not in self.form.json else None


def payload_options(cls: type, taken: Collection[str]) -> list[PayloadOption]:
    """The options for a payload class, the required fields first.

    Args:
        cls: The payload class.
        taken: Flags that mean something else; a field of that name gets ``--payload.<name>``.
    """
    return list(_options(payload_form(cls), (), "--", "", taken, {cls}))


def _options(
    record: Record,
    path: tuple[str, ...],
    start: str,
    about: str,
    taken: Collection[str],
    seen: set[type],
) -> Iterator[PayloadOption]:
    texts = field_help(record.cls)
    for field in sorted(record.fields, key=lambda field: not field.required):
        flag = start + field.attribute.name.strip("_").replace("_", "-")
        if flag in taken:
            flag = "--payload." + flag.removeprefix("--")
        forms = field.form.forms if isinstance(field.form, OneOf) else (field.form,)
        inner = [form for form in forms if isinstance(form, Record) and form.cls not in seen]
        here = (*path, field.name)
        text = _help(field, texts.get(field.attribute.name, "").replace("``", ""), about)
        yield PayloadOption(flag, here, field.form, text, field.attribute.default is not False)
        for form in inner:
            yield from _options(form, here, f"{flag}.", f"with {flag}", taken, seen | {form.cls})


def _help(field: Field, text: str, about: str) -> str:
    if field.required:
        note = f"required {about}".rstrip()
    elif field.secret or isinstance(field.attribute.default, attrs.Factory):  # type: ignore[arg-type]
        note = ""
    else:
        note = _default(field)
    return f"{text} [{note}]".lstrip() if note else text


def _default(field: Field) -> str:
    default = field.attribute.default
    if default is None or default is False:
        return ""
    try:
        wire = field.form.dump(default)
    except Refusal:
        return ""
    shown = " ".join(map(str, wire)) if isinstance(wire, list) else wire
    return f"default: {shown if isinstance(shown, str) else orjson.dumps(shown).decode()}"


def _metavar(form: Form) -> str:
    if name := _METAVARS.get(id(form)):
        return name
    if isinstance(form, Choice):
        return "|".join(str(wire) for wire, _ in form.values)
    if dict in form.json:
        return "JSON"
    return form.python[0].__name__.replace("timedelta", "duration").upper()


def _read(form: Form, text: str) -> Any:
    if str in form.json:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def to_wire(
    options: Iterable[PayloadOption], values: Mapping[str, Value], data: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Fault]]:
    """The wire form of a payload.

    Args:
        options: Those of its class.
        values: What was given, by flag.
        data: What was given as JSON; an option wins over it.

    Returns:
        The wire form, which is for the codec to check, and options that contradict each other.
    """
    wire, faults = dict(data), []
    for option in options:
        if option.flag not in values:
            continue
        *above, last = option.path
        table = wire
        for name in above:
            inner = table.get(name)
            table[name] = dict(inner) if isinstance(inner, Mapping) else inner if inner is not None else {}
            table = table[name]
            if not isinstance(table, dict):
                whole = option.flag.rpartition(".")[0]
                faults.append(Fault(option.flag, f"give either {whole} or its parts, not both"))
                break
        else:
            table[last] = option.written(values[option.flag])
    return wire, faults


def by_flag(options: Iterable[PayloadOption]) -> Callable[[Fault], Fault]:
    """What gives a payload's fault the flag that it is about."""
    flags = {".".join(option.path): option.flag for option in options}

    def rename(fault: Fault) -> Fault:
        paths = [path for path in flags if re.match(rf"{re.escape(path)}(?=[.\[]|\Z)", fault.path)]
        if not paths:
            return fault
        longest = max(paths, key=len)
        return attrs.evolve(fault, path=flags[longest] + fault.path[len(longest) :])

    return rename

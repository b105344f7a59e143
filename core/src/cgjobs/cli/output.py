"""What commands print: data on standard output, talk on standard error, nothing that moves a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from cyclopts import Parameter

from cgjobs.wire.record import plain

AsJson = Annotated[bool, Parameter(name="--json")]
"""The option ``--json`` of a command."""


def show(text: str = "") -> None:
    """Print a line of data."""
    sys.stdout.write(f"{printable(text)}\n")


def show_json(value: object) -> None:
    """Print a value as a JSON document on one line; attrs instances get camelCase keys."""
    sys.stdout.write(f"{orjson.dumps(plain(value)).decode()}\n")


def talk(text: str) -> None:
    """Say something about what is done."""
    sys.stdout.flush()
    sys.stderr.write(f"cgjobs: {printable(text)}\n")


def show_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns. Piped, they keep their full width and have no colour."""
    cells = [[printable("" if cell is None else str(cell), lines=False) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _show_on_terminal(head, cells)
        return
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in (head, *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")


def show_styled(text: str, style: str) -> None:
    """Print the beginning of a line, in a style of rich on a terminal that has colours."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        Console(highlight=False).print(Text(printable(text), style), end="")
    else:
        sys.stdout.write(printable(text))


def _show_on_terminal(head: Sequence[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")  # an id cut short is of no use
    for row in cells:
        table.add_row(*row)
    Console(highlight=False, markup=False, emoji=False).print(table)


def printable(text: str, *, lines: bool = True) -> str:
    """The text with control characters, which may come from a payload, as visible escapes.

    Args:
        text: Anything.
        lines: Whether line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(
        char if char in kept or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def moment(at: datetime | None) -> str:
    """A time in whole seconds, UTC; a dash for none."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def pretty_json(value: Any) -> str:
    """A JSON value on several lines, for people."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()

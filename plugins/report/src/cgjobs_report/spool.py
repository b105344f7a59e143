"""Rows in a file: they are read from the database once, in bounded memory, and written in every format."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import IO

from cgjobs_report.document import Row


class Spool:
    """Rows that were added one by one and can be read again and again; gone when the block ends.

    Args:
        times: Which cells are times.
    """

    def __init__(self, times: frozenset[int] = frozenset()) -> None:
        self._file: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n")  # noqa: SIM115
        self._times, self._count = times, 0

    def add(self, row: Row) -> None:
        """Add a row."""
        cells = [cell.isoformat() if isinstance(cell, datetime) else cell for cell in row]
        self._file.write(f"{json.dumps(cells, ensure_ascii=True)}\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(0)
        for line in self._file:
            cells = json.loads(line)
            for at in self._times:
                cells[at] = None if cells[at] is None else datetime.fromisoformat(cells[at])
            yield tuple(cells)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

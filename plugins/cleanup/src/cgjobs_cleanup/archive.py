"""What is about to be deleted, as compressed JSON lines in a store."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, cast

from cgjobs import Discard
from cgjobs_cleanup.packing import load_zstd
from cgjobs_data import Store


class StoreArchive:
    """One file for each batch; a run that goes over the same batch again replaces it.

    Args:
        store: Where.
        job_id: Whose: part of each file's path.
    """

    def __init__(self, store: Store, job_id: str) -> None:
        self._store, self._job_id = store, job_id
        self._compress, self._suffix = _codec()
        self.files = 0

    def write(self, key: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Write rows as ``{"table": ..., "row": {...}}``, whole and forced to the disk when it returns.

        Args:
            key: Names the batch: the id of its first message.
            rows: Each with its table's name.

        Raises:
            Retry, Discard: As the store says; nothing may be deleted then.
        """
        lines = [json.dumps({"table": table, "row": row}, default=_json) for table, row in rows]
        content = self._compress(("\n".join(lines) + "\n").encode())
        path = f"messages/{_plain(self._job_id)}/{_plain(key)}.jsonl{self._suffix}"
        self._store.put(path, content, "application/x-ndjson")
        self.files += 1


def _codec() -> tuple[Any, str]:
    try:
        return load_zstd().compress, ".zst"
    except Discard:
        return lambda content: gzip.compress(content, mtime=0), ".gz"


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text)


def _json(value: object) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return {"base64": base64.b64encode(value).decode()}
        case set() | frozenset() | tuple():
            return list(cast(Sequence[Any], value))
    return str(value)

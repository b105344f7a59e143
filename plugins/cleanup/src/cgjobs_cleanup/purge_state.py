"""How far a purge has come: what its next run goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

Cursor = tuple[Any, Any]
"""``created_at`` and id of the last message looked at, as the database holds them."""


@attrs.define
class State:
    """The numbers of all runs of one job so far.

    Args:
        cutoff: Messages written before this are old; the same in each run.
        total, matched: Counted once, when the job began.
        skipped: Old messages that stay, by reason, counted then.
        passes: The round through the table that goes on, from 1.
        in_pass: Deleted in it.
        cursor: Where it stands; None at its beginning.
    """

    cutoff: datetime
    total: int = 0
    matched: int = 0
    skipped: dict[str, int] = attrs.field(factory=dict)
    deleted: int = 0
    refused: int = 0
    batches: int = 0
    archived: int = 0
    passes: int = 1
    in_pass: int = 0
    cascaded: dict[str, int] = attrs.field(factory=dict)
    samples: list[str] = attrs.field(factory=list)
    cursor: Cursor | None = None

    def dump(self) -> dict[str, Any]:
        """As JSON knows it."""
        found = attrs.asdict(self, recurse=False)
        return found | {
            "cutoff": self.cutoff.isoformat(),
            "cursor": self.cursor and [_frozen(value) for value in self.cursor],
        }

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> State:
        """From what `dump` gave."""
        cursor = saved["cursor"]
        return cls(
            **{
                **saved,
                "cutoff": datetime.fromisoformat(saved["cutoff"]),
                "cursor": cursor and (_thawed(cursor[0]), _thawed(cursor[1])),
            }
        )


def _frozen(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    return value if isinstance(value, (int, float, str)) else {"text": str(value)}


def _thawed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return datetime.fromisoformat(value["at"]) if "at" in value else value["text"]

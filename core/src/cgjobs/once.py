"""An effect of a job that shall happen once over all its attempts: what is said of it before and after."""

from __future__ import annotations

import re
import secrets
from types import TracebackType
from typing import Literal, Protocol

from cgjobs.outcomes import JobCancelled, OutcomeUnknown, Retry, Snooze

Unknown = Literal["fail", "again", "skip"]
"""What to do about an effect that was begun and of which nobody knows how it ended."""

Move = Literal["begin", "done", "undo"]
_CHOICES = ("fail", "again", "skip")
_KEY = re.compile(r"[A-Za-z0-9_.:@/-]{1,128}\Z")


class Marks(Protocol):
    """Where the marks of a job's effects are kept; they outlive the attempt."""

    def mark(self, key: str, nonce: str, move: Move) -> str:
        """Make a mark and wait until it is kept. Gives ``new``, ``begun``, ``done``, ``ok`` or ``lost``."""

    async def mark_async(self, key: str, nonce: str, move: Move) -> str:
        """The same, awaited."""


class Once:
    """One effect of a job that shall happen once over all its attempts.

    It is entered with ``with`` in a ``def`` handler, with ``async with`` in an ``async def`` one.
    True inside the block when the effect shall happen now::

        with ctx.once("charge", unknown="fail") as charge:
            if charge:
                ...

    Entering keeps the mark *begun* before anything happens; leaving keeps the mark *done*. When the block
    raises, the mark stays at *begun*, since nobody knows what has happened; only `Retry` and `Snooze` take
    it away: with them the handler says that nothing has.

    Args:
        marks: Where the marks are kept.
        key: Names the effect within its job; 1 to 128 of ``A-Z a-z 0-9 _ . : @ / -``.
        unknown: What to do when an earlier attempt began the effect and did not say that it was done.

    Attributes:
        done: The effect happened before, certainly.
        unknown: It was begun before, and nobody knows whether it happened.
    """

    def __init__(self, marks: Marks, key: str, *, unknown: Unknown) -> None:
        if not _KEY.match(key):
            raise ValueError(f"{key!r} is no key for once: use 1 to 128 of A-Z a-z 0-9 _ . : @ / -")
        if unknown not in _CHOICES:
            raise ValueError(f"unknown of once({key!r}) is {unknown!r}; it is 'fail', 'again' or 'skip'")
        self.key, self.done, self.unknown = key, False, False
        self._marks, self._choice, self._nonce = marks, unknown, secrets.token_hex(8)
        self._go = False

    def __bool__(self) -> bool:
        """Whether the effect shall happen now."""
        return self._go

    def __enter__(self) -> Once:
        return self._entered(self._marks.mark(self.key, self._nonce, "begin"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if move := self._leaving(error):
            self._left(self._marks.mark(self.key, self._nonce, move))

    async def __aenter__(self) -> Once:
        return self._entered(await self._marks.mark_async(self.key, self._nonce, "begin"))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if move := self._leaving(error):
            self._left(await self._marks.mark_async(self.key, self._nonce, move))

    def _entered(self, known: str) -> Once:
        self._left(known)
        self.done, self.unknown = known == "done", known == "begun"
        if self.unknown and self._choice == "fail":
            raise OutcomeUnknown(f"an earlier attempt began {self.key!r} and did not say that it was done")
        self._go = known == "new" or (self.unknown and self._choice == "again")
        return self

    def _leaving(self, error: BaseException | None) -> Move | None:
        if not self._go:
            return None
        if error is None:
            return "done"
        return "undo" if isinstance(error, (Retry, Snooze)) else None

    def _left(self, known: str) -> None:
        if known == "lost":
            raise JobCancelled("the job was taken away from this worker")

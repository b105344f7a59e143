"""What running jobs say of themselves: effects, checkpoints, progress, log lines, that they have begun."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import attrs

from cgjobs.broker.values import Claimed
from tests.proof.retained import Retained


@attrs.define
class Marks(Retained):
    """Only the running attempt may say something, but for an effect that it began itself."""

    @abstractmethod
    def holds(self, claimed: Claimed) -> bool:
        """Whether this claim is the running attempt of its job."""

    def once(self, claimed: Claimed, effect: str, nonce: str, move: str) -> str:
        job, mine = self.jobs.get(claimed.id), f"begun:{nonce}"
        if job is None:
            return "lost"
        holds, before = self.holds(claimed), job.marks.get(effect, "")
        if move == "begin":
            if not holds:
                return "lost"
            if before not in ("", mine):
                return "done" if before == "done" else "begun"
            job.marks[effect] = mine
            return "new"
        if move == "done" and (holds or before == mine):
            job.marks[effect] = "done"
        elif move == "undo" and before == mine:
            del job.marks[effect]
        return "ok" if holds else "lost"

    def begin(self, claimed: Claimed) -> bool:
        if self.holds(claimed):
            self.jobs[claimed.id].begun = claimed.token
        return self.holds(claimed)

    def checkpoint(self, values: Sequence[tuple[Claimed, str]]) -> int:
        for claimed, value in values:
            if self.holds(claimed):
                self.jobs[claimed.id].checkpoint = value
        return sum(self.holds(claimed) for claimed, _ in values)

    def progress(self, reports: Sequence[tuple[Claimed, str]]) -> int:
        for claimed, meta in reports:
            if self.holds(claimed):
                self.jobs[claimed.id].meta = meta
        return sum(self.holds(claimed) for claimed, _ in reports)

    def log(self, claimed: Claimed, before: int, lines: Sequence[str], most: int) -> bool:
        """``before``: how many lines of this attempt were sent before these."""
        if not self.holds(claimed):
            return False
        job = self.jobs[claimed.id]
        attempt, known = job.logged
        new = lines[known - before if attempt == claimed.token and known > before else 0 :]
        if new:
            job.logged = (claimed.token, before + len(lines))
            job.lines = [*job.lines, *new][-most:]
        return True

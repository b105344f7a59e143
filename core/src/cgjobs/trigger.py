"""The trigger that lets APScheduler tick at the times of `cron`.

APScheduler's own ``CronTrigger.from_crontab`` reads 0 as Monday, joins the two day fields with AND, and fires
a 02:30 job twice when the clocks go back.
"""

from __future__ import annotations

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from cgjobs.cron import next_fires, parse, zone
from cgjobs.model import Cron


class CronTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no types
    """Fires when ``cron`` says.

    Args:
        cron: The schedule.

    Raises:
        ValueError: Its expression or its zone is wrong.
    """

    def __init__(self, cron: Cron) -> None:
        self.cron = cron
        parse(cron.expression)
        zone(cron.timezone)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The fire after the previous one, or after ``now`` for the first; None when there is none.

        While the scheduler was late this lies in the past, and the job's ``misfire_grace_time`` decides.
        """
        return next(iter(next_fires(self.cron, previous_fire_time or now, 1)), None)

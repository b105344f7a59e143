"""What the nightly schedule enqueues."""

from __future__ import annotations

from cgjobs import Discard, Slot
from cgjobs_cleanup.payloads import Files, Logs, Messages
from cgjobs_cleanup.settings import Settings


def nightly(slot: Slot) -> list[Files | Logs | Messages]:
    """The jobs that are configured.

    Raises:
        Discard: None is: deleting needs somebody's decision.
    """
    jobs = slot.settings(Settings).nightly
    if not (jobs.files or jobs.logs or jobs.messages):
        raise Discard("no job is configured; write [[plugins.cleanup.nightly.files]], with a root and an age")
    return [*jobs.files, *jobs.logs, *jobs.messages]

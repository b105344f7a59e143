"""What the nightly schedule enqueues."""

from __future__ import annotations

from cgjobs import Discard, Slot
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.settings import Settings


def nightly(slot: Slot) -> list[Files]:
    """One `Files` for each root that has an age configured.

    Raises:
        Discard: None has: deleting needs somebody's decision.
    """
    settings = slot.settings(Settings)
    if not settings.nightly:
        root = next(iter(settings.roots), "uploads")
        raise Discard(f'no age is configured for any root; set [plugins.cleanup.nightly.{root}] age = "30d"')
    return [Files(root, rule.age, pattern=rule.pattern) for root, rule in settings.nightly.items()]

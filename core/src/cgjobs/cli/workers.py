"""``cgjobs workers``."""

from __future__ import annotations

from cgjobs.cli.output import AsJson, moment, show_json, show_table
from cgjobs.cli.session import Shared


def workers(*, as_json: AsJson = False, session: Shared) -> None:
    """List the workers that are alive.

    Args:
        as_json: Print one JSON document.
    """
    found = session.run(session.operations.workers())
    if as_json:
        show_json(found)
        return
    rows = (
        (
            item.name,
            item.state,
            ",".join(item.queues),
            item.pid,
            moment(item.started_at),
            moment(item.last_seen_at),
        )
        for item in found
    )
    show_table(("NAME", "STATE", "QUEUES", "PID", "STARTED", "LAST SEEN"), rows)

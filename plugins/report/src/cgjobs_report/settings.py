"""The table ``[plugins.report]``."""

from __future__ import annotations

from pathlib import Path

import attrs
from platformdirs import user_state_path

from cgjobs_report.payloads import known_zone


@attrs.frozen(kw_only=True)
class Settings:
    """Where reports read and write.

    Args:
        database: ChatGenius' SQLite database; opened read-only.
        directory: Where the files are written; made when missing.
        timezone: IANA name of the zone of the scheduled reports.
    """

    database: Path | None = None
    directory: Path = attrs.field(factory=lambda: user_state_path("cgjobs") / "reports")
    timezone: str = attrs.field(default="UTC", validator=known_zone)

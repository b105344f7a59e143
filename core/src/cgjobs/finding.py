"""What a check found: one line of ``cgjobs doctor``."""

from __future__ import annotations

from typing import Literal

import attrs

Level = Literal["ok", "warn", "bad"]


@attrs.frozen
class Finding:
    """What one check found.

    Args:
        check: Its name; for what is said of one subtype, the subtype's full name.
        level: ``ok``, ``warn`` or ``bad``.
        message: What is so.
        advice: What to do, or ``""``.
    """

    check: str
    level: Level = attrs.field(validator=attrs.validators.in_(("ok", "warn", "bad")))
    message: str
    advice: str = ""

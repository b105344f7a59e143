"""The core's own observers: plugins like any other, loaded by name."""

from __future__ import annotations

from cgjobs.builtin.logs import Logs
from cgjobs.builtin.metrics import Metrics


def plugins() -> list[tuple[str, object]]:
    """The built-in plugins by name, for ``plugins.load(extra=...)``."""
    return [("logs", Logs()), ("metrics", Metrics())]

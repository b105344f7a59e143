"""How many text messages go out in an hour: what bounds the bill when somebody pumps messages."""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)


class WorkerCount:
    """What this worker has sent, for when there is no table of deliveries: others count for themselves."""

    def __init__(self) -> None:
        self._sent: deque[tuple[datetime, str]] = deque()
        self._lock = threading.Lock()

    def add(self, at: datetime, destination: str) -> None:
        """One more; what is older than an hour is forgotten."""
        with self._lock:
            self._sent.append((at, destination))
            while self._sent and self._sent[0][0] <= at - HOUR:
                self._sent.popleft()

    def sent_since(self, since: datetime, destination: str | None = None) -> int:
        """How many this worker sent since then."""
        with self._lock:
            return sum(at > since and destination in (None, to) for at, to in self._sent)

"""A connection to PostgreSQL that a job's timeout can reach.

A timeout is raised inside the handler's thread at its next Python instruction. psycopg waits for an answer in
C, where there is none: the timeout would come when the statement is over.
"""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
from psycopg import waiting
from psycopg.pq import TransactionStatus

_LOOK_EVERY = 0.1


class InterruptibleConnection(psycopg.Connection[Any]):
    """Waits in Python, and tells the server to stop when an exception ends the wait."""

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for what a generator of psycopg's waits for."""
        if not args:
            options.setdefault("interval", _LOOK_EVERY)
        try:
            return waiting.wait_poll(gen, self.pgconn.socket, *args, **options)
        except Exception:
            raise
        except BaseException:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                with contextlib.suppress(psycopg.Error):
                    self.cancel_safe(timeout=5.0)
            raise

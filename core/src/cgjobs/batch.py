"""Handles to a batch, for the blocking and for the awaited client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import attrs

from cgjobs.flow import batch_counts
from cgjobs.model import BatchCounts
from cgjobs.operations import Operations


@attrs.frozen
class Batch:
    """A batch of jobs and the callback that runs when all have ended.

    Args:
        id: Its id, which is that of the callback job.
    """

    id: str
    _operations: Operations = attrs.field(repr=False, eq=False)
    _run: Callable[..., Any] = attrs.field(repr=False, eq=False)

    def counts(self) -> BatchCounts:
        """How far it is; raises `JobNotFound` once its callback has ended and is not kept."""
        counts: BatchCounts = self._run(batch_counts(self.id))
        return counts

    def wait(self, timeout: timedelta) -> Any:
        """Wait for the callback's end and give its result; raises like `Client.wait`."""
        return self._run(self._operations.wait(self.id, timeout))


@attrs.frozen
class AsyncBatch:
    """`Batch` for asyncio.

    Args:
        id: Its id, which is that of the callback job.
    """

    id: str
    _operations: Operations = attrs.field(repr=False, eq=False)
    _run: Callable[..., Awaitable[Any]] = attrs.field(repr=False, eq=False)

    async def counts(self) -> BatchCounts:
        """How far it is, like `Batch.counts`."""
        counts: BatchCounts = await self._run(batch_counts(self.id))
        return counts

    async def wait(self, timeout: timedelta) -> Any:
        """Wait for the callback's end, like `Batch.wait`."""
        return await self._run(self._operations.wait(self.id, timeout))

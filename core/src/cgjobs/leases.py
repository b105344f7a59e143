"""Renewing the leases of running jobs, from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

import structlog

from cgjobs.broker import Sender, moves
from cgjobs.broker.presence import register
from cgjobs.config import Config
from cgjobs.errors import BrokerError


class LeaseKeeper(threading.Thread):
    """Renews every third of a lease, also while a handler blocks the event loop for a moment.

    It stops renewing once the loop has stood still for ``worker.loop_stall``: the jobs of a worker that hangs
    then go to another one.

    Args:
        worker: The worker's name.
        queues: The queues it serves.
        version: Our release, for the worker's entry.
        config: The configuration.
        running: Gives (queue, id, token) of each running job; called from this thread.
        loop_seen: Gives when the loop last turned, by the monotonic clock.
        lost: Told (id, token) of each attempt that is no longer ours; called from this thread.
        data_lost: Told when the broker has another epoch than before; called from this thread.
        epoch: What `register` gave.
    """

    def __init__(
        self,
        worker: str,
        queues: Sequence[str],
        version: str,
        config: Config,
        running: Callable[[], Iterable[tuple[str, str, str]]],
        loop_seen: Callable[[], float],
        lost: Callable[[Sequence[tuple[str, str]]], object],
        data_lost: Callable[[], object],
        epoch: str,
    ) -> None:
        super().__init__(name="cgjobs-leases", daemon=True)
        self._worker, self._queues, self._version, self._config = worker, queues, version, config
        self._running, self._loop_seen, self._lost = running, loop_seen, lost
        self._data_lost, self._epoch = data_lost, epoch
        self._sender = Sender(config.redis)
        self._ended = threading.Event()

    @property
    def entry_ttl(self) -> timedelta:
        """How long a silent worker's entry stays."""
        return entry_ttl(self._config.worker.lease)

    def run(self) -> None:
        """Renew until told to end: at once, so that there is a connection before a lease depends on it."""
        interval = self._config.worker.lease.total_seconds() / 3
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + interval
            if time.monotonic() - self._loop_seen() > self._config.worker.loop_stall.total_seconds():
                continue
            try:
                self._renew()
            except BrokerError:
                continue  # the worker's loop meets the same broker and says so; leases outlive two misses
            except Exception as error:  # without this thread every running job would soon run twice
                structlog.get_logger().error("leases_not_renewed", error=repr(error))
        self._sender.close()

    def _renew(self) -> None:
        jobs = list(self._running())
        call = moves.renew(
            self._worker, jobs, lease=self._config.worker.lease, ttl=self.entry_ttl, busy=bool(jobs)
        )
        renewal = self._sender.send(call)
        if not renewal.known or renewal.epoch != self._epoch:
            entry = register(self._worker, self._queues, self._version, self.entry_ttl, self._epoch)
            epoch, before = self._sender.send(entry), self._epoch
            if epoch != before:
                self._epoch = epoch
                self._data_lost()
        if renewal.lost:
            self._lost(renewal.lost)

    def end(self) -> None:
        """Stop renewing; returns at once."""
        self._ended.set()


def entry_ttl(lease: timedelta) -> timedelta:
    """How long the entry of a worker that does not renew stays, for a lease of this length."""
    return max(timedelta(seconds=10), 2 * lease)

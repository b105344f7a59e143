"""What a soak does: which fault comes when, and what is enqueued meanwhile; all of it decided by a seed."""

from __future__ import annotations

import itertools
import random
import threading
import time
from datetime import timedelta
from typing import Any

import attrs

from cgjobs import BrokerError, Client
from cgjobs.plugins import Registry
from tests.e2e.verdict import Record
from tests.jobs import config

LEASE = 3.0
WORKERS = 3
TIMEOUT = timedelta(seconds=1)
# Kind, how often beside the others, and for how long: from, to.
FAULTS: tuple[tuple[str, int, float, float], ...] = (
    ("kill", 4, 0, 0),
    ("stop", 3, 0, 0),
    ("freeze", 3, 0.1, 0.8),
    ("freeze", 1, LEASE + 0.3, LEASE + 1.5),
    ("broker", 2, 0.1, 1.5),
    ("pause", 2, 0.5, 2.0),
    ("cancel", 3, 0, 0),
    ("cut", 3, 0, 0),
    ("cut producers", 1, 0, 0),
    ("delay", 2, 0.5, 2.0),
    ("hold", 2, 0.2, 0.8),
    ("hold", 1, LEASE + 0.3, LEASE + 1.5),
    ("lose claim", 2, 0, 0),
    ("lose settle", 2, 0, 0),
    ("lose renew", 1, 0, 0),
    ("lose enqueue", 1, 0, 0),
)


@attrs.frozen
class Fault:
    """One thing to be done.

    Args:
        at: Seconds after the beginning.
        kind: What.
        place: To which worker, where it is one's.
        seconds: For how long, where it lasts.
    """

    at: float
    kind: str
    place: int
    seconds: float


def plan(rng: random.Random, seconds: float) -> list[Fault]:
    """What is done in so many seconds; the same for the same chance. Each kind comes in its turn."""
    found: list[Fault] = []
    deck: list[tuple[str, float, float]] = []
    at = 0.5
    while at < seconds:
        if not deck:
            deck = [(kind, low, high) for kind, times, low, high in FAULTS for _ in range(times)]
            rng.shuffle(deck)
        kind, low, high = deck.pop()
        found.append(Fault(round(at, 3), kind, rng.randrange(WORKERS), round(rng.uniform(low, high), 3)))
        at += rng.uniform(0.1, 0.8)
    return found


class Producer(threading.Thread):
    """Enqueues at random, and notes what it was told."""

    def __init__(
        self, name: str, url: str, registry: Registry, payloads: Any, seed: int, record: Record
    ) -> None:
        super().__init__(daemon=True)
        self._prefix, self._url, self._registry, self._payloads = name, url, registry, payloads
        self._rng, self._record, self.ended = random.Random(seed), record, threading.Event()

    def run(self) -> None:
        """Enqueue until `ended` is set."""
        rng, kept = self._rng, timedelta(hours=1)
        with Client(config(self._url, broker={"timeout": TIMEOUT}), self._registry) as client:
            for number in itertools.count():
                if self.ended.wait(0.02):
                    return
                job_id = f"{self._prefix}-{number}"
                ms = 1500 if rng.random() < 0.01 else rng.randrange(120)
                payload = self._payloads.Block(ms)
                if self._prefix == "alpha":
                    payload = self._payloads.Note(ms, fails=rng.random() < 0.1)
                delay = timedelta(seconds=rng.uniform(0, 2)) if rng.random() < 0.2 else None
                level: Any = rng.choice(["critical", "high", "normal", "low"])
                try:
                    client.enqueue(payload, job_id=job_id, delay=delay, priority=level, keep_completed=kept)
                except BrokerError:
                    self._record.unknown.append(job_id)
                else:
                    self._record.acknowledged[job_id] = time.monotonic()

"""rq's `SimpleWorker`, which runs jobs in its own process."""

from __future__ import annotations

import dataclasses

from rq import SimpleWorker

from benchmarks.peers import rq
from benchmarks.peers.rq import client as client

ABOUT = dataclasses.replace(
    rq.ABOUT,
    title="rq SimpleWorker",
    settings="JSON serializer, results not kept; one job at a time, in the worker's own process",
    rate=400,
)


def worker(kind: str, concurrency: int) -> None:
    """Works until told to stop."""
    rq.worker(kind, concurrency, SimpleWorker)

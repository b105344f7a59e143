"""Metrics of the whole fleet, read from the broker's counters at each scrape, and a worker's health.

The moves count in the broker itself, so a number is right whatever becomes of the worker that caused it.
Every worker shows the same numbers: scrape one of them, or take ``max without (instance)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from cgjobs.broker import Sender, reads
from cgjobs.builtin.endpoint import Endpoint
from cgjobs.errors import BrokerError, ConfigError, Fault
from cgjobs.hookspecs import hookimpl

BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the run time histogram, in seconds; those of functions/prelude.lua."""

_COUNTERS = {
    "retried": ("cgjobs_jobs_retried", "Attempts that failed and are tried again."),
    "snoozed": ("cgjobs_jobs_snoozed", "Runs that a handler put off."),
    "limited": ("cgjobs_jobs_rate_limited", "Runs that met a rate limit; their queue or key waits."),
    "held": ("cgjobs_jobs_held", "Jobs that a worker could not run and that were held for one that can."),
    "returned": ("cgjobs_jobs_returned", "Jobs that a stopping worker handed back."),
    "debounced": ("cgjobs_jobs_debounced", "Enqueues that were taken into a job that waited."),
    "unknown": (
        "cgjobs_jobs_outcome_unknown",
        "Jobs that failed because they may not run twice and nobody knows what their only run did.",
    ),
    "stale": ("cgjobs_jobs_stale", "Outcomes refused because another worker had the job by then."),
}


class Metrics:
    """The plugin: serves ``/metrics`` and ``/healthz`` while a worker runs, when a port is configured."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}

    @hookimpl
    def cgjobs_worker_start(self, worker: Any) -> None:
        """Start serving; raises `ConfigError` when the port cannot be had."""
        settings = worker.config.worker
        if settings.metrics_port is not None:
            collector = FleetCollector(worker)
            try:
                self._endpoints[worker.name] = Endpoint(
                    settings.metrics_host,
                    settings.metrics_port,
                    collector,
                    ready=worker.ready,
                    alive=worker.alive,
                    trouble=worker.trouble,
                )
            except OSError as error:
                collector.close()
                where = f"{settings.metrics_host}:{settings.metrics_port}"
                message = (
                    f"cannot listen on {where}: {error.strerror}; choose another port, or 0 for a free one"
                )
                raise ConfigError(
                    "/metrics cannot be served", [Fault("worker.metrics_port", message)]
                ) from None

    @hookimpl
    def cgjobs_worker_stop(self, worker: Any) -> None:
        """Stop serving."""
        endpoint = self._endpoints.pop(worker.name, None)
        if endpoint is not None:
            endpoint.close()


class FleetCollector(Collector):
    """Reads the fleet's numbers when it is asked; without a broker it says only that.

    Args:
        worker: The `WorkerHandle` in whose process it is.
    """

    def __init__(self, worker: Any) -> None:
        self._sender = Sender(worker.config.redis)
        self._registry = worker.registry

    def describe(self) -> Iterable[Any]:
        """Nothing is known before the broker is asked."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics of this moment."""
        up = GaugeMetricFamily("cgjobs_broker_up", "Whether the broker answered this scrape.")
        try:
            queues = self._queues()
            counters = self._sender.send(reads.metrics())
            readings = self._sender.send(reads.stats(queues))
            names = self._sender.send(reads.worker_names())
            workers = self._sender.send(reads.workers(names)) if names else []
        except BrokerError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _processed(counters)
        yield from _durations(counters)
        yield from _sizes(readings)
        yield _waits(readings)
        losses = CounterMetricFamily(
            "cgjobs_data_losses", "How often the broker had lost its data; counted since it did."
        )
        losses.add_metric([], counters.get("data_lost", 0))
        yield losses
        active = GaugeMetricFamily("cgjobs_active_workers", "Workers that are alive.")
        active.add_metric([], len(workers))
        yield active

    def _queues(self) -> list[str]:
        found: list[str] = self._sender.send(reads.queue_names())
        return sorted({*found, *self._registry.processors})

    def close(self) -> None:
        """Close the connection to the broker."""
        self._sender.close()


def _labels(counters: Mapping[str, int], kind: str) -> Iterator[tuple[list[str], int]]:
    for field, value in counters.items():
        name, _, label = field.partition("|")
        if name == kind:
            queue, _, subtype = label.partition("|")
            yield [queue, subtype], value


def _processed(counters: Mapping[str, int]) -> Iterator[Any]:
    labels = ("queue", "type")
    processed = CounterMetricFamily(
        "cgjobs_jobs_processed", "Jobs that ended, by how.", labels=(*labels, "outcome")
    )
    failed = CounterMetricFamily("cgjobs_jobs_failed", "Jobs that failed for good.", labels=labels)
    for outcome in ("completed", "failed"):
        for values, count in _labels(counters, outcome):
            processed.add_metric([*values, outcome], count)
            if outcome == "failed":
                failed.add_metric(values, count)
    yield processed
    yield failed
    for kind, (name, text) in _COUNTERS.items():
        family = CounterMetricFamily(name, text, labels=labels)
        for values, count in _labels(counters, kind):
            family.add_metric(values, count)
        yield family
    for kind, text in (
        ("recovered", "Jobs taken back from workers that died."),
        ("cancelled", "Jobs ended on purpose."),
        ("refused", "Jobs that were not enqueued, since their queue was full."),
        ("expired", "Jobs that no worker started in time."),
        ("quarantined", "Entries that were no jobs of ours and were set aside."),
    ):
        by_queue = CounterMetricFamily(f"cgjobs_jobs_{kind}", text, labels=("queue",))
        for values, count in _labels(counters, kind):
            by_queue.add_metric(values[:1], count)
        yield by_queue


def _durations(counters: Mapping[str, int]) -> Iterator[Any]:
    family = HistogramMetricFamily(
        "cgjobs_job_processing_seconds", "How long attempts ran, in seconds.", labels=("queue", "type")
    )
    sums = {tuple(values): us / 1e6 for values, us in _labels(counters, "seconds_us")}
    for values, total in _labels(counters, "seconds_count"):
        label, running = "|".join(values), 0
        buckets = []
        for i, bound in enumerate(BUCKETS, 1):
            running += counters.get(f"seconds_{i}|{label}", 0)
            buckets.append((str(bound), running))
        buckets.append(("+Inf", total))
        family.add_metric(values, buckets, sums.get(tuple(values), 0.0))
    yield family


def _sizes(readings: Mapping[str, reads.QueueReading]) -> Iterator[Any]:
    size = GaugeMetricFamily("cgjobs_queue_size", "Jobs in a queue, by state.", labels=("queue", "state"))
    paused = GaugeMetricFamily("cgjobs_queue_paused", "Whether a queue is paused.", labels=("queue",))
    limited = GaugeMetricFamily(
        "cgjobs_queue_rate_limited",
        "Whether a queue waits since a handler met a rate limit.",
        labels=("queue",),
    )
    for name, reading in readings.items():
        row = reading.stats
        size.add_metric([name, "waiting"], row.waiting - reading.held)  # each job in one state, for sums
        size.add_metric([name, "held"], reading.held)
        size.add_metric([name, "deferred"], reading.deferred)
        for state in ("active", "delayed", "failed"):
            size.add_metric([name, state], getattr(row, state))
        paused.add_metric([name], int(row.paused))
        limited.add_metric([name], int(row.limited_until is not None))
    yield size
    yield paused
    yield limited


def _waits(readings: Mapping[str, reads.QueueReading]) -> GaugeMetricFamily:
    now = datetime.now(UTC)
    family = GaugeMetricFamily(
        "cgjobs_oldest_waiting_seconds",
        "How long the job that waits longest has been ready, in seconds.",
        labels=("queue",),
    )
    for queue, reading in readings.items():
        age = (now - reading.waiting_since).total_seconds() if reading.waiting_since else 0.0
        family.add_metric([queue], max(0.0, age))
    return family

"""``/metrics`` and ``/healthz`` of a running worker."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cgjobs import AsyncClient, ConfigError, Context, Discard, Processor, plugins, subtype
from cgjobs.broker import library
from cgjobs.builtin.metrics import BUCKETS, Metrics
from cgjobs.worker import Worker
from tests.jobs import Count, Note, awaited, config, plugin, running, until


@subtype("work.note")
async def note(payload: Note, ctx: Context) -> None:
    """Do nothing."""


@subtype("work.count")
def refuse(payload: Count, ctx: Context) -> None:
    """Fail for good."""
    raise Discard("never")


class Scraped:
    """A worker with its endpoint, and what it answers."""

    def __init__(self, client: AsyncClient, port: int) -> None:
        self.client, self._port = client, port

    async def get(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    async def samples(self) -> dict[str, float]:
        _, text = await self.get("/metrics")
        return {
            f"{sample.name}{sorted(sample.labels.values())}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@asynccontextmanager
async def scraped(url: str) -> AsyncIterator[Scraped]:
    metrics = Metrics()
    module = plugin(note, refuse, processors=[Processor("work", concurrency=5)])
    provided = plugins.load(found=(), extra=[("test", module), ("metrics", metrics)], strict=True)
    chosen = config(url, metrics_port=0)
    async with AsyncClient(chosen, provided) as client, running(Worker(chosen, provided)):
        endpoint = await until(lambda: next(iter(metrics._endpoints.values()), None))
        yield Scraped(client, endpoint.port)


@awaited
async def test_the_specifications_five_metrics_tell_what_happened(redis_url: str) -> None:
    async with scraped(redis_url) as worker:
        await worker.client.enqueue_many([Note()] * 7)
        job = await worker.client.enqueue(Count(1))
        await until(lambda: _ended(worker, job.id))

        found = await worker.samples()

    assert found["cgjobs_jobs_processed_total['completed', 'work', 'work.note']"] == 7
    assert found["cgjobs_jobs_processed_total['failed', 'work', 'work.count']"] == 1
    assert found["cgjobs_jobs_failed_total['work', 'work.count']"] == 1
    assert found["cgjobs_job_processing_seconds_count['work', 'work.note']"] == 7
    assert found["cgjobs_job_processing_seconds_bucket['+Inf', 'work', 'work.note']"] == 7
    assert found["cgjobs_queue_size['failed', 'work']"] == 1
    assert found["cgjobs_queue_size['waiting', 'work']"] == 0
    assert found["cgjobs_active_workers[]"] == 1
    assert found["cgjobs_broker_up[]"] == 1


async def _ended(worker: Scraped, job_id: str) -> bool:
    stats = (await worker.client.queues())["work"]
    return stats.completed == 7 and stats.failed == 1


@awaited
async def test_promtool_has_no_complaint(redis_url: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus (.ci/run does)")
    async with scraped(redis_url) as worker:
        await worker.client.enqueue_many([Note()] * 3)
        await worker.client.enqueue(Count(1))
        await until(lambda: _sizes_known(worker))
        _, text = await worker.get("/metrics")

    checked = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def _sizes_known(worker: Scraped) -> bool:
    return (await worker.client.queues())["work"].failed == 1


@awaited
async def test_a_worker_is_live_and_ready_and_knows_no_other_page(redis_url: str) -> None:
    async with scraped(redis_url) as worker:
        await until(lambda: _is_ready(worker))
        live, ready, other = [await worker.get(path) for path in ("/healthz/live", "/healthz/ready", "/x")]

    assert (live, ready, other[0]) == ((200, "ok\n"), (200, "ok\n"), 404)


async def _is_ready(worker: Scraped) -> bool:
    return (await worker.get("/healthz/ready"))[0] == 200


@awaited
async def test_without_a_broker_a_worker_is_live_and_not_ready_and_says_so(
    own_server: Any,
) -> None:
    server = own_server()
    async with scraped(server.url) as worker:
        await until(lambda: _is_ready(worker))
        server.kill()

        async def not_ready() -> bool:
            return not await _is_ready(worker)

        await until(not_ready)
        found = await worker.samples()
        live = await worker.get("/healthz/live")
        server.start()
        await until(lambda: _is_ready(worker))

    assert found["cgjobs_broker_up[]"] == 0
    assert live[0] == 200


def test_the_histograms_bounds_are_those_of_the_functions() -> None:
    bounds = library.source().partition("local BUCKETS = {")[2].partition("}")[0]

    assert [int(bound) / 1e6 for bound in bounds.split(",")] == list(BUCKETS)


@awaited
async def test_a_worker_that_waits_for_its_broker_is_live_and_not_ready(own_server: Any) -> None:
    server = own_server()
    server.kill()
    async with scraped(server.url) as worker:
        live, ready = [await worker.get(path) for path in ("/healthz/live", "/healthz/ready")]
        server.start()

        await until(lambda: _is_ready(worker))

    assert (live[0], ready[0]) == (200, 503)


@awaited
async def test_a_port_that_is_taken_is_named_with_what_to_do(redis_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        provided = plugins.load(
            found=(), extra=[("test", plugin(note, processors=[Processor("work")])), ("metrics", Metrics())]
        )

        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*another port"):
            await Worker(config(redis_url, metrics_port=port), provided).run()

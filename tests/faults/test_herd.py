"""Row 41: midnight. Ten thousand delayed jobs are due in the same second, and three schedules as well."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from cgjobs import AsyncClient, Context, Cron, Processor, Slot, Subtype, subtype
from cgjobs.scheduler import Scheduler
from cgjobs.worker import Worker
from tests.jobs import Count, Note, awaited, config, raw, registry, running, server_time, until

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]
HERD = 10_000
EACH = 600  # jobs of one slot: more than one part
SCHEDULED = {
    name: attrs.make_class(name, {"n": attrs.field(type=int)}) for name in ("early", "middle", "late")
}
MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
BUSY = 10
"""How many times longer than a machine of its own a busy one may take."""


def scheduled(name: str, runs: Counter[str]) -> tuple[Subtype[Any, Any], Processor]:
    """A job type with a schedule of `EACH` jobs at midnight."""

    async def handler(payload: Any, ctx: Any) -> None:
        runs[f"{name} {payload.n}"] += 1

    def at_midnight(slot: Slot) -> Iterator[Any]:
        return (SCHEDULED[name](number) for number in range(EACH))

    handler.__annotations__ = {"payload": SCHEDULED[name], "ctx": Context, "return": None}
    processor = Processor(name, concurrency=20, schedule=Cron("0 0 * * *"), on_schedule=at_midnight)
    return subtype(f"{name}.job")(handler), processor


async def settled(client: AsyncClient) -> bool:
    """Whether no job of the herd is waiting or running."""
    stats = await client.queue("herd").stats()
    return not stats.waiting + stats.active + stats.delayed


@awaited
async def test_a_herd_at_midnight_comes_in_parts_and_starves_no_other_queue(redis_url: str) -> None:
    runs: Counter[str] = Counter()
    began: dict[int, float] = {}

    @subtype("herd.note")
    async def herd(payload: Note, ctx: Context) -> None:
        runs[payload.text] += 1

    @subtype("other.count")
    async def other(payload: Count, ctx: Context) -> None:
        began[payload.number] = time.monotonic()

    parts = [scheduled(name, runs) for name in SCHEDULED]
    queues = [Processor("herd", concurrency=20), Processor("other", concurrency=20)]
    provided = registry(
        herd, other, *(part for part, _ in parts), processors=[*queues, *(queue for _, queue in parts)]
    )
    settings = config(redis_url, broker={"timeout": timedelta(seconds=20)})
    scheduler = Scheduler(settings, provided)
    with raw(redis_url) as behind:
        async with AsyncClient(settings, provided) as client, running(Worker(settings, provided)):
            due = datetime.fromtimestamp(server_time(behind) + 10, UTC)
            await client.enqueue_many([Note(str(number)) for number in range(HERD)], at=due)
            # Of another queue, due all through the herd, and the last of those that a worker looks at.
            late = {n: due + timedelta(milliseconds=50 * n) for n in range(20)}
            for number, at in late.items():
                await client.enqueue(Count(number), at=at)
            assert server_time(behind) < due.timestamp(), "all are due in one second, and none before"
            behind.config_set("slowlog-log-slower-than", 1000)
            behind.config_set("slowlog-max-len", 10_000)
            behind.slowlog_reset()
            await until(lambda: server_time(behind) >= due.timestamp())
            start = time.monotonic()
            fired = await asyncio.gather(*(scheduler.fire(name, MIDNIGHT) for name in SCHEDULED))
            latencies = []
            while len(runs) < HERD + 3 * EACH:
                asked, number = time.monotonic(), 1000 + len(latencies)
                await client.enqueue(Count(number))
                await until(lambda n=number: n in began)
                latencies.append(began[number] - asked)
                assert time.monotonic() - start < 120
            drained = time.monotonic() - start
            calls = [
                entry for entry in behind.slowlog_get(10_000) if entry["command"].upper().startswith(b"FCALL")
            ]
            await until(lambda: all(number in began for number in late))
            # A handler's end is not yet the job's: its place is filled before its outcome is written.
            await until(lambda: settled(client))
            stats = await client.queue("herd").stats()
        behind.config_set("slowlog-log-slower-than", 10_000)
        behind.config_set("slowlog-max-len", 128)
    await scheduler.close()

    lateness = [began[number] - start - 0.05 * number for number in late]
    # Of the machine's clock: what a busy machine does meanwhile is in it.
    longest = max((call["duration"] / 1e6 for call in calls if b"CALL" in call["command"].upper()), default=0)
    assert fired == [True, True, True]
    assert set(runs.values()) == {1}
    assert (stats.completed, stats.failed) == (HERD, 0)
    assert longest < 0.02 * BUSY
    assert max(latencies) < 0.5 * BUSY
    assert max(lateness) < 0.5 * BUSY
    assert drained < 5 * BUSY

"""Whatever somebody writes into the broker is not executed, stops nobody, and can be seen."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import pickle
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from cgjobs import (
    AsyncClient,
    Client,
    Context,
    Event,
    JobNotFound,
    JobState,
    Priority,
    keys,
    plugins,
    subtype,
)
from cgjobs.plugins import Registry
from cgjobs.worker import Worker
from tests.jobs import Note, at_work, awaited, config, registry, running, until

QUEUE = "work"
MEGABYTE = 1024 * 1024
MEMORY = Path("/proc/self/status")


@contextlib.contextmanager
def broker(url: str) -> Iterator[redis.Redis]:
    """A plain connection, of bytes."""
    with redis.Redis.from_url(url) as connection:
        yield connection


def put(connection: redis.Redis, job_id: str, data: bytes) -> None:
    """Write a waiting job by hand."""
    fields: dict[Any, Any] = {
        "status": "queued",
        "origin": QUEUE,
        "data": data,
        "retries_left": "2",
        "failure_ttl": "1000",
    }
    connection.hset(keys.job(job_id), mapping=fields)
    connection.rpush(keys.waiting(QUEUE), job_id)


def quarantined(connection: redis.Redis) -> set[bytes]:
    """What is in quarantine."""
    entries: Any = connection.xrange(keys.QUARANTINE)
    return {fields[b"entry"] for _, fields in entries}


def call(name: object = "work.note", payload: object = None, **envelope: object) -> bytes:
    """A call in RQ's form; further parts of the envelope by name."""
    payload = {"type": "note", "text": "hi"} if payload is None else payload
    whole = {"v": 1, "name": name, "payload": payload, "correlationId": "c", **envelope}
    return json.dumps(["cgjobs.perform", None, [whole], {}]).encode()


def bomb(megabytes: int) -> bytes:
    """Zeros, compressed a thousandfold: one block, repeated."""
    compressor = zlib.compressobj(9)
    zeros = bytes(MEGABYTE)
    head = compressor.compress(zeros) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(zeros) + compressor.flush(zlib.Z_FULL_FLUSH)
    return head + (megabytes - 1) * block + compressor.flush()


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


DEEP = b"[" * 10_000 + b"]" * 10_000

UNREADABLE: Mapping[str, Callable[[Path], bytes]] = {
    "os.system": lambda canary: json.dumps(["os.system", None, [f"touch {canary}"], {}]).encode(),
    "os.system, compressed": lambda canary: zlib.compress(
        json.dumps(["os.system", None, [f"touch {canary}"], {}]).encode()
    ),
    "a method of an instance": lambda canary: json.dumps(["touch", {"path": str(canary)}, [], {}]).encode(),
    "pickle": lambda canary: pickle.dumps(Trap(canary)),
    "pickle, compressed": lambda canary: zlib.compress(pickle.dumps(("os.system", Trap(canary), (), {}))),
    "random bytes": lambda canary: bytes(range(256)),
    "compressed and cut off": lambda canary: zlib.compress(call())[:-3],
    "10 MB of zeros": lambda canary: zlib.compress(bytes(10 * MEGABYTE)),
    "10,000 levels": lambda canary: DEEP,
    "10,000 levels in the payload": lambda canary: call(payload={"text": 0}).replace(b"0}", DEEP + b"}"),
    "NaN": lambda canary: call(payload={"text": float("nan")}),
    "infinity": lambda canary: call(payload={"text": float("inf")}),
    "repeated keys": lambda canary: call().replace(b'"v": 1', b'"v": 1, "v": 1'),
    "a huge integer": lambda canary: call(payload={"text": 10**400}),
    "half a surrogate pair": lambda canary: call(payload={"text": "\ud800"}),
    "no envelope": lambda canary: b'["cgjobs.perform",null,[],{}]',
    "null": lambda canary: b"null",
    "an envelope of version 2": lambda canary: call(v=2),
    "an envelope of version true": lambda canary: call(v=True),
    "a further field": lambda canary: call(func="os.system"),
    "a payload that is a list": lambda canary: call(payload=["hi"]),
    "a name that is a number": lambda canary: call(name=5),
    "a path as the name": lambda canary: call(name="../x"),
    "a homoglyph in the name": lambda canary: call(name="w\N{CYRILLIC SMALL LETTER O}rk.note"),
    "a name of 10 kB": lambda canary: call(name="work." + 10_000 * "x"),
    "3 MB": lambda canary: call(payload={"type": "note", "text": 3 * MEGABYTE * "x"}),
    "a payload that is not as its class says": lambda canary: call(payload={"type": "note", "text": 5}),
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE.keys())
@awaited
async def test_a_job_that_is_none_of_ours_fails_unexecuted_and_says_why(
    redis_url: str, tmp_path: Path, make: Callable[[Path], bytes]
) -> None:
    with broker(redis_url) as connection:
        put(connection, "bad", make(tmp_path / "canary"))

    async with at_work(redis_url) as work:
        good = await work.client.enqueue(Note("behind it"))
        assert await work.client.wait(good) == "behind it"
        bad = await work.client.get("bad")

    assert bad.state is JobState.FAILED
    assert bad.errors[0].error
    assert len(bad.errors) == 1, "trying again cannot mend it"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["os.system", "work.nothing", "cgjobs.perform"])
@awaited
async def test_a_job_of_an_unknown_type_waits_for_a_worker_that_knows_it(redis_url: str, name: str) -> None:
    with broker(redis_url) as connection:
        put(connection, "unknown", call(name=name, payload={"type": name.partition(".")[2]}))

    async with at_work(redis_url) as work:
        good = await work.client.enqueue(Note("behind it"))
        assert await work.client.wait(good) == "behind it"
        unknown = await work.client.get("unknown")

    assert unknown.state is JobState.HELD
    assert (unknown.attempt, unknown.attempts) == (1, 3)


@awaited
async def test_data_that_is_too_large_is_never_read(redis_url: str) -> None:
    with broker(redis_url) as connection:
        put(connection, "large", call(payload={"type": "note", "text": MEGABYTE * "x"}))

        async with at_work(redis_url) as work:
            await until(lambda: connection.zcard(keys.failed(QUEUE)))
            large = await work.client.get("large")

        assert b"large" in quarantined(connection)
    assert "bytes, more than" in large.errors[0].error
    assert "job_started" not in work.names()


@pytest.mark.skipif(not MEMORY.exists(), reason="the peak is read from /proc")
@awaited
async def test_no_data_makes_a_worker_big(redis_url: str) -> None:
    bombs = [bomb(10), bomb(450), bomb(1024), DEEP, call(payload={"text": 3 * MEGABYTE * "x"})]
    assert all(len(zlib.decompressobj().decompress(data, MEGABYTE)) == MEGABYTE for data in bombs[:3])
    async with at_work(redis_url) as work:
        first = await work.client.enqueue(Note("first"))
        assert await work.client.wait(first) == "first"
        before = _kilobytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)

        with broker(redis_url) as connection:
            for index, data in enumerate(bombs):
                put(connection, f"bomb-{index}", data)
        good = await work.client.enqueue(Note("behind them"))
        assert await work.client.wait(good) == "behind them"
        jobs = [await work.client.get(f"bomb-{index}") for index in range(len(bombs))]

    assert [job.state for job in jobs] == [JobState.FAILED] * len(bombs)
    assert _kilobytes("VmHWM") - before < 50 * 1024


def _kilobytes(name: str) -> int:
    lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
    return int(lines[name].split()[0])


# Garbage where ids of jobs, names and numbers should be.

GARBAGE = (
    b"",
    b"\xff\xfe\x00",
    10_000 * b"x",
    b"a:b:c",
    b"::",
    b"with spaces",
    b"../../etc/passwd",
    b"%s%n",
    b"no-such-job",
)
SCORES = ("-inf", "0", "1", "1e15", "1e300", "inf")
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"

GARBAGE_FIELDS: dict[Any, Any] = {
    **dict.fromkeys(GARBAGE, b"garbage"),
    **dict.fromkeys(("picks", "completed", "completed|work|work.note", "last_heartbeat"), b"garbage"),
    "levels": "1",
}
KINDS: Mapping[str, Callable[[redis.Redis, str], object]] = {
    "string": lambda connection, key: connection.set(key, "garbage"),
    "list": lambda connection, key: connection.rpush(key, *GARBAGE),
    "set": lambda connection, key: connection.sadd(key, *GARBAGE),
    "zset": lambda connection, key: [
        connection.zadd(key, {entry + score.encode(): float(score)}) for score in SCORES for entry in GARBAGE
    ],
    "hash": lambda connection, key: connection.hset(key, mapping=GARBAGE_FIELDS),
    "stream": lambda connection, key: [
        connection.xadd(key, {"events": b"\xff"}),
        connection.xadd(key, {"events": b"5"}),
        connection.xadd(key, {"events": b'[5, "x", ["completed"], {"a": 1}]'}),
        connection.xadd(key, {b"\xff": b"garbage", b"type": b"1", b"return_value": b"garbage"}),
        connection.xadd(key, {"events": b'[["completed"]]'}),
        connection.xadd(key, {"exc_string": "garbage"}, id=f"{2**62}-0"),  # no year has this number
        connection.xadd(key, {"exc_string": "garbage"}, id=LAST_ID),  # nothing can be added after it
    ],
}
KEYS: Mapping[str, str] = {
    keys.QUEUES: "set",
    keys.WORKERS: "set",
    keys.LEASES: "zset",
    keys.EVENTS: "stream",
    keys.METRICS: "hash",
    keys.QUARANTINE: "stream",
    keys.queue(QUEUE): "hash",
    keys.wake(QUEUE): "list",
    keys.workers_of(QUEUE): "set",
    keys.active(QUEUE): "zset",
    keys.completed(QUEUE): "zset",
    keys.failed(QUEUE): "zset",
    keys.delayed(QUEUE): "zset",
    keys.deferred(QUEUE): "zset",
    keys.cancelled(QUEUE): "zset",
    **{keys.waiting(QUEUE, level): "list" for level in Priority},
}


def read_everything(client: Client) -> None:
    """Use every reader."""
    client.queues()
    client.workers()
    client.queue(QUEUE).stats()
    for state in JobState:
        client.queue(QUEUE).jobs(state)
    with pytest.raises(JobNotFound):
        client.wait("no-such-job")


def read_job(client: Client, job_id: str) -> None:
    """Look at a job, which need not be one."""
    with contextlib.suppress(JobNotFound):
        client.get(job_id)


async def stays_usable(url: str, provided: Registry, level: Priority = Priority.NORMAL) -> None:
    """See that all can be read and that a job completes."""
    with Client(config(url), provided) as client:
        await asyncio.to_thread(read_everything, client)
        job = await asyncio.to_thread(client.enqueue, Note("good"), priority=level)
        assert await asyncio.to_thread(client.wait, job) == "good"
        await asyncio.to_thread(read_everything, client)


@pytest.mark.parametrize(("key", "kind"), KEYS.items(), ids=KEYS.keys())
@awaited
async def test_garbage_among_the_entries_of_a_key_stops_nobody(redis_url: str, key: str, kind: str) -> None:
    events: list[Event] = []
    provided = registry(events=events)
    chosen = config(redis_url)
    with broker(redis_url) as connection, Client(chosen, provided) as client:
        critical = client.enqueue(Note("before"), priority="critical")
        KINDS[kind](connection, key)
        read_everything(client)
        before = client.enqueue(Note("before"))

        async with running(Worker(chosen, provided)):
            await stays_usable(redis_url, provided, level=Priority.LOW)
            assert await asyncio.to_thread(client.wait, critical) == "before"
            assert await asyncio.to_thread(client.wait, before) == "before"
            if kind == "list" and key != keys.wake(QUEUE):
                await until(lambda: connection.llen(key) == 0)
                assert {entry[:200] for entry in GARBAGE} <= quarantined(connection)
            if key == keys.delayed(QUEUE):
                await until(lambda: connection.zcount(key, "-inf", 1) == 0)
                assert {(entry + b"0")[:200] for entry in GARBAGE} <= quarantined(connection)
    assert "broker_lost" not in {event.name for event in events}, "a call was refused"


@pytest.mark.parametrize(("key", "kind"), KEYS.items(), ids=KEYS.keys())
@awaited
async def test_a_key_of_a_wrong_type_stops_nobody(redis_url: str, key: str, kind: str) -> None:
    events: list[Event] = []
    provided = registry(events=events)
    chosen = config(redis_url)
    with broker(redis_url) as connection, Client(chosen, provided) as client:
        async with running(Worker(chosen, provided)):
            for wrong in KINDS.keys() - {kind}:
                connection.delete(key)
                KINDS[wrong](connection, key)
                if key != keys.waiting(QUEUE):
                    connection.rpush(keys.waiting(QUEUE), wrong)
                await stays_usable(redis_url, provided)
                assert key == keys.waiting(QUEUE) or wrong.encode() in quarantined(connection)
        good = client.enqueue(Note("after"))

        async with running(Worker(chosen, provided)):
            assert await asyncio.to_thread(client.wait, good) == "after"
    assert "broker_lost" not in {event.name for event in events}, "a call was refused"


@awaited
async def test_a_worker_whose_entry_is_overwritten_enters_itself_again(redis_url: str) -> None:
    chosen = config(redis_url, lease=timedelta(seconds=0.3))  # renewed every 0.1 s
    worker = Worker(chosen, registry())
    with broker(redis_url) as connection, Client(chosen, registry()) as client:
        async with running(worker):
            await until(lambda: client.workers())
            connection.set(keys.worker(worker.name), "garbage")

            await until(lambda: [found.pid for found in client.workers()] == [os.getpid()])


@awaited
async def test_a_list_of_sent_calls_of_a_wrong_type_stops_nobody(redis_url: str) -> None:
    provided = registry()
    with broker(redis_url) as connection:
        async with running(Worker(config(redis_url), provided)):
            minute = int(time.time()) // 60
            for bucket in (minute - 1, minute, minute + 1):
                connection.set(f"cgjobs:calls:{bucket}", "garbage")

            await stays_usable(redis_url, provided)


@awaited
async def test_what_was_of_a_wrong_type_is_set_aside_and_not_lost(redis_url: str) -> None:
    provided = registry()
    with broker(redis_url) as connection:
        connection.set(keys.waiting(QUEUE), "somebody's")

        async with running(Worker(config(redis_url), provided)):
            await stays_usable(redis_url, provided)

        [aside] = connection.keys(f"cgjobs:set-aside:{keys.waiting(QUEUE)}:*")
        assert connection.get(aside) == b"somebody's"
        assert keys.waiting(QUEUE).encode() in quarantined(connection)


@pytest.mark.parametrize("kind", KINDS)
@awaited
async def test_a_job_whose_keys_are_garbage_stops_nobody(redis_url: str, kind: str) -> None:
    provided = registry()
    chosen = config(redis_url)
    with broker(redis_url) as connection, Client(chosen, provided) as client:
        for job_id in ("hash", "results"):
            connection.rpush(keys.waiting(QUEUE), job_id)
        KINDS[kind](connection, keys.job("hash"))
        client.enqueue(Note("hi"), job_id="results")
        KINDS[kind](connection, keys.results("results"))
        read_job(client, "hash")
        read_job(client, "results")

        async with running(Worker(chosen, provided)):
            await stays_usable(redis_url, provided)
            await until(lambda: not connection.exists(keys.job("results")))
            read_job(client, "results")

        assert b"hash" in quarantined(connection)


# Garbage in the fields of one of our own jobs.

FIELDS = (
    "status",
    "retries_left",
    "number_of_retries",
    "recoveries",
    "timeout",
    "timeout_ms",
    "backoff",
    "priority",
    "result_ttl",
    "failure_ttl",
    "created_at",
    "started_at",
    "run_at",
    "token",
    "meta",
    "origin",
    "description",
    "worker_name",
    "data",
)
VALUES = (
    b"",
    b"x",
    b"-1",
    b"1e309",
    b"nan",
    400 * b"9",
    b"%d" % 2**62,
    b"\xff\x00",
    b"[]",
    b'{"progress": {"done": []}}',
    "²".encode(),
)


@pytest.mark.parametrize("field", FIELDS)
@awaited
async def test_garbage_in_a_field_of_a_job_ends_where_somebody_sees_it(redis_url: str, field: str) -> None:
    provided = registry()
    chosen = config(redis_url)
    with broker(redis_url) as connection, Client(chosen, provided) as client:
        jobs = [client.enqueue(Note("hi"), job_id=f"job-{index}") for index in range(len(VALUES))]
        for job, value in zip(jobs, VALUES, strict=True):
            connection.hset(keys.job(job.id), field, value)
            client.get(job.id)

        def is_seen(job_id: str) -> bool:
            if job_id.encode() in quarantined(connection):
                return True
            try:
                return client.get(job_id).state.final
            except JobNotFound:
                return connection.xlen(keys.results(job_id)) == 1  # completed, and not kept

        async with running(Worker(chosen, provided)):
            await stays_usable(redis_url, provided)
            for job in jobs:
                await until(functools.partial(is_seen, job.id))


@awaited
async def test_a_running_job_whose_token_somebody_wrote_over_is_run_again(redis_url: str) -> None:
    first, go_on = asyncio.Event(), asyncio.Event()

    @subtype("work.wait")
    async def wait(payload: Note, ctx: Context) -> None:
        if first.is_set():
            return
        first.set()
        await go_on.wait()

    settings = config(redis_url, lease=timedelta(seconds=1), reap_interval=timedelta(seconds=0.1))
    async with at_work(redis_url, wait, settings=settings) as work:
        job = await work.client.enqueue(Note())
        await first.wait()
        with broker(redis_url) as connection:
            connection.hset(keys.job(job.id), "token", "garbage")
        go_on.set()

        assert await work.client.wait(job) is None

    assert [
        name for name in work.names(job.id) if name in ("job_recovered", "job_completed", "job_stale")
    ] == [
        "job_stale",
        "job_recovered",
        "job_completed",
    ]


# Plugins that break when they are loaded, installed like real ones.

PLUGINS = {
    "raises": "raise RuntimeError('broken')",
    "exits": "import sys; sys.exit(3)",
    "misspells": "from cgjobs import hookimpl\n@hookimpl\ndef cgjobs_subtype(): return []",
    "is-from-tomorrow": "CGJOBS_API = 99",
    "returns-junk": "from cgjobs import hookimpl\n@hookimpl\ndef cgjobs_subtypes(): return [5]",
    "z-repeats": (
        "from cgjobs import Processor, hookimpl\n"
        "@hookimpl\ndef cgjobs_processors(): return [Processor('hostile_good')]"
    ),
}
GOOD_PLUGIN = """
import attrs
from cgjobs import Processor, hookimpl, subtype

@attrs.frozen
class Hello:
    name: str

@subtype("hostile_good.hello")
def hello(payload: Hello, ctx):
    return f"hello {payload.name}"

@hookimpl
def cgjobs_processors():
    return [Processor("hostile_good")]

@hookimpl
def cgjobs_subtypes():
    return [hello]
"""


@awaited
async def test_broken_plugins_are_named_by_their_distribution_and_the_others_work(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, source in {**PLUGINS, "good": GOOD_PLUGIN}.items():
        module = f"hostile_{name.replace('-', '_')}"
        installed = tmp_path / f"{module}-1.0.dist-info"
        installed.mkdir()
        (tmp_path / f"{module}.py").write_text(source)
        (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hostile-{name}\nVersion: 1.0\n")
        (installed / "entry_points.txt").write_text(f"[cgjobs]\n{name} = {module}\n")
    monkeypatch.syspath_prepend(tmp_path)

    ours = [*PLUGINS, "good"]

    provided = plugins.load(only=ours)
    client = AsyncClient(config(redis_url), provided)
    async with client, running(Worker(config(redis_url), provided)):
        job = await client.enqueue_data("hostile_good.hello", {"name": "Ada"})
        assert await client.wait(job) == "hello Ada"

    loaded = {item.name: item for item in provided.plugins if item.name in ours}
    assert {name: item.state for name, item in loaded.items()} == {
        **dict.fromkeys(PLUGINS, "quarantined"),
        "good": "loaded",
    }
    assert {item.distribution for item in loaded.values()} == {f"hostile-{name}" for name in ours}
    assert loaded["raises"].reason == "RuntimeError: broken"
    assert loaded["exits"].reason == "SystemExit: 3"
    assert "did you mean 'cgjobs_subtypes'?" in loaded["misspells"].reason
    assert "plugin API 99" in loaded["is-from-tomorrow"].reason
    assert "which is no Subtype" in loaded["returns-junk"].reason
    assert "provided twice: by hostile-good and by hostile-z-repeats" in loaded["z-repeats"].reason

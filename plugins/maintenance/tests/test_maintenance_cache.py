"""`maintenance.cache` on a real Valkey."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import redis
from redis.exceptions import ResponseError

from cgjobs import Discard, JobCancelled, Retry, Snooze, keys
from cgjobs.testing import RecordingContext
from cgjobs_maintenance import Cache, CacheResult, Settings, cache_server
from cgjobs_maintenance.cache_keys import denied
from cgjobs_maintenance.cache_sweep import CacheSweep
from cgjobs_maintenance.handlers import cache
from cgjobs_maintenance.settings import CacheTarget

StartServer = Callable[..., str]
PATTERN = "chatgenius:*"


@pytest.fixture
def server(cache_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(cache_url) as client:
        yield client


def fill(server: redis.Redis, kind: str, count: int, **options: Any) -> None:
    for number in range(count):
        server.set(f"chatgenius:{kind}:{number}", "x" * 100, **options)


def context(url: str, **options: Any) -> RecordingContext:
    target = CacheTarget(url, prefixes=("chatgenius:",), protected=("chatgenius:session:",))
    return RecordingContext(settings=[Settings(caches={"chatgenius": target})], **options)


def later(ctx: RecordingContext, by: timedelta) -> RecordingContext:
    """As if the job had been enqueued so much later."""
    assert ctx.job.created_at is not None
    ctx.job = attrs.evolve(ctx.job, created_at=ctx.job.created_at + by)
    return ctx


def run(url: str, **fields: Any) -> CacheResult:
    return cache(Cache("chatgenius", **{"pattern": PATTERN, **fields}), context(url))


def names(server: redis.Redis) -> list[bytes]:
    return sorted(server.keys("*"))  # type: ignore[arg-type]


def test_keys_that_would_stay_for_ever_go_and_those_with_a_time_to_live_stay(
    server: redis.Redis, cache_url: str
) -> None:
    fill(server, "stale", 25)
    fill(server, "fresh", 5, ex=1_000)
    server.set("other:1", "x")

    result = run(cache_url, batch=10)

    assert (result.matched, result.unlinked, result.ttl_set, result.skipped.ttl) == (25, 25, 0, 5)
    assert (result.scanned, result.dry_run, result.evicted_policy) == (30, False, "noeviction")
    assert result.memory_before > 0
    assert result.memory_after > 0
    assert len(names(server)) == 6


def test_a_time_to_live_is_the_gentle_way(server: redis.Redis, cache_url: str) -> None:
    fill(server, "stale", 25)
    fill(server, "fresh", 5, ex=1_000)

    result = run(cache_url, set_ttl=timedelta(hours=1))

    assert (result.ttl_set, result.unlinked, result.skipped.ttl) == (25, 0, 5)
    assert 3_590 < server.ttl("chatgenius:stale:3") <= 3_600
    assert 990 < server.ttl("chatgenius:fresh:3") <= 1_000


def test_a_time_to_live_is_never_made_longer(server: redis.Redis, cache_url: str) -> None:
    fill(server, "short", 2, ex=10)
    fill(server, "long", 3, ex=10_000)
    fill(server, "stale", 4)

    result = run(cache_url, only="all", set_ttl=timedelta(minutes=10))

    assert result.ttl_set == 7
    assert server.ttl("chatgenius:short:1") <= 10
    assert server.ttl("chatgenius:long:1") <= 600


def test_a_dry_run_counts_the_same_and_changes_nothing(server: redis.Redis, cache_url: str) -> None:
    fill(server, "stale", 25)
    before = names(server)

    dry = run(cache_url, dry_run=True)

    assert names(server) == before
    assert (dry.matched, dry.unlinked, dry.dry_run) == (25, 0, True)
    assert dry.matched_bytes is not None
    assert dry.matched_bytes > 25 * 100
    assert len(dry.samples) == 5
    assert set(dry.samples) <= {name.decode() for name in before}
    assert run(cache_url).unlinked == dry.matched


def test_what_is_idle_is_measured_from_when_the_job_was_enqueued(server: redis.Redis, cache_url: str) -> None:
    fill(server, "used", 3)
    fill(server, "other", 2, ex=1_000)
    payload = Cache("chatgenius", pattern=PATTERN, only="idle", idle=timedelta(hours=1))

    young = cache(payload, context(cache_url))
    # Enqueued two hours from now, as it were: by then all of them have not been used for longer.
    old = cache(payload, later(context(cache_url), timedelta(hours=2)))

    assert (young.unlinked, young.skipped.young) == (0, 5)
    assert (old.unlinked, old.skipped.young) == (5, 0)


def test_under_an_lfu_policy_the_access_counter_says_what_is_idle(
    server: redis.Redis, cache_url: str
) -> None:
    server.config_set("maxmemory-policy", "allkeys-lfu")
    fill(server, "used", 3)
    ctx = context(cache_url)
    new = 5  # a new key's counter

    kept = cache(Cache("chatgenius", pattern=PATTERN, only="idle", idle=timedelta(days=1)), ctx)
    gone = run(cache_url, only="idle", idle=timedelta(days=1), frequency=new)

    assert (kept.unlinked, kept.skipped.young, kept.evicted_policy) == (0, 3, "allkeys-lfu")
    assert gone.unlinked == 3
    assert [line.event for line in ctx.lines] == ["cache_counts_uses", "cache_swept"]


def test_the_queues_own_keys_stay_even_when_a_prefix_leads_to_them(
    server: redis.Redis, cache_url: str
) -> None:
    for name in ("cgjobs:queue:x", "cache:1", "chatgenius:session:1", "chatgenius:1"):
        server.set(name, "x")
    target = CacheTarget(cache_url, prefixes=("c",), protected=("chatgenius:session:",))
    ctx = RecordingContext(settings=[Settings(caches={"chatgenius": target})])

    result = cache(Cache("chatgenius", pattern="c*", only="all"), ctx)

    assert names(server) == [b"cgjobs:queue:x", b"chatgenius:session:1"]
    assert (result.unlinked, result.skipped.protected) == (2, 2)


def test_every_key_that_the_core_builds_is_denied() -> None:
    functions = [f for _, f in inspect.getmembers(keys, inspect.isfunction) if f.__module__ == keys.__name__]
    built = [f(*["x"] * len(inspect.signature(f).parameters)) for f in functions if f is not keys.waiting]
    built += [keys.waiting("x")]
    built += [value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)]

    assert len(built) > 30
    assert [key for key in built if denied(key) is None] == []
    assert denied("bull:emails:1")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pattern": None}, "pattern is missing"),
        ({"pattern": "*:user"}, "has no prefix"),
        ({"pattern": "[c]hatgenius:*"}, "has no prefix"),
        ({"pattern": "chat*"}, "begins with none of its prefixes"),
        ({"pattern": "other:*"}, "begins with none of its prefixes"),
        ({"max_bytes": 5}, "max_bytes is for directories"),
        ({"idle": timedelta(days=1)}, "idle is given without only='idle'"),
    ],
)
def test_what_a_cache_does_not_allow_is_refused(
    server: redis.Redis, cache_url: str, fields: dict[str, Any], words: str
) -> None:
    fill(server, "stale", 2)

    with pytest.raises(Discard, match=words.replace("[", r"\[").replace("*", r"\*")):
        run(cache_url, **fields)
    assert len(names(server)) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"pattern": "*"},
        {"pattern": ""},
        {"pattern": "cgjobs:*"},
        {"pattern": "rq:job:*"},
        {"only": "some"},
        {"only": "idle"},
        {"only": "all", "idle": timedelta(days=1)},
        {"only": "idle", "idle": timedelta(0)},
        {"set_ttl": timedelta(milliseconds=500)},
        {"set_ttl": timedelta(days=1), "max_bytes": 1},
        {"batch": 5},
        {"batch": 20_000},
        {"frequency": 256},
        {"max_items": 0},
        {"max_bytes": -1},
        {"max_duration": timedelta(0)},
    ],
)
def test_a_payload_that_cannot_work_is_refused_before_it_is_enqueued(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Cache("chatgenius", **{"pattern": PATTERN, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "redis://127.0.0.1"},
        {"url": "http://127.0.0.1", "prefixes": ("a:",)},
        {"url": "redis://127.0.0.1", "prefixes": ("",)},
        {"url": "redis://127.0.0.1", "prefixes": ("a*",)},
        {"url": "redis://127.0.0.1", "prefixes": ("rq:job:",)},
        {"url": "redis://127.0.0.1", "prefixes": ("a:",), "directory": "/tmp/x"},
        {"directory": "/tmp/x", "prefixes": ("a:",)},
    ],
)
def test_a_cache_that_is_configured_wrongly_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        CacheTarget(**fields)


def test_a_cache_that_is_not_configured_is_named_with_those_that_are(cache_url: str) -> None:
    with pytest.raises(Discard, match=r"no cache is named 'chatgenuis' .*; there are: chatgenius"):
        cache(Cache("chatgenuis", pattern=PATTERN), context(cache_url))


def test_max_items_stops_exactly_there(server: redis.Redis, cache_url: str) -> None:
    fill(server, "stale", 45)

    result = run(cache_url, batch=10, max_items=17)

    assert (result.unlinked, result.stopped_by) == (17, "max_items")
    assert len(names(server)) == 28


def test_a_sweep_that_takes_too_long_goes_on_from_its_cursor(server: redis.Redis, cache_url: str) -> None:
    fill(server, "stale", 95)
    payload = Cache("chatgenius", pattern=PATTERN, batch=10, max_duration=timedelta(seconds=1))
    runs, reports, checkpoint = 0, [], None
    result = None
    while result is None:
        ticks = iter(range(0, 10_000, 600))  # ms: two batches fit into a second
        ctx = context(cache_url, checkpoint=checkpoint)
        runs += 1
        try:
            result = sweep(cache_url, payload, ctx, clock=lambda ticks=ticks: next(ticks) / 1_000)  # type: ignore[misc]
        except Snooze:
            checkpoint = ctx.checkpoints[-1]
        reports += [report.done for report in ctx.reports]

    assert runs > 3
    assert (result.unlinked, names(server)) == (95, [])
    assert reports == sorted(reports)
    assert reports[0] > 0


def test_a_cursor_of_a_server_that_was_started_again_is_not_used(server: redis.Redis, cache_url: str) -> None:
    fill(server, "stale", 95)
    ctx = context(cache_url, cancel_after=2)
    payload = Cache("chatgenius", pattern=PATTERN, batch=10)
    with pytest.raises(JobCancelled):
        cache(payload, ctx)
    saved = ctx.checkpoints[-1]
    assert saved["cursor"]["at"] > 0
    saved["cursor"]["run_id"] = "another start"

    result = cache(payload, context(cache_url, checkpoint=saved))

    assert (result.unlinked, names(server)) == (95, [])


def test_a_cancelled_sweep_stops_at_the_next_batch_and_says_what_it_did(
    server: redis.Redis, cache_url: str
) -> None:
    fill(server, "stale", 95)
    ctx = context(cache_url, cancel_after=1)

    with pytest.raises(JobCancelled):
        cache(Cache("chatgenius", pattern=PATTERN, batch=10), ctx)

    left = len(names(server))
    assert 60 < left < 95
    line = ctx.lines[-1]
    assert (line.event, line.fields["unlinked"]) == ("cache_swept", 95 - left)


def test_a_server_that_is_away_means_trying_again_later() -> None:
    with pytest.raises(Retry, match="cache 'chatgenius' is not ready"):
        run("redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("LOADING the dataset is in memory", Retry),
        ("CLUSTERDOWN the cluster is down", Retry),
        ("READONLY You can't write against a read only replica.", Retry),
        ("MISCONF Errors writing to the AOF file", Retry),
        ("NOAUTH Authentication required.", Discard),
        ("WRONGPASS invalid username-password pair", Discard),
        ("NOPERM this user has no permissions", Discard),
        ("ERR unknown command 'OBJECT'", Discard),
        ("ERR syntax error", ResponseError),
    ],
)
def test_an_error_of_the_server_is_classified(words: str, kind: type[Exception]) -> None:
    assert type(cache_server.meaning("chatgenius", ResponseError(words))) is kind


def test_a_wrong_password_and_a_missing_right_end_the_job(start_server: StartServer) -> None:
    url = start_server("--requirepass", "secret")
    admin = redis.Redis.from_url(url, password="secret")
    admin.set("chatgenius:1", "x")
    admin.execute_command(  # type: ignore[no-untyped-call]
        "ACL", "SETUSER", "reader", "on", ">pass", "~*", "+@read", "+info", "+dbsize", "+client"
    )
    with_user = url.replace("redis://", "redis://reader:pass@")

    with pytest.raises(Discard, match="refuses its user"):
        run(url)
    with pytest.raises(Discard, match="refuses its user"):
        run(url.replace("redis://", "redis://:wrong@"))
    with pytest.raises(Discard, match=r"refuses its user: .*unlink"):
        run(with_user)
    assert run(with_user, dry_run=True).matched == 1
    admin.close()


def test_the_password_is_in_no_message_and_no_settings() -> None:
    target = CacheTarget("redis://:s3cret@127.0.0.1:1/0", prefixes=("chatgenius:",))
    ctx = RecordingContext(settings=[Settings(caches={"chatgenius": target})])

    with pytest.raises(Retry) as caught:
        cache(Cache("chatgenius", pattern=PATTERN), ctx)

    assert "s3cret" not in str(caught.value) + repr(target)


def test_who_sweeps_stands_in_the_servers_list_of_clients(server: redis.Redis, cache_url: str) -> None:
    with cache_server.opened("chatgenius", cache_url, "cgjobs/test-job"):
        listed: Any = server.client_list()

    assert "cgjobs/test-job" in {client["name"] for client in listed}


def test_of_a_cluster_every_primary_is_swept(start_server: StartServer) -> None:
    urls = cluster_of(start_server, 2)
    with redis.RedisCluster.from_url(urls[0]) as client:
        for number in range(60):
            client.set(f"chatgenius:stale:{number}", "x")

        result = run(urls[1], batch=10)

        assert (result.unlinked, result.matched) == (60, 60)
        assert client.dbsize(target_nodes=redis.RedisCluster.PRIMARIES) == 0


def cluster_of(start_server: StartServer, size: int) -> list[str]:
    urls = [start_server("--cluster-enabled", "yes") for _ in range(size)]
    nodes = [redis.Redis.from_url(url) for url in urls]
    slots = 16_384 // size
    for number, node in enumerate(nodes):
        last = 16_383 if number == size - 1 else (number + 1) * slots - 1
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", number * slots, last)  # type: ignore[no-untyped-call]
        port = nodes[0].connection_pool.connection_kwargs["port"]
        node.execute_command("CLUSTER", "MEET", "127.0.0.1", port)  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + 60
    while not all(_is_whole(node, size) for node in nodes):
        assert time.monotonic() < deadline, "the cluster does not come together"
        time.sleep(0.02)
    for node in nodes:
        node.close()
    return urls


def _is_whole(node: redis.Redis, size: int) -> bool:
    said: Any = node.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
    return ("cluster_state:ok" in str(said) and f"cluster_size:{size}" in str(said)) or (
        isinstance(said, dict) and said["cluster_state"] == "ok" and said["cluster_size"] == str(size)
    )


def sweep(
    url: str,
    payload: Cache,
    ctx: RecordingContext,
    *,
    clock: Callable[[], float],
    protected: Sequence[str] = (),
) -> CacheResult:
    now = datetime.now(UTC)
    with cache_server.opened(payload.target, url, "test") as nodes:
        return CacheSweep(nodes, payload, protected, ctx, cutoff=now, clock=clock, now=lambda: now).run()

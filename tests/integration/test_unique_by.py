"""Unique keys that a subtype makes of the payload, and what fifty threads on a bad network make of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import attrs
import pytest

from cgjobs import Client, Context, Subtype, keys, subtype
from cgjobs.unique_key import unique_key
from tests.jobs import Login, Note, config, raw, registry
from tests.proxy import Proxy

HOUR = timedelta(hours=1)


@attrs.frozen
class Digest:
    """A payload of which only one field says what it is about."""

    user_id: str
    text: str = ""


@subtype("work.digest", unique_by=("user_id",))
def digest(payload: Digest, ctx: Context) -> None:
    """Send a digest."""


@subtype("work.alert", unique_by=("user_id",), unique_until=HOUR)
def alert(payload: Digest, ctx: Context) -> None:
    """Send an alert."""


@subtype("work.login", unique_by=("user", "password"))
def login(payload: Login, ctx: Context) -> None:
    """Log in."""


def test_jobs_with_the_same_chosen_fields_are_one_job(redis_url: str) -> None:
    with Client(config(redis_url), registry(digest)) as client:
        first = client.enqueue(Digest("ada", "one"))

        assert client.enqueue(Digest("ada", "two")).id == first.id
        assert client.enqueue_data("work.digest", {"userId": "ada"}).duplicate
        assert not client.enqueue(Digest("bob")).duplicate


def test_the_caller_may_say_otherwise(redis_url: str) -> None:
    with Client(config(redis_url), registry(digest)) as client:
        client.enqueue(Digest("ada"))

        assert client.enqueue(Digest("ada")).duplicate
        assert not client.enqueue(Digest("ada"), unique=False).duplicate
        assert not client.enqueue(Digest("ada"), unique="mine").duplicate
        assert client.enqueue(Digest("ada"), unique="mine").duplicate


def test_how_long_the_key_is_held_is_the_subtypes_unless_the_caller_says(redis_url: str) -> None:
    with Client(config(redis_url), registry(alert)) as client, raw(redis_url) as broker:
        held = client.enqueue(Digest("ada"))
        own = client.enqueue(Digest("bob"), unique_until="started")
        debounced = client.enqueue(Digest("eve"), debounce=HOUR)

        until = [broker.hget(keys.job(job.id), "unique_until") for job in (held, own, debounced)]
        assert until == ["3600000", "started", "started"]
        assert client.enqueue(Digest("eve", "late"), debounce=HOUR).debounced == 1


def test_a_key_can_be_read_but_shows_no_secret(redis_url: str) -> None:
    key = unique_key(digest, {"userId": "01J é", "text": "x"})
    assert key.startswith("work.digest:userId=01J??:")
    assert len(unique_key(digest, {"userId": "x" * 1000})) == 200
    assert unique_key(digest, {"userId": "x" * 1000}) != unique_key(digest, {"userId": "x" * 1001})

    secret = unique_key(login, {"user": "ada", "password": "hunter2"})
    assert secret.startswith("work.login:user=ada:")
    assert "hunter2" not in secret
    assert secret != unique_key(login, {"user": "ada", "password": "hunter3"})


def test_a_field_that_the_payload_does_not_have_is_refused_at_import() -> None:
    with pytest.raises(AttributeError, match=r"names 'userid'.*did you mean 'user_id'"):

        @subtype("work.digest", unique_by=("userid",))
        def wrong(payload: Digest, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"unique_by": "user_id"}, TypeError, r"write \('user_id',\)"),
        ({"unique_until": "done"}, ValueError, "needs unique_by"),
        ({"unique_by": ("user_id",), "unique_until": "soon"}, ValueError, "is no end of a unique key"),
        ({"unique_by": ("user_id",), "unique_until": timedelta(0)}, ValueError, "is not from 1 ms"),
    ],
)
def test_a_wrong_choice_is_refused_at_import(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        subtype("work.digest", **options)


POLICIES: dict[str, tuple[Subtype[Any, Any] | None, Callable[[int], object], dict[str, Any]]] = {
    "id": (None, lambda n: Note(str(n)), {"job_id": "mine"}),
    "until it is done": (None, lambda n: Note(str(n)), {"unique": "k"}),
    "until it has started": (None, lambda n: Note(str(n)), {"unique": "k", "unique_until": "started"}),
    "for a time": (None, lambda n: Note(str(n)), {"unique": "k", "unique_until": HOUR}),
    "throttled": (None, lambda n: Note(str(n)), {"unique": "k", "throttle": HOUR}),
    "debounced": (None, lambda n: Note(str(n)), {"unique": "k", "debounce": HOUR}),
    "by a field": (digest, lambda n: Digest("ada", str(n)), {}),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_fifty_threads_on_a_network_that_loses_replies_enqueue_one_job(redis_url: str, policy: str) -> None:
    handler, payload, options = POLICIES[policy]
    provided = registry(*([handler] if handler else []))
    with Client(config(redis_url), provided) as setup:
        setup.load_functions()
    with Proxy(redis_url) as proxy:
        proxy.drop_reply(b"cgjobs1_enqueue", times=20)
        settings = config(proxy.url, broker={"timeout": timedelta(seconds=20)})
        with Client(settings, provided) as client, ThreadPoolExecutor(50) as pool:
            jobs: list[Any] = list(
                pool.map(lambda n: client.enqueue(payload(n), **options), range(50))  # type: ignore[arg-type]
            )
        assert proxy.lost == 20

    with raw(redis_url) as broker:
        assert len({job.id for job in jobs}) == 1
        assert sum(not job.duplicate for job in jobs) == 1
        assert len(list(broker.scan_iter("rq:job:*"))) == 1
        assert broker.llen(keys.waiting("work")) + broker.zcard(keys.delayed("work")) == 1
        if policy == "debounced":
            assert broker.hget(keys.job(jobs[0].id), "debounced") == "49"

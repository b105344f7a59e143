"""The way to the broker: when it is away, when it refuses, and what is said then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from redis import exceptions

from cgjobs import AsyncClient, BrokerError, BrokerUnavailable, Client
from cgjobs.broker import Sender, address, reads
from cgjobs.broker.connection import AsyncIdleConnections, connect_async, refuse_unsupported, translate
from cgjobs.broker.sender import AsyncSender
from cgjobs.config import RedisConfig
from cgjobs.errors import BrokerDenied, BrokerFull, BrokerUnsupported, FunctionsMissing
from tests.conftest import ServerFactory
from tests.jobs import Note, at_work, awaited, config, raw, redis_config, registry, until
from tests.proxy import Proxy

NOBODY = "redis://127.0.0.1:1"


@contextmanager
def took(low: float, high: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert low <= time.monotonic() - began <= high


CALLS: dict[str, Callable[[Client], Any]] = {
    "enqueue": lambda client: client.enqueue(Note()),
    "get": lambda client: client.get("a"),
    "stats": lambda client: client.queue("work").stats(),
    "pause": lambda client: client.queue("work").pause(),
    "wait": lambda client: client.wait("a"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_client_says_within_two_seconds_that_nobody_answers_at_that_address(call: str) -> None:
    with (
        Client(config(NOBODY), registry()) as client,
        took(1.5, 2.6),
        pytest.raises(BrokerUnavailable) as caught,
    ):
        CALLS[call](client)

    assert "redis://127.0.0.1:1/0" in str(caught.value)
    assert "Is it running and reachable?" in str(caught.value)


@awaited
async def test_the_asynchronous_client_does_as_well() -> None:
    async with AsyncClient(config(NOBODY), registry()) as client:
        with took(1.5, 2.6), pytest.raises(BrokerUnavailable):
            await client.enqueue(Note())


def test_a_client_does_not_wait_longer_for_a_broker_that_hangs(redis_url: str) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        proxy.hold()

        with took(1.5, 2.6), pytest.raises(BrokerUnavailable):
            client.queue("work").stats()


@awaited
async def test_neither_does_the_asynchronous_one(redis_url: str) -> None:
    with Proxy(redis_url) as proxy:
        async with AsyncClient(config(proxy.url), registry()) as client:
            await client.queues()
            proxy.hold()

            with took(1.5, 2.6), pytest.raises(BrokerUnavailable):
                await client.queue("work").stats()


def test_a_shorter_patience_can_be_configured() -> None:
    settings = config(NOBODY, broker={"timeout": timedelta(milliseconds=200)})

    with Client(settings, registry()) as client, took(0.0, 1.0), pytest.raises(BrokerUnavailable):
        client.queue("work").stats()


def test_a_slow_broker_is_waited_for(redis_url: str) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        client.load_functions()
        proxy.delay(0.1)

        client.enqueue(Note())

        assert client.queue("work").stats().waiting == 1


def test_a_cut_connection_is_made_anew(redis_url: str) -> None:
    with Proxy(redis_url) as proxy, Client(config(proxy.url), registry()) as client:
        for number in range(1, 4):
            client.enqueue(Note())
            proxy.cut()

            assert client.queue("work").stats().waiting == number


def test_a_client_goes_on_when_the_broker_is_back(own_server: ServerFactory) -> None:
    server = own_server(appendonly="yes", appendfsync="always")
    settings = config(server.url, broker={"timeout": timedelta(milliseconds=200)})
    with Client(settings, registry()) as client:
        client.enqueue(Note())
        server.kill()
        with pytest.raises(BrokerUnavailable):
            client.enqueue(Note())
        server.start()

        assert client.queue("work").stats().waiting == 1


def test_functions_that_were_lost_are_loaded_again_however_often(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as behind:
        for number in range(1, 4):
            client.enqueue(Note())
            behind.function_flush()

            assert client.queue("work").stats().waiting == number


@awaited
async def test_so_they_are_by_the_asynchronous_client(redis_url: str) -> None:
    async with AsyncClient(config(redis_url), registry()) as client:
        with raw(redis_url) as behind:
            for number in range(1, 4):
                await client.enqueue(Note())
                behind.function_flush()

                assert (await client.queue("work").stats()).waiting == number


def test_functions_of_another_release_are_replaced(redis_url: str) -> None:
    with Client(config(redis_url), registry()) as client, raw(redis_url) as behind:
        behind.function_load(
            "#!lua name=cgjobs1\nredis.register_function{function_name='cgjobs1_digest', "
            "callback=function() return 'old' end, flags={'no-writes'}}"
        )

        client.load_functions()

        assert client.enqueue(Note()).queue == "work"


# Passwords and rights


def test_a_wrong_password_is_told_without_it(own_server: ServerFactory) -> None:
    server = own_server(requirepass="right")
    settings = config(server.url, broker={"password": "wrong-secret"})

    with Client(settings, registry()) as client, took(0, 1), pytest.raises(BrokerDenied) as caught:
        client.enqueue(Note())

    error: BaseException | None = caught.value
    while error is not None:
        assert "wrong-secret" not in str(error) + repr(error)
        error = error.__cause__ or error.__context__
    assert "wrong-secret" not in repr(settings)


def test_a_missing_password_is_told(own_server: ServerFactory) -> None:
    server = own_server(requirepass="right")
    settings = config(server.url, broker={"password": None})

    with Client(settings, registry()) as client, pytest.raises(BrokerDenied, match="Check the user"):
        client.enqueue(Note())


def test_a_right_password_opens(own_server: ServerFactory) -> None:
    server = own_server(requirepass="p@ss:/word")

    with Client(config(server.url, broker={"password": "p@ss:/word"}), registry()) as client:
        assert client.enqueue(Note()).queue == "work"


def test_a_user_that_may_not_load_functions_is_told_to_have_them_loaded(redis_url: str) -> None:
    with raw(redis_url) as behind:
        behind.acl_setuser(
            "producer",
            enabled=True,
            passwords=["+pw"],
            categories=["+@all"],
            commands=["-function"],
            keys=["*"],
        )
        settings = config(redis_url, broker={"username": "producer", "password": "pw"})
        try:
            with (
                Client(settings, registry()) as client,
                pytest.raises(FunctionsMissing, match="cgjobs setup"),
            ):
                client.enqueue(Note())
            with Client(config(redis_url), registry()) as admin:
                admin.load_functions()
            with Client(settings, registry()) as client:
                assert client.enqueue(Note()).queue == "work"
        finally:
            behind.acl_deluser("producer")


@awaited
async def test_a_worker_waits_while_its_password_is_being_changed(own_server: ServerFactory) -> None:
    server = own_server(requirepass="one")
    async with at_work(server.url) as work:
        await work.client.wait(await work.client.enqueue(Note()))
        with raw(server.url) as behind:
            behind.config_set("requirepass", "two")
            behind.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: "broker_lost" in work.names())
            behind.config_set("requirepass", "one")
        await until(lambda: "broker_back" in work.names())

        assert await work.client.wait(await work.client.enqueue(Note("x"))) == "x"
        assert "'one'" not in str(work.events)


# What is said


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (exceptions.ConnectionError("refused"), BrokerUnavailable),
        (exceptions.TimeoutError(), BrokerUnavailable),
        (OSError("no route to host"), BrokerUnavailable),
        (exceptions.BusyLoadingError("LOADING"), BrokerUnavailable),
        (exceptions.ResponseError("BUSY Redis is busy running a script"), BrokerUnavailable),
        (exceptions.ReadOnlyError("READONLY You can't write against a read only replica"), BrokerUnavailable),
        (exceptions.ResponseError("MISCONF Redis is configured to save"), BrokerUnavailable),
        (exceptions.AuthenticationError("WRONGPASS"), BrokerDenied),
        (exceptions.NoPermissionError("no permissions"), BrokerDenied),
        (exceptions.ResponseError("NOAUTH Authentication required"), BrokerDenied),
        (exceptions.ResponseError("ERR Function not found"), FunctionsMissing),
        (exceptions.ResponseError("ERR unknown command 'FCALL'"), BrokerUnsupported),
        (exceptions.OutOfMemoryError("command not allowed"), BrokerFull),
        (exceptions.ResponseError("OOM allow-oom flag is not set on the function"), BrokerFull),
        (exceptions.ResponseError("ERR whatever"), BrokerError),
    ],
)
def test_every_error_of_the_broker_is_one_of_ours(error: Exception, ours: type[BrokerError]) -> None:
    assert type(translate(error, RedisConfig())) is ours  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        exceptions.ResponseError("OOM allow-oom flag is not set on the function, can not run it"),
    ],
)
def test_a_full_broker_is_called_full_and_the_remedy_named(error: exceptions.RedisError) -> None:
    said = str(translate(error, RedisConfig()))

    assert "is full" in said
    assert "maxmemory" in said


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"redis_version": "7.0.15"}, "redis 7.0.15"),
        ({"redis_version": "8.2.1"}, "redis 8.2.1"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.0"}, "valkey 9.1.0"),
    ],
)
def test_a_server_that_is_new_enough_is_accepted(info: dict[str, Any], said: str) -> None:
    assert refuse_unsupported(info) == said


@pytest.mark.parametrize(
    "info",
    [{"redis_version": "6.2.14"}, {}, {"redis_version": "7.2.4", "valkey_version": "7.1.9"}],
)
def test_a_server_that_is_too_old_is_refused(info: dict[str, Any]) -> None:
    with pytest.raises(BrokerUnsupported, match="or newer is needed"):
        refuse_unsupported(info)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (RedisConfig(password="secret"), "redis://localhost:6379/0"),
        (RedisConfig(tls=True, db=3), "rediss://localhost:6379/3"),
        (RedisConfig(socket="/run/redis.sock"), "/run/redis.sock"),  # type: ignore[arg-type]
    ],
)
def test_an_address_is_shown_without_secrets(settings: RedisConfig, shown: str) -> None:
    assert address(settings) == shown


def test_a_call_of_no_command_needs_no_broker() -> None:
    sender = Sender(redis_config(NOBODY))

    assert sender.send(reads.jobs([])) == []
    sender.close()


@awaited
async def test_nor_does_an_asynchronous_one() -> None:
    sender = AsyncSender(redis_config(NOBODY))

    assert await sender.send(reads.jobs([])) == []
    await sender.close()


def test_tls_is_verified_unless_nothing_can_be_reached() -> None:
    settings = config(NOBODY, broker={"tls": True, "timeout": timedelta(milliseconds=100)})

    with Client(settings, registry()) as client, pytest.raises(BrokerUnavailable, match="rediss://"):
        client.queue("work").stats()


def test_a_server_that_speaks_no_tls_is_no_broker_for_a_client_that_does(redis_url: str) -> None:
    settings = config(redis_url, broker={"tls": True, "timeout": timedelta(milliseconds=300)})

    with Client(settings, registry()) as client, pytest.raises(BrokerUnavailable):
        client.queue("work").stats()


@awaited
async def test_a_client_on_a_unix_socket(own_server: ServerFactory) -> None:
    server = own_server(unixsocket="redis.sock")
    settings = config(NOBODY, broker={"socket": server.directory / "redis.sock"})

    async with AsyncClient(settings, registry()) as client:
        await client.enqueue(Note())

        assert (await client.queue("work").stats()).waiting == 1


@awaited
async def test_a_connection_that_is_in_use_while_they_are_closed_is_closed_when_its_call_ends(
    redis_url: str,
) -> None:
    connections = AsyncIdleConnections(connect_async(redis_config(redis_url)), 60)
    call = asyncio.create_task(connections.execute(("BLPOP", "list", 60)))
    with raw(redis_url) as broker:
        await until(lambda: broker.info("clients")["blocked_clients"] == 1)

        await connections.close()
        broker.rpush("list", "1")

        assert await call == [b"list", b"1"]
        await until(lambda: len(broker.client_list()) == 1, 5)

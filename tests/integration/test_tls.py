"""``rediss://``: a real TLS connection, verified. The wheel's Valkey speaks no TLS, so a proxy ends it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest
import trustme

from cgjobs import BrokerUnavailable, Config, loading
from cgjobs.client import Client
from cgjobs.worker import Worker
from tests.jobs import Note, registry


class TlsProxy:
    """Listens on loopback with a certificate for ``localhost`` and passes everything on to a plain server."""

    def __init__(self, target: int, certificate: trustme.LeafCert) -> None:
        self._target, self._certificate = target, certificate
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _listen(self) -> asyncio.Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, on = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(_pass(reader, on), _pass(back, writer))
        finally:
            for end in (on, writer):
                end.close()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.05)  # the transports close in the next turns of the loop


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    sink.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_port(redis_url: str, authority: trustme.CA) -> Iterator[int]:
    proxy = TlsProxy(urlsplit(redis_url).port or 0, authority.issue_cert("localhost"))
    yield proxy.port
    proxy.close()


def configured(tmp_path: Path, port: int, authority: trustme.CA | None, host: str = "localhost") -> Config:
    """What ``REDIS_URL`` and the file of an authority make of the configuration."""
    environ = {"REDIS_URL": f"rediss://{host}:{port}/0"}
    if authority is not None:
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        environ["CGJOBS_REDIS_CA_FILE"] = str(tmp_path / "ca.pem")
    config = loading.load(environ=environ)
    return attrs.evolve(config, redis=attrs.evolve(config.redis, timeout=timedelta(seconds=0.5)))


def test_a_job_is_enqueued_and_run_over_tls(tmp_path: Path, tls_port: int, authority: trustme.CA) -> None:
    config = configured(tmp_path, tls_port, authority)
    with Client(config, registry()) as client:
        client.enqueue(Note("over tls"))

        asyncio.run(Worker(config, registry(), burst=True).run())

        assert client.queue("work").stats().completed == 1


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path, tls_port: int) -> None:
    with (
        Client(configured(tmp_path, tls_port, None), registry()) as client,
        pytest.raises(BrokerUnavailable, match=r"(?i)certificate"),
    ):
        client.enqueue(Note())


def test_a_certificate_for_another_host_is_refused(
    tmp_path: Path, tls_port: int, authority: trustme.CA
) -> None:
    with (
        Client(configured(tmp_path, tls_port, authority, host="127.0.0.1"), registry()) as client,
        pytest.raises(BrokerUnavailable, match=r"(?i)certificate"),
    ):
        client.enqueue(Note())

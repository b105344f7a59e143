"""Fixtures of the tests of this plugin."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from plugins.notification.tests.loopback import Replies, http_server


@pytest.fixture
def serve() -> Iterator[Callable[[], Replies]]:
    """Start HTTP servers of the test's own."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(http_server())

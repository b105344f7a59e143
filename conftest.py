"""For all tests, ours and the plugins': no deadline of Hypothesis' on a busy machine, logging as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

pytest_plugins = ["cgjobs_data.testing"]

hypothesis.settings.register_profile("cgjobs", deadline=None, print_blob=True)
hypothesis.settings.load_profile("cgjobs")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a command that ran in this process has set up: its stream is closed with its test."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()

"""One mutant before one state machine, on a server of its own."""

from __future__ import annotations

import io
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from hypothesis import Phase

from tests.conftest import Server
from tests.proof.play import loaded, play


def killed_by(source: str, machine: str, examples: int) -> tuple[str, float]:
    """What a machine said about this library, empty when it found nothing, and how many seconds that took."""
    said, began = io.StringIO(), time.monotonic()
    found = ""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            with loaded(source), redirect_stdout(said):
                play(
                    server.url,
                    machine,
                    examples=examples,
                    phases=[Phase.generate],
                    database=None,
                    derandomize=True,
                )
        except (Exception, pytest.fail.Exception) as error:
            found = type(error).__name__
        finally:
            server.kill()
    return found, time.monotonic() - began

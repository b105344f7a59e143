"""The event loop of a worker's process."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from cgjobs import loop


async def here() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_a_worker_runs_on_uvloops_loop() -> None:
    assert isinstance(loop.run(here()), uvloop.Loop)


def test_where_there_is_no_uvloop_it_runs_on_asyncios_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_factory", None)

    assert isinstance(loop.run(here()), asyncio.SelectorEventLoop)

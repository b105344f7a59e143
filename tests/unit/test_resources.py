"""What handlers open with ``ctx.use``."""

from __future__ import annotations

import asyncio
import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cgjobs.resources import Resources
from tests.jobs import awaited


class Log:
    """Says what happened to what was opened."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def manager(self, name: str) -> object:
        lines = self.lines

        class Manager:
            def __enter__(self) -> str:
                lines.append(f"enter {name}")
                return name

            def __exit__(self, *error: object) -> None:
                lines.append(f"exit {name}")

        return Manager()

    def asynchronous(self, name: str) -> object:
        lines = self.lines

        class Asynchronous:
            async def __aenter__(self) -> None:
                lines.append(f"aenter {name}")

            async def __aexit__(self, *error: object) -> None:
                lines.append(f"aexit {name}")

        return Asynchronous()

    def closable(self, name: str, method: str = "close", error: Exception | None = None) -> object:
        def close() -> None:
            self.lines.append(f"{method} {name}")
            if error is not None:
                raise error

        async def aclose() -> None:
            close()

        return type("Closable", (), {method: staticmethod(aclose if method == "aclose" else close)})()


@awaited
async def test_a_context_manager_is_entered_once_and_exited_at_the_end() -> None:
    log, resources = Log(), Resources()

    assert resources.use(log.manager, "a") == resources.use(log.manager, "a") == "a"
    await resources.close()

    assert log.lines == ["enter a", "exit a"]


@awaited
async def test_other_arguments_are_another_thing() -> None:
    log, resources = Log(), Resources()

    resources.use(log.manager, "a")
    resources.use(log.manager, name="b")
    await resources.close()

    assert log.lines == ["enter a", "enter b", "exit b", "exit a"]


@awaited
async def test_what_has_only_an_asynchronous_end_is_ended_without_being_entered() -> None:
    log, resources = Log(), Resources()

    resources.use(log.asynchronous, "a")
    resources.use(log.closable, "b", "aclose")
    resources.use(log.closable, "c")
    errors = await resources.close()

    assert log.lines == ["close c", "aclose b", "aexit a"]
    assert errors == []


@awaited
async def test_what_cannot_be_closed_hinders_nothing_else() -> None:
    log, resources = Log(), Resources()
    resources.use(log.manager, "a")
    resources.use(log.closable, "b", error=OSError("no"))

    errors = await resources.close()

    assert log.lines == ["enter a", "close b", "exit a"]
    assert [str(error) for error in errors] == ["no"]


@awaited
async def test_what_needs_no_end_is_just_kept() -> None:
    resources = Resources()

    first = resources.use(dict, a=1)

    assert resources.use(dict, a=1) is first
    assert await resources.close() == []


def test_a_factory_that_gives_nothing_is_called_once() -> None:
    calls: list[int] = []
    resources = Resources()

    for _ in range(2):
        resources.use(calls.append, 1)

    assert calls == [1]


def test_a_factory_that_fails_is_tried_again_by_the_next_job() -> None:
    outcomes = iter([OSError("not yet"), "open"])
    resources = Resources()

    def factory() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    with pytest.raises(OSError, match="not yet"):
        resources.use(factory)
    assert resources.use(factory) == "open"


def test_threads_that_want_the_same_thing_at_once_open_it_once() -> None:
    made: list[object] = []
    everybody = threading.Barrier(8)
    resources = Resources()

    def factory() -> object:
        made.append(object())
        return made[-1]

    def use(_: int) -> object:
        everybody.wait()
        return resources.use(factory)

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(use, range(8)))

    assert len(made) == 1
    assert set(given) == set(made)


def test_a_slow_factory_does_not_hold_up_another_one() -> None:
    opened = threading.Event()
    resources = Resources()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(resources.use, opened.wait, 10)
        resources.use(dict)
        opened.set()

        assert slow.result() is True
    asyncio.run(resources.close())


@awaited
async def test_what_does_not_end_is_given_up_and_the_others_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Endless:
        async def aclose(self) -> None:
            await asyncio.sleep(3600)

    monkeypatch.setattr("cgjobs.resources._PATIENCE", 0.05)
    resources = Resources()
    file = resources.use(io.StringIO)
    resources.use(Endless)

    [fault] = await resources.close()

    assert isinstance(fault, TimeoutError)
    assert file.closed

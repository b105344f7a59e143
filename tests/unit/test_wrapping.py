"""``cgjobs_run`` wrappers round handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Never

import pytest

from cgjobs import Context, Processor, Subtype, hookimpl, subtype
from cgjobs.plugins import load
from cgjobs.testing import RecordingContext
from cgjobs.wrapping import Wrappers
from tests.jobs import Note, plugin

Wrapper = Callable[..., Generator[None, Any, Any]]
CALLS: list[str] = []


@subtype("work.plain")
def plain(payload: Note, ctx: Context) -> str:
    return _handle(payload)


@subtype("work.awaited")
async def awaited_handler(payload: Note, ctx: Context) -> str:
    return _handle(payload)


def _handle(payload: Note) -> str:
    CALLS.append("handler")
    if payload.text == "fail":
        raise ValueError("no")
    return payload.text


@pytest.fixture(params=[plain, awaited_handler], ids=["def", "async def"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a handler of each kind inside wrappers, the first given one innermost."""
    handler: Subtype[Any, Any] = request.param
    CALLS.clear()

    def call(*wrappers: Wrapper, text: str = "hi") -> Any:
        extra = [("owner", plugin(processors=[Processor("work")]))]
        extra += [(f"w{i}", plugin(cgjobs_run=hookimpl(wrapper=True)(w))) for i, w in enumerate(wrappers)]
        chain = Wrappers(load(found=(), extra=extra, strict=True))
        payload, ctx = Note(text), RecordingContext()
        if handler.is_async:
            return asyncio.run(chain.run_async(handler, payload, ctx, lambda: handler.handler(payload, ctx)))
        return chain.run(handler, payload, ctx)

    return call


def saying(name: str) -> Wrapper:
    def cgjobs_run() -> Generator[None, Any, Any]:
        CALLS.append(f"{name} before")
        try:
            return (yield)
        finally:
            CALLS.append(f"{name} after")

    return cgjobs_run


def test_without_wrappers_the_handler_runs_bare(run: Callable[..., Any]) -> None:
    assert run() == "hi"


def test_the_last_plugins_wrapper_is_the_outermost(run: Callable[..., Any]) -> None:
    result = run(saying("inner"), saying("outer"))

    assert result == "hi"
    assert CALLS == ["outer before", "inner before", "handler", "inner after", "outer after"]


def test_a_wrapper_sees_what_runs_and_may_change_the_result(run: Callable[..., Any]) -> None:
    def cgjobs_run(subtype: Subtype[Any, Any], payload: Note, ctx: Context) -> Generator[None, Any, Any]:
        result = yield
        return f"{subtype.job_type} {payload.text} {ctx.job.id} {result}"

    assert run(cgjobs_run) == "work hi test-job hi"


def test_a_handlers_error_is_raised_at_the_yield(run: Callable[..., Any]) -> None:
    def cgjobs_run() -> Generator[None, Any, Any]:
        try:
            yield
        except ValueError as error:
            raise LookupError("instead") from error

    with pytest.raises(LookupError, match="instead"):
        run(cgjobs_run, text="fail")


def test_a_wrapper_may_recover_a_failed_handler(run: Callable[..., Any]) -> None:
    def cgjobs_run() -> Generator[None, Any, Any]:
        try:
            return (yield)
        except ValueError:
            return "recovered"

    assert run(saying("inner"), cgjobs_run, text="fail") == "recovered"


def test_an_error_passes_through_wrappers_that_do_not_care(run: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="no"):
        run(saying("inner"), saying("outer"), text="fail")

    assert CALLS == ["outer before", "inner before", "handler", "inner after", "outer after"]


def refusing() -> Generator[None, Any, Any]:
    yield _no_permission()


def _no_permission() -> Never:
    raise PermissionError("not now")


def test_a_wrapper_that_raises_first_keeps_the_handler_from_running(run: Callable[..., Any]) -> None:
    with pytest.raises(PermissionError):
        run(saying("inner"), refusing, saying("outer"))

    assert CALLS == ["outer before", "outer after"]


def test_a_wrapper_outside_may_answer_for_one_that_refused(run: Callable[..., Any]) -> None:
    def cgjobs_run() -> Generator[None, Any, Any]:
        try:
            return (yield)
        except PermissionError:
            return "refused"

    assert run(refusing, cgjobs_run) == "refused"
    assert CALLS == []


def test_a_wrapper_that_never_yields_is_named(run: Callable[..., Any]) -> None:
    def cgjobs_run() -> Generator[None, Any, Any]:
        if CALLS:
            yield

    with pytest.raises(RuntimeError, match="w0: cgjobs_run did not yield"):
        run(cgjobs_run)
    assert CALLS == []


def test_a_wrapper_that_yields_twice_fails_the_job(run: Callable[..., Any]) -> None:
    def cgjobs_run() -> Generator[None, Any, Any]:
        yield
        yield

    with pytest.raises(RuntimeError, match="yielded twice"):
        run(cgjobs_run)

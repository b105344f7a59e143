"""``cgjobs_run`` wrappers round a handler, the same for ``def`` and ``async def``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

from cgjobs.context import Context
from cgjobs.plugins import Registry
from cgjobs.subtype import Subtype


class Wrappers:
    """The wrappers of all plugins, the last registered one outermost.

    pluggy itself runs a chain of wrappers in one go; a coroutine has to be awaited in the middle of it.
    """

    def __init__(self, registry: Registry) -> None:
        self._implementations = tuple(reversed(registry.hook.cgjobs_run.get_hookimpls()))

    def run(self, subtype: Subtype[Any, Any], payload: object, ctx: Context) -> Any:
        """Run a ``def`` handler inside the wrappers; gives or raises what they leave of its end."""
        if not self._implementations:
            return subtype.handler(payload, ctx)
        result = None
        entered, failure = self._enter(subtype, payload, ctx)
        if failure is None:
            try:
                result = subtype.handler(payload, ctx)
            except BaseException as error:
                failure = error
        return _leave(entered, result, failure)

    async def run_async(
        self,
        subtype: Subtype[Any, Any],
        payload: object,
        ctx: Context,
        handler: Callable[[], Awaitable[Any]],
    ) -> Any:
        """Run ``handler``, the call of an ``async def`` one, inside the wrappers."""
        if not self._implementations:
            return await handler()
        result = None
        entered, failure = self._enter(subtype, payload, ctx)
        if failure is None:
            try:
                result = await handler()
            except BaseException as error:
                failure = error
        return _leave(entered, result, failure)

    def _enter(
        self, subtype: Subtype[Any, Any], payload: object, ctx: Context
    ) -> tuple[list[Generator[None, Any, Any]], BaseException | None]:
        """Run each wrapper up to its ``yield``: those that got there, and the error of one that did not."""
        arguments = {"subtype": subtype, "payload": payload, "ctx": ctx}
        entered: list[Generator[None, Any, Any]] = []
        for implementation in self._implementations:
            wrapper = implementation.function(*(arguments[name] for name in implementation.argnames))
            try:
                next(wrapper)
            except StopIteration:
                return entered, RuntimeError(f"{implementation.plugin_name}: cgjobs_run did not yield")
            except BaseException as error:
                return entered, error
            entered.append(wrapper)
        return entered, None


def _leave(entered: Sequence[Generator[None, Any, Any]], result: Any, error: BaseException | None) -> Any:
    """Give each wrapper the result or the error, innermost first; the last word counts."""
    for wrapper in reversed(entered):
        try:
            if error is None:
                wrapper.send(result)
            else:
                wrapper.throw(error)
        except StopIteration as end:
            result, error = end.value, None
        except BaseException as raised:
            error = raised
        else:
            wrapper.close()
            error = RuntimeError("a cgjobs_run wrapper yielded twice")
    if error is not None:
        raise error
    return result

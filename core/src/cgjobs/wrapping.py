"""``cgjobs_run`` wrappers round a handler, the same for ``def`` and ``async def``."""

from __future__ import annotations

from collections.abc import Generator, Sequence
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

    def __bool__(self) -> bool:
        return bool(self._implementations)

    def enter(
        self, subtype: Subtype[Any, Any], payload: object, ctx: Context
    ) -> list[Generator[None, Any, Any]]:
        """Run each wrapper up to its ``yield``; when one raises, those before it are told."""
        arguments = {"subtype": subtype, "payload": payload, "ctx": ctx}
        entered: list[Generator[None, Any, Any]] = []
        for implementation in self._implementations:
            wrapper = implementation.function(*(arguments[name] for name in implementation.argnames))
            try:
                next(wrapper)
            except StopIteration:
                raise RuntimeError(f"{implementation.plugin_name}: cgjobs_run did not yield") from None
            except BaseException as error:
                return self.leave(entered, None, error)  # type: ignore[no-any-return]
            entered.append(wrapper)
        return entered

    def leave(
        self, entered: Sequence[Generator[None, Any, Any]], result: Any, error: BaseException | None
    ) -> Any:
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

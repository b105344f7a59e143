"""What handlers opened with ``ctx.use``: once per worker, closed at its end."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_PATIENCE = 5.0  # seconds for one object to close: a stopping worker must not hang on a dead peer


class Resources:
    """Opened objects by factory and arguments; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opening: dict[Any, threading.Lock] = {}
        self._opened: dict[Any, Any] = {}
        self._ends: list[Callable[[], Any]] = []

    @property
    def opened(self) -> int:
        """How many objects are open."""
        return len(self._opened)

    def use(self, factory: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The object for this factory and these arguments, opened at the first call."""
        key = (factory, args, tuple(sorted(kwargs.items())))
        found = self._opened.get(key)
        if found is not None:
            return found  # type: ignore[no-any-return]
        with self._lock:
            lock = self._opening.setdefault(key, threading.Lock())
        with lock:  # two jobs that want the same thing open it once; others are not held up meanwhile
            if key not in self._opened:
                self._opened[key] = self._enter(factory(*args, **kwargs))
            return self._opened[key]  # type: ignore[no-any-return]

    def _enter(self, made: Any) -> Any:
        kind = type(made)
        if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
            entered = made.__enter__()
            self._ends.append(lambda: made.__exit__(None, None, None))
            return entered
        if hasattr(kind, "__aexit__"):
            self._ends.append(lambda: made.__aexit__(None, None, None))
        else:
            close = getattr(made, "aclose", None) or getattr(made, "close", None)
            if callable(close):
                self._ends.append(close)
        return made

    async def close(self) -> list[Exception]:
        """Close everything, the last opened first; gives what went wrong."""
        errors: list[Exception] = []
        while self._ends:
            try:
                ended = self._ends.pop()()
                if inspect.isawaitable(ended):
                    await asyncio.wait_for(ended, _PATIENCE)
            except Exception as error:
                errors.append(error)
        self._opened.clear()
        return errors

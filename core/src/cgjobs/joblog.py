"""What a handler logs, kept with its job as well as written to the worker's log."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from cgjobs.redaction import hide, log_field

LINE_CHARACTERS = 1000
"""So much of one line is kept."""
_EVENT_CHARACTERS = 300  # of a line that is too long
_LEVELS = {
    "info": "info",
    "msg": "info",
    "warning": "warn",
    "warn": "warn",
    "error": "error",
    "exception": "error",
    "critical": "error",
    "fatal": "error",
}
_BINDERS = frozenset({"bind", "new", "unbind", "try_unbind"})


class Lines:
    """The lines of one attempt that were not yet written; safe to use from several threads.

    Args:
        most: So many are kept, the last ones.
    """

    def __init__(self, most: int) -> None:
        self._lines: deque[str] = deque(maxlen=most)
        self._lock = threading.Lock()
        self._made = 0

    def add(self, line: str) -> None:
        """Keep a line."""
        with self._lock:
            self._lines.append(line)
            self._made += 1

    def __len__(self) -> int:
        """How many there are."""
        return len(self._lines)

    def take(self) -> tuple[int, list[str]]:
        """The lines, taken out, and how many came before them in this attempt."""
        with self._lock:
            lines = list(self._lines)
            self._lines.clear()
            return self._made - len(lines), lines

    def put_back(self, before: int, lines: list[str]) -> None:
        """Put lines back that could not be written; what there is no room for is lost."""
        with self._lock:
            room = (self._lines.maxlen or 0) - len(self._lines)
            if before + len(lines) == self._made - len(self._lines) and room > 0:
                self._lines.extendleft(reversed(lines[-room:]))


class JobLog:
    """A structlog logger whose lines are also kept; ``debug`` lines are not.

    Args:
        logger: Where each line goes besides.
        keep: Takes a line as JSON.
        attempt: Which attempt logs.
        secrets: What must not be seen in a line; asked when the first one is kept.
        bound: Fields that each line has.
    """

    def __init__(
        self,
        logger: Any,
        keep: Callable[[str], None],
        attempt: int,
        secrets: Callable[[], tuple[str, ...]],
        bound: Mapping[str, Any] | None = None,
    ) -> None:
        self._logger, self._keep, self._attempt, self._secrets = logger, keep, attempt, secrets
        self._bound = dict(bound or {})

    def debug(self, event: str, *args: Any, **fields: Any) -> Any:
        """Log for developers; not kept."""
        return self._logger.debug(event, *args, **fields)

    def info(self, event: str, *args: Any, **fields: Any) -> Any:
        """Log what is normal."""
        return self._both("info", event, args, fields)

    def warning(self, event: str, *args: Any, **fields: Any) -> Any:
        """Log what somebody should look at."""
        return self._both("warning", event, args, fields)

    def error(self, event: str, *args: Any, **fields: Any) -> Any:
        """Log what went wrong."""
        return self._both("error", event, args, fields)

    def __getattr__(self, name: str) -> Any:
        """Whatever else a structlog logger can do."""
        found = getattr(self._logger, name)
        if name in _BINDERS:
            return lambda *names, **fields: self._rebound(name, found(*names, **fields), names, fields)
        if name in _LEVELS:
            return lambda event="", *args, **fields: self._both(name, event, args, fields)
        return found

    def _rebound(self, name: str, logger: Any, names: tuple[str, ...], fields: Mapping[str, Any]) -> JobLog:
        before = {} if name == "new" else self._bound
        bound = {key: value for key, value in before.items() if key not in names} | dict(fields)
        return JobLog(logger, self._keep, self._attempt, self._secrets, bound)

    def _both(self, method: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
        self._keep(self._line(_LEVELS[method], event, args, self._bound | fields))
        return getattr(self._logger, method)(event, *args, **fields)

    def _line(self, level: str, event: Any, args: tuple[Any, ...], fields: Mapping[str, Any]) -> str:
        try:
            text = str(event) % args if args else str(event)
        except (TypeError, ValueError):
            text = str(event)
        shown = dict(log_field(name, value) for name, value in fields.items() if name != "exc_info")
        head = {"at": datetime.now(UTC), "level": level, "attempt": self._attempt}
        secrets = self._secrets()
        line = hide(secrets, _json(head | {"event": text, "data": shown}))
        if len(line) <= LINE_CHARACTERS:
            return line
        text = hide(secrets, text)[:_EVENT_CHARACTERS]
        beginning = hide(secrets, _json(shown)) if shown else ""
        rest = LINE_CHARACTERS - len(_json(head | {"event": text, "data": {"cut": ""}}))
        while True:  # each quote that is cut out costs one more character in JSON
            line = _json(head | {"event": text, "data": {"cut": beginning[: max(0, rest)]}})
            over = len(line) - LINE_CHARACTERS
            if over <= 0 or rest <= 0:
                return line
            rest -= over


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError):  # a huge integer, half a surrogate pair, or too deep
        return orjson.dumps(_plain(value)).decode()


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {ascii(name)[1:-1]: _plain(item) for name, item in value.items()}
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return ascii(value)[:LINE_CHARACTERS]

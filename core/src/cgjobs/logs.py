"""Log lines: one JSON object a line, in the shape that all of ChatGenius has, or pretty on a terminal.

``{"timestamp": ..., "correlationId": ..., "level": ..., "event": ..., "data": {...}}``
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, Self, TextIO

import orjson
import structlog

from cgjobs.redaction import log_field

LogFormat = Literal["json", "pretty"]
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def configure(format: LogFormat | None = None, level: str = "info", stream: TextIO | None = None) -> None:  # noqa: A002
    """Set up logging for this process; libraries that log by the standard module are included.

    Args:
        format: ``json`` or ``pretty``; None: pretty on a terminal, otherwise JSON.
        level: ``debug``, ``info``, ``warn`` or ``error``: less is dropped.
        stream: Where to; None is standard error.
    """
    out = sys.stderr if stream is None else stream
    pretty = format == "pretty" or (format is None and out.isatty())
    render = [_pretty, structlog.dev.ConsoleRenderer(colors=out.isatty())] if pretty else [_line]
    structlog.configure(
        processors=[_shape, *render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(out) if pretty else JsonLines(out, LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    forward_libraries(LEVELS[level])


class JsonLines(structlog.WriteLoggerFactory):
    """Where JSON lines go. `write` is the short way for who has nothing that a processor must look at.

    Args:
        out: The stream.
        floor: What weighs less, as in the standard module, is dropped.
    """

    def __init__(self, out: TextIO, floor: int) -> None:
        super().__init__(out)
        self._out, self._floor, self._flushes = out, floor, False

    @classmethod
    def configured(cls) -> Self | None:
        """The one that `configure` has set up; None when logging is pretty, or somebody else's."""
        factory = structlog.get_config()["logger_factory"]
        return factory if isinstance(factory, cls) else None

    def write(
        self, level: str, event: str, correlation_id: str, data: Mapping[str, Any], *, at_once: bool = True
    ) -> None:
        """Write one line.

        Args:
            level: ``debug``, ``info``, ``warn`` or ``error``.
            event: What happened.
            correlation_id: Ties log lines of one request together.
            data: Fields by wire name, none of them secret.
            at_once: False leaves it in the stream's buffer until the event loop's next turn.
        """
        if LEVELS[level] < self._floor:
            return
        line = {"timestamp": _now(), "correlationId": correlation_id, "level": level, "event": event}
        if data:
            line["data"] = data  # type: ignore[assignment]
        self._out.write(_line(None, "", line) + "\n")
        if at_once:
            self._flush()
        elif not self._flushes:
            try:
                asyncio.get_running_loop().call_soon(self._flush)
            except RuntimeError:
                self._flush()
            else:
                self._flushes = True

    def _flush(self) -> None:
        self._flushes = False
        self._out.flush()


def forward_libraries(level: int) -> None:
    """Hand what libraries log by the standard module to structlog.

    Args:
        level: Less is dropped.
    """
    root = logging.getLogger()
    root.handlers = [_Forward()]
    root.setLevel(level)
    # HTTP clients log whole addresses, in which a secret may stand.
    for noisy in ("apscheduler", "asyncio", "httpx", "httpx2", "urllib3"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, level))


# Tracebacks without the values of local variables, which may be secret.
_frames = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)
_LEVEL_NAMES = {"warning": "warn", "exception": "error", "critical": "error"}


def _shape(logger: Any, method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
    """One pass over the fields: this runs twice for each job."""
    if "exc_info" in fields:
        fields = _frames(logger, method, fields)
    line = {
        "timestamp": _now(),
        "correlationId": fields.pop("correlation_id", ""),
        "level": _LEVEL_NAMES.get(method, method),
        "event": fields.pop("event"),
    }
    data = {}
    for name, value in fields.items():
        wire_name, value = log_field(name, value)
        if value is not None:
            data[wire_name] = value
    if data:
        line["data"] = data
    return line


_second = (0, "")  # the last second that was written out


def _now() -> str:
    global _second
    now = time.time()
    second, text = _second
    if second != int(now):
        second = int(now)
        _second = second, text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{text}.{int((now - second) * 1e6):06d}Z"


def _line(logger: Any, method: str, line: Any) -> str:
    return orjson.dumps(line, default=repr).decode("utf-8", "replace")


def _pretty(logger: Any, method: str, line: dict[str, Any]) -> dict[str, Any]:
    short = {"timestamp": line["timestamp"][11:23], "level": line["level"], "event": line["event"]}
    return short | {name: value for name, value in line.get("data", {}).items() if value != ""}


class _Forward(logging.Handler):
    """Hands what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record as an event ``log`` with its logger and message."""
        name = {"WARNING": "warning", "ERROR": "error", "CRITICAL": "error", "DEBUG": "debug"}.get(
            record.levelname, "info"
        )
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exc_info"] = record.exc_info
        getattr(structlog.get_logger(), name)("log", **fields)

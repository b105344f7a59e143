"""``cgjobs worker`` and ``cgjobs scheduler``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Parameter

from cgjobs import logs
from cgjobs.cli import processes as supervisor
from cgjobs.cli.exits import OK
from cgjobs.cli.run import leaving_stuck_threads, run, tell_quarantined, worker_registry
from cgjobs.cli.session import Shared
from cgjobs.config import Config, WorkerConfig
from cgjobs.errors import Fault, InvalidOption, suggest
from cgjobs.isolation import ChildSetup
from cgjobs.scheduler import Scheduler
from cgjobs.worker import Worker


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class LogOptions:
    """How a process logs, to standard error.

    Args:
        log_format: One JSON object a line, or pretty. If neither is said, pretty on a terminal only.
        log_level: Less than this is not logged; info by default.
    """

    log_format: Annotated[Literal["json", "pretty"] | None, Parameter(env_var="CGJOBS_LOG_FORMAT")] = None
    log_level: Annotated[Literal["debug", "info", "warn", "error"], Parameter(env_var="CGJOBS_LOG_LEVEL")] = (
        "info"
    )

    def apply(self) -> None:
        """Set up logging."""
        logs.configure(self.log_format, self.log_level)

    def words(self) -> list[str]:
        """The same for another process."""
        chosen = [] if self.log_format is None else ["--log-format", self.log_format]
        return [*chosen, "--log-level", self.log_level]


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class WorkerOptions:
    """What a worker does.

    Args:
        plugins: Plugins to load, by name with commas between them, or all, the default.
        strict_plugins: Refuse to start when a plugin is broken, instead of going on without it.
        queues: Queues to serve, with commas between them. Otherwise one for each job type.
        concurrency: Jobs at once, as queue=number, instead of the configured number. Can be repeated.
        burst: End when there is nothing left to do now. Schedules are not looked at.
        no_scheduler: Fire no schedules. Any number of workers may: each slot is fired once.
        metrics_port: Serve /metrics and /healthz on this port; 0 takes a free one.
    """

    plugins: str = "all"
    strict_plugins: bool = False
    queues: str | None = None
    concurrency: tuple[str, ...] = ()
    burst: bool = False
    no_scheduler: bool = False
    metrics_port: int | None = None

    def words(self, config: Config, file: Path | None, at: int) -> list[str]:
        """The command line of the worker process number ``at``, from 0."""
        if self.metrics_port is not None:
            config = attrs.evolve(config, worker=_with_port(config, self.metrics_port))
        words = [] if file is None else ["--config", str(file)]
        words += ["worker", "--plugins", self.plugins]
        words += [word for number in self.concurrency for word in ("--concurrency", number)]
        words += [] if self.queues is None else ["--queues", self.queues]
        words += ["--strict-plugins"] if self.strict_plugins else []
        words += ["--burst"] if self.burst else []
        words += ["--no-scheduler"] if self.no_scheduler else []
        if port := config.worker.metrics_port:
            words += ["--metrics-port", str(_with_port(config, port + at).metrics_port)]
        elif port == 0:
            words += ["--metrics-port", "0"]
        return words

    def run(self, config: Config, file: Path | None = None) -> None:
        """Run a worker with this configuration, read from ``file`` if given, until it is stopped."""
        if self.metrics_port is not None:
            config = attrs.evolve(config, worker=_with_port(config, self.metrics_port))
        registry = worker_registry(config, chosen(self.plugins), strict=self.strict_plugins)
        tell_quarantined(registry)
        queues = None if self.queues is None else _names(self.queues)
        places = _places(self.concurrency, queues or sorted(registry.processors))
        children = ChildSetup(config_file=file, plugins=chosen(self.plugins))
        worker = Worker(
            config, registry, queues=queues, concurrency=places, burst=self.burst, children=children
        )
        scheduler = None if self.burst or self.no_scheduler else Scheduler(config, registry)
        run(worker, scheduler)


def worker(
    options: WorkerOptions = WorkerOptions(),
    logging: LogOptions = LogOptions(),
    *,
    processes: str | None = None,
    session: Shared,
) -> int:
    """Run jobs until told to stop.

    SIGTERM or Ctrl-C: takes no more jobs, lets the running ones end within the grace period, hands back the
    rest and exits with 0. A second one hands them back at once. While the broker is away it waits.

    Args:
        processes: Start so many workers as processes of their own, or auto: one for each core. One that dies
            is started again. A metrics port is that of the first one, the next ones follow it.
    """
    logging.apply()
    if processes is not None:
        number = supervisor.count(processes)
        commands = [options.words(session.config, session.config_file, at) for at in range(number)]
        return supervisor.run([[*command, *logging.words()] for command in commands], again=not options.burst)
    with leaving_stuck_threads():
        options.run(session.config, session.config_file)
    return OK


def scheduler(
    logging: LogOptions = LogOptions(),
    *,
    plugins: str = "all",
    strict_plugins: bool = False,
    session: Shared,
) -> None:
    """Fire schedules and run no jobs, until SIGTERM or Ctrl-C.

    Any number may run, beside workers too: each slot is fired once.

    Args:
        plugins: Plugins to load, by name with commas between them, or all, the default.
        strict_plugins: Refuse to start when a plugin is broken, instead of going on without it.
    """
    logging.apply()
    registry = worker_registry(session.config, chosen(plugins), strict=strict_plugins)
    tell_quarantined(registry)
    run(None, Scheduler(session.config, registry))


def chosen(plugins: str) -> list[str] | None:
    """What ``--plugins`` chose; None for all."""
    return None if plugins == "all" else _names(plugins)


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]


def _with_port(config: Config, port: int) -> WorkerConfig:
    try:
        return attrs.evolve(config.worker, metrics_port=port)
    except ValueError as error:
        raise InvalidOption("the worker's options", [Fault("--metrics-port", str(error))]) from None


def _places(written: Sequence[str], queues: Sequence[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    faults = []
    for text in written:
        queue, equals, number = text.partition("=")
        if not (equals and number.isascii() and number.isdigit() and int(number) > 0):
            faults.append(Fault("--concurrency", f"{text!r} is not queue=number, the number from 1"))
        elif queue not in queues:
            close = suggest(queue, queues)
            hint = f"did you mean {close!r}?" if close else f"it serves {', '.join(queues)}"
            faults.append(Fault("--concurrency", f"this worker does not serve {queue!r}; {hint}"))
        else:
            places[queue] = int(number)
    if faults:
        raise InvalidOption("the worker's options", faults)
    return places

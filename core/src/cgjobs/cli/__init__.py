"""The command line: ``cgjobs``. Each command's module is imported when the command is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, CycloptsError, Parameter

from cgjobs.cli.exits import BROKEN_PIPE, FAILED, INTERRUPTED, OK, exit_code
from cgjobs.cli.output import talk
from cgjobs.errors import CgjobsError, ConfigError, Fault, InvalidOption

if TYPE_CHECKING:  # the common commands need no plugins, or not yet
    from cgjobs.cli.session import Session
    from cgjobs.command import Command

_HELP = (  # each paragraph on one line: the help is wrapped to the terminal
    "Background jobs over Redis.\n\n"
    "Data goes to standard output, talk to standard error. "
    "Exit codes: 0 well, 1 the operation or the awaited job failed, 2 wrong usage, payload or configuration, "
    "3 no broker, 4 not found, 5 refused.\n\n"
    "As long as nothing is configured about Redis, all commands but worker and scheduler talk to the broker "
    "of a running cgjobs dev, and say so."
)
_GLOBAL = "Everywhere: --config FILE reads that file, --debug shows the traceback of an error."

_COMMANDS = {
    "demo": ("demo:demo", "See jobs of all twelve subtypes at work, in about a minute."),
    "dev": ("dev:dev", "Run a broker of your own and a worker, with nothing to install or configure."),
    "worker": ("worker:worker", "Run jobs until told to stop."),
    "scheduler": ("worker:scheduler", "Fire schedules and run no jobs."),
    "setup": ("setup:setup", "Check the broker and load this release's functions."),
    "enqueue": ("enqueue:app", "Enqueue a job, its payload given as options."),
    "jobs": ("jobs:app", "List jobs; or retry, cancel or remove many."),
    "job": ("job:app", "Show, retry, cancel or remove one job."),
    "watch": ("watch:watch", "Show what happens to jobs, or to one job until it ends."),
    "queues": ("queues:queues", "List queues with their numbers."),
    "queue": ("queues:app", "Pause, resume or drain one queue."),
    "history": ("history:history", "Show what happened in the last hours."),
    "workers": ("workers:workers", "List the workers that are alive."),
    "schedules": ("schedules:schedules", "List schedules, their last fire and the next ones."),
    "plugins": ("plugins:plugins", "List plugins, the job types they bring and what is wrong with them."),
    "schema": ("schema:schema", "Print the JSON Schema of a payload."),
    "config": ("config:app", "Show or check the configuration."),
    "doctor": ("doctor:doctor", "Look for what is wrong and say what to do."),
}


def _app(chosen: str, more: Mapping[str, Command]) -> App:
    app = App(
        name="cgjobs",
        help=_HELP,
        help_epilogue=_GLOBAL,
        help_format="plaintext",
        version=lambda: version("chatgenius-jobs"),
        default_parameter=Parameter(negative=(), show_default=False),
    )
    for order, (name, (target, text)) in enumerate(_COMMANDS.items()):
        # The text stands in for a command's own help, so that listing commands does not import them all.
        app.command(f"cgjobs.cli.{target}", name=name, help=None if name == chosen else text, sort_key=order)
    for name, command in more.items():
        help_text = None if name == chosen else command.help
        app.command(command.target, name=name, help=help_text, sort_key=len(_COMMANDS))
    return app


def _plugin_commands(chosen: str, session: Callable[[], Session]) -> Mapping[str, Command]:
    """The commands that plugins add, when one of them may be meant; none may have the name of ours."""
    if chosen in _COMMANDS or chosen == "--version":
        return {}
    try:
        commands = session().registry.commands
    except ConfigError:
        if chosen.startswith("-") or not chosen:
            return {}  # help is given whatever the configuration says
        raise
    return {name: command for name, command in commands.items() if name not in _COMMANDS}


def _session(config_file: Path | None) -> Session:
    from cgjobs.cli.session import Session

    return Session(config_file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What follows ``cgjobs``; None takes the process's.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        code = _run([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (CgjobsError, CycloptsError) as error:
        if debug:
            raise
        if isinstance(error, CycloptsError):
            error.verbose = False  # otherwise it quotes our source
        talk(str(error))
        return exit_code(error)
    except Exception as error:
        if debug:
            raise
        talk(f"{type(error).__name__}: {error}. This is a mistake in cgjobs or a plugin; --debug shows where")
        return FAILED


def _run(words: list[str]) -> int:
    config_file = _take_config(words)
    chosen = words[0] if words else ""
    session = cache(partial(_session, config_file))
    app = _app(chosen, _plugin_commands(chosen, session))
    command, bound, injected = app.parse_args(words, exit_on_error=False, print_error=False)
    if not injected:
        return _code(command, bound.args, bound.kwargs)
    try:
        return _code(command, bound.args, {**bound.kwargs, "session": session()})
    finally:
        session().close()


def _code(command: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    code = command(*args, **kwargs)
    return code if isinstance(code, int) else OK


def _take_config(words: list[str]) -> Path | None:
    """Take ``--config FILE`` out of the words, wherever it stands."""
    for index, word in enumerate(words):
        if word == "--config":
            if index + 1 == len(words):
                raise InvalidOption("the command line", [Fault("--config", "needs the name of a file")])
            del words[index]
            return Path(words.pop(index))
        if word.startswith("--config="):
            return Path(words.pop(index).removeprefix("--config="))
    return None

"""The whole plugin contract: what a plugin's module may implement, with ``@hookimpl``.

A plugin is a module, announced under the entry-point group ``cgjobs``::

    [project.entry-points.cgjobs]
    slack = "cgjobs_slack"

Each function below is optional. A misspelt name puts the plugin in quarantine, by its distribution's name.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from cgjobs.command import Command
from cgjobs.event import Event
from cgjobs.finding import Finding
from cgjobs.processor import Processor
from cgjobs.subtype import Subtype

if TYPE_CHECKING:
    from cgjobs.context import Context

API_VERSION = 1
"""Version of this contract. A plugin may set ``CGJOBS_API = 1`` to be refused by any other."""

hookspec = pluggy.HookspecMarker("cgjobs")
hookimpl = pluggy.HookimplMarker("cgjobs")


@hookspec
def cgjobs_processors() -> Sequence[Processor]:  # type: ignore[empty-body]
    """The job types that this plugin owns."""


@hookspec
def cgjobs_subtypes() -> Sequence[Subtype[Any, Any]]:  # type: ignore[empty-body]
    """The subtypes that this plugin adds, to its own job types or to somebody else's."""


@hookspec
def cgjobs_settings() -> type:  # type: ignore[empty-body]
    """The attrs class of this plugin's settings, read from ``[plugins.<entry point's name>]``.

    It is checked before the worker takes its first job, and handed to handlers by ``ctx.settings(cls)``.
    """


@hookspec
def cgjobs_checks(settings: Callable[[type[Any]], Any]) -> Iterable[Finding]:  # type: ignore[empty-body]
    """What ``cgjobs doctor`` says about this plugin: what is missing, wrong or out of reach.

    It takes two seconds at most, changes nothing and sends nothing. What it raises is a finding too.

    Args:
        settings: Given a settings class, the plugin's own or another's, gives the settings, as
            ``ctx.settings`` does.
    """


@hookspec
def cgjobs_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """The commands that this plugin adds to ``cgjobs``."""


@hookspec
def cgjobs_event(event: Event) -> None:
    """Told of everything that happens, in the process in which it happens.

    Called on the worker's loop: be quick and do not block. What it raises is logged and changes nothing. An
    event may be told twice or, when the process dies, not at all: count what matters in your handler.
    """


@hookspec
def cgjobs_run(  # type: ignore[empty-body]
    subtype: Subtype[Any, Any], payload: Any, ctx: Context
) -> Generator[None, Any, Any]:
    """Wraps each run of a handler: ``@hookimpl(wrapper=True)``, a generator that yields once.

    What it receives from ``yield`` is the handler's result, what it returns is the result from then on, and
    what the handler raised is raised at the ``yield``. For ``async def`` handlers it runs on the loop, for
    ``def`` handlers on the handler's thread. Only wrappers are accepted here.
    """


@hookspec
def cgjobs_worker_start(worker: Any) -> None:
    """The worker is about to take its first job. Raising stops the worker.

    Args:
        worker: A `cgjobs.worker.WorkerHandle`: its name, queues, configuration and registry.
    """


@hookspec
def cgjobs_worker_stop(worker: Any) -> None:
    """The worker has ended its last job. What it raises is logged."""

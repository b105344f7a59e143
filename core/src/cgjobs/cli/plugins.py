"""``cgjobs plugins``."""

from __future__ import annotations

from cgjobs.cli.exits import FAILED, OK
from cgjobs.cli.output import AsJson, show, show_json
from cgjobs.cli.run import worker_registry
from cgjobs.cli.session import Shared
from cgjobs.plugins import PluginInfo, Registry


def plugins(*, strict: bool = False, as_json: AsJson = False, session: Shared) -> int:
    """List plugins, the job types they bring and what is wrong with them. Needs no broker.

    A plugin is shown as a worker would have it, its settings checked.

    Args:
        strict: Exit with 1 when one is broken.
        as_json: Print one JSON document.
    """
    registry = worker_registry(session.config)
    if as_json:
        show_json(registry.plugins)
    else:
        for plugin in registry.plugins:
            _show(plugin, registry)
    broken = any(plugin.state == "quarantined" for plugin in registry.plugins)
    return FAILED if strict and broken else OK


def _show(plugin: PluginInfo, registry: Registry) -> None:
    origin = f"{plugin.distribution} {plugin.version}" if plugin.distribution else "built in"
    show(f"{plugin.name}  {plugin.state}  {origin}")
    if plugin.reason:
        show(f"  {plugin.reason}")
    if plugin.state != "loaded":
        return
    for name in plugin.types:
        if subtype := registry.subtypes.get(name):
            traits = f" [{', '.join(subtype.traits)}]" if subtype.traits else ""
            show(f"  {name}  {subtype.summary}{traits}".rstrip())

"""``cgjobs config``."""

from __future__ import annotations

import re

import attrs
from cyclopts import App

from cgjobs import loading, plugins
from cgjobs.cli.output import AsJson, show_json, show_table, talk
from cgjobs.cli.session import Shared
from cgjobs.config import Config
from cgjobs.errors import ConfigError, Fault
from cgjobs.loading import Setting
from cgjobs.plugins import Registry

app = App(name="config", help="Show or check the configuration.")


@app.command(name="show")
def show_config(*, origin: bool = False, as_json: AsJson = False, session: Shared) -> None:
    """Show every setting in effect, also what plugins set for their queues. Secrets are masked.

    Args:
        origin: Also where each value comes from.
        as_json: Print one JSON document, always with the origins.
    """
    settings = in_effect(session.config, session.registry)
    if as_json:
        show_json(settings)
    elif origin:
        show_table(("SETTING", "VALUE", "ORIGIN"), ((item.key, item.value, item.origin) for item in settings))
    else:
        show_table(("SETTING", "VALUE"), ((item.key, item.value) for item in settings))


@app.command
def check(*, as_json: AsJson = False, session: Shared) -> None:
    """Check the configuration and the settings of all plugins; show every fault and exit with 2.

    Args:
        as_json: Print one JSON document when it is right.
    """
    if faults := plugin_faults(session.config):
        raise ConfigError("the configuration is wrong", faults)
    if as_json:
        show_json({"env": session.config.env, "ok": True})
    else:
        talk(f"the configuration is right ({session.config.env})")


def in_effect(config: Config, registry: Registry) -> list[Setting]:
    """Every setting as a worker has it: of a processor what the configuration says nothing of."""
    from cgjobs.preparation import queue_config

    names = [*config.queues, *sorted(set(registry.processors) - set(config.queues))]
    queues = {name: queue_config(config, registry, name) for name in names}
    owners = {
        job_type: f"plugin {info.name}"
        for info in registry.plugins
        if info.state == "loaded"
        for job_type in info.types
    }
    origins: dict[str, str] = {}
    for name, processor in registry.processors.items():
        configured = config.queues.get(name)
        said = [limit for limit in processor.limits if getattr(configured, limit, None) is None]
        said += [] if configured else ["concurrency", "attempts", "backoff"]
        origins |= {f"queues.{name}.{option}": owners.get(name, "plugin") for option in said}
    shown = loading.show(attrs.evolve(config, queues=queues))
    # Of a queue all there is to a backoff comes from one place.
    option = re.compile(r"queues\.[^.]+\.[^.]+")
    found = [(setting, option.match(setting.key)) for setting in shown]
    return [
        attrs.evolve(setting, origin=origins.get(key.group(), setting.origin)) if key else setting
        for setting, key in found
    ]


def plugin_faults(config: Config) -> list[Fault]:
    """What is wrong with the settings of plugins."""
    faults: list[Fault] = []
    read = loading.settings_reader(config)

    def read_settings(name: str, cls: type) -> object:
        try:
            return read(name, cls)
        except ConfigError as error:
            faults.extend(error.faults)
            raise

    plugins.load(block=config.plugins.block, read_settings=read_settings)
    return faults

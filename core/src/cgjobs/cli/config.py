"""``cgjobs config``."""

from __future__ import annotations

from cyclopts import App

from cgjobs import loading, plugins
from cgjobs.cli.output import AsJson, show_json, show_table, talk
from cgjobs.cli.session import Shared
from cgjobs.config import Config
from cgjobs.errors import ConfigError, Fault

app = App(name="config", help="Show or check the configuration.")


@app.command(name="show")
def show_config(*, origin: bool = False, as_json: AsJson = False, session: Shared) -> None:
    """Show every setting in effect. Secrets are masked.

    Args:
        origin: Also where each value comes from.
        as_json: Print one JSON document, always with the origins.
    """
    settings = loading.show(session.config)
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

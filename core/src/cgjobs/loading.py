"""From ``cgjobs.toml`` and the environment to a `Config`, and back to what people read of it.

The one module that reads ``os.environ``. What is said later wins: the profile's defaults, the file,
``REDIS_...``, ``CGJOBS_...``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import platformdirs

from cgjobs.assembly import Assembly, Layout
from cgjobs.config import Config
from cgjobs.duration import format_duration
from cgjobs.environment import PREFIX, overlay, path_of, read_secret
from cgjobs.errors import ConfigError, Fault
from cgjobs.setting import SettingReader, dotted, fields_of, has_fields, is_secret
from cgjobs.written import Source, Table, Written, plain, write

FILE_NAME = "cgjobs.toml"
MASK = "********"
_USER_INFO = re.compile(r"(?<=://)\S*@")  # to the last @, whatever a password has in it


@attrs.frozen
class Setting:
    """One effective setting, as ``cgjobs config show --origin`` prints it.

    Args:
        key: Its dotted key, such as ``queues.notification.concurrency``.
        value: Its value as text; a secret is masked.
        origin: The file, ``environment REDIS_PORT``, or ``default (development)``.
    """

    key: str
    value: str
    origin: str


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read the configuration.

    Args:
        path: The file; None for ``CGJOBS_CONFIG``, else ``cgjobs.toml`` in the working directory, else in the
            user's configuration directory, else no file.
        environ: The variables; None for those of this process.

    Returns:
        The checked configuration, with the origin of every value that is not a default.

    Raises:
        ConfigError: A named file is missing or no TOML, or settings are wrong. It has every fault, no secret.
    """
    environ = os.environ if environ is None else environ
    table = _read_file(_find_file(path, environ))
    known = [PREFIX + plain(setting.key).replace(".", "_").upper() for setting in show(Config.development())]
    faults = overlay(table, environ, Layout, plugins=_plugin_names(table), known=known)
    config, more = Assembly(table).config()
    if faults := [*faults, *more]:
        raise ConfigError("the configuration is wrong", faults)
    return config


def show(config: Config) -> list[Setting]:
    """Every effective setting with its origin, secrets masked."""
    queues = {name: attrs.asdict(queue, recurse=False) for name, queue in config.queues.items()}
    for queue in queues.values():
        del queue["name"]
    schedules: dict[str, dict[str, object]] = {
        name: {"cron": schedule.expression, "timezone": schedule.timezone}
        for name, schedule in config.schedules.items()
    }
    schedules |= {name: {"enabled": False} for name in sorted(config.unscheduled)}
    tables: dict[str, object] = {"env": config.env, "redis": config.redis}
    tables |= {f"queues.{name}": queue for name, queue in queues.items()}
    tables |= {f"schedules.{name}": schedule for name, schedule in schedules.items()}
    tables |= {"worker": config.worker, "limits": config.limits, "plugins.block": config.plugins.block}
    tables |= {f"plugins.{name}": table for name, table in config.plugins.settings.items()}
    rows = [row for key, table in tables.items() for row in _rows(table, key)]
    default = f"default ({config.env})"
    return [Setting(key, value, config.origins.get(key.partition("[")[0], default)) for key, value in rows]


def settings_reader(config: Config) -> Callable[[str, type], object]:
    """What reads ``[plugins.<name>]`` into a plugin's settings class, for `cgjobs.plugins.load`.

    The reader is called with the plugin's name and its attrs class. It raises `ConfigError` with every fault.
    """

    def read(name: str, cls: type) -> object:
        tables = config.plugins.settings
        key = next((key for key in tables if plain(key).lower() == plain(name).lower()), name)
        table = _with_sources(tables.get(key, {}), f"plugins.{key}", config.origins)
        reader = SettingReader()
        _unfold(table, cls, reader)
        settings: object = reader.read(cls, table, f"plugins.{key}")
        if reader.faults:
            raise ConfigError(f"the settings of plugin {name!r} are wrong", reader.faults)
        return settings

    return read


def _find_file(path: Path | None, environ: Mapping[str, str]) -> Source:
    """The file to read, if any, and the variable that named it, if one did."""
    if path is not None:
        return Source(file=path)
    if named := environ.get("CGJOBS_CONFIG"):
        return Source(file=Path(named), variable="CGJOBS_CONFIG")
    places = (Path(FILE_NAME), platformdirs.user_config_path("cgjobs", appauthor=False) / FILE_NAME)
    return Source(file=next((place for place in places if place.is_file()), None))


def _read_file(found: Source) -> Table:
    if found.file is None:
        return Table()
    text = ""
    try:
        text = found.file.read_bytes().decode()
        source = Source(file=found.file)
        return Table(source, {key: write(value, source) for key, value in tomllib.loads(text).items()})
    except OSError as error:
        where = found.variable or str(found.file)
        fault = Fault(where, f"{str(found.file)!r} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        fault = Fault(str(found.file), "is not UTF-8 text")
    except (ValueError, RecursionError) as error:
        end = f"at line {len(text.splitlines())}, the end of the file"  # tomllib does not count for this one
        message = str(error).replace("at end of document", end)
        fault = Fault(str(found.file), f"is not valid TOML: {message}")
    raise ConfigError("the configuration cannot be read", [fault])


def _plugin_names(table: Table) -> Collection[str]:
    written = table.get("plugins")
    tables = written.entries if isinstance(written, Table) else {}
    return {*tables, *(point.name for point in entry_points(group="cgjobs"))}


def _with_sources(values: Mapping[str, Any], key: str, origins: Mapping[str, str]) -> Table:
    """The table of a plugin, each value with its source again."""
    table = Table()
    for name, value in values.items():
        here = dotted(key, name)
        if isinstance(value, Mapping):
            table.entries[name] = _with_sources(value, here, origins)
        else:
            table.entries[name] = Written(value, Source.parse(origins.get(here)))
    return table


def _unfold(table: Table, cls: type, reader: SettingReader) -> None:
    """Put what variables said where it belongs, now that the class tells ``mail_host`` from ``mail.host``."""
    flat = [name for name, e in table.entries.items() if isinstance(e, Written) and e.source.variable]
    written = {name: table.entries.pop(name) for name in flat}
    for name, entry in written.items():
        assert isinstance(entry, Written)
        path = path_of(cls, name, table)
        if not path and name.endswith("_file") and (path := path_of(cls, name.removesuffix("_file"), table)):
            try:
                entry = Written(read_secret(str(entry.value)), entry.source)
            except ValueError as error:
                reader.refuse(entry.source, name, str(error))
                entry = Written(None, entry.source)
        table.put(path or (name,), entry)


def _rows(value: object, key: str, *, secret: bool = False) -> Iterator[tuple[str, str]]:
    if has_fields(type(value)):
        for name, field in fields_of(type(value)).items():
            inner = getattr(value, field.attribute.name)
            yield from _rows(inner, dotted(key, name), secret=secret or field.secret)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _rows(inner, dotted(key, name), secret=secret or is_secret(name))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for index, inner in enumerate(value):
            yield from _rows(inner, f"{key}[{index}]", secret=secret)
    else:
        yield key, MASK if secret and value else _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case timedelta():
            return format_duration(value)
        case list() | tuple():
            return ", ".join(_text(item) for item in value)
        case _:
            return _USER_INFO.sub(f"{MASK}@", str(value))

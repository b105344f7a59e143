"""From entry points to a `Registry`: each plugin loaded by itself, a broken one put in quarantine."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeVar

import attrs
import pluggy

from cgjobs import cron, hookspecs
from cgjobs.command import Command
from cgjobs.errors import PluginConflict, PluginError, ProcessorNotFound, SubtypeNotFound, suggest
from cgjobs.event import Event
from cgjobs.finding import Finding
from cgjobs.processor import Processor
from cgjobs.subtype import Subtype
from cgjobs.wire.record import payload_form

GROUP = "cgjobs"
_log = logging.getLogger(__name__)
T = TypeVar("T")
SettingsReader = Callable[[str, type], object]
"""Given a plugin's name and its settings class, gives the settings or raises `ConfigError`."""


@attrs.frozen
class PluginInfo:
    """One plugin as ``cgjobs plugins`` lists it.

    Args:
        name: Name of its entry point.
        distribution: The distribution that brought it, ``""`` for a built-in one.
        version: That distribution's version.
        types: The job types and subtypes it provides.
        payload_versions: The payload version of each subtype.
        state: ``loaded``, ``quarantined`` (broken), ``blocked`` (by configuration) or ``unselected``.
        reason: Why it is not loaded, for people.
    """

    name: str
    distribution: str
    version: str
    types: tuple[str, ...] = ()
    payload_versions: Mapping[str, int] = attrs.field(factory=dict)
    state: Literal["loaded", "quarantined", "blocked", "unselected"] = "loaded"
    reason: str = ""


@attrs.frozen
class Registry:
    """What the loaded plugins provide. Two can live side by side.

    Args:
        hook: The hooks of all loaded plugins, called as ``registry.hook.cgjobs_event(event=...)``.
        plugins: Every plugin found, loaded or not.
        processors: Job types by name.
        subtypes: Subtypes by full name.
        settings: Settings objects by their class.
        commands: Commands that they add to the command line, by name.
    """

    hook: Any = attrs.field(repr=False)
    plugins: tuple[PluginInfo, ...]
    processors: Mapping[str, Processor]
    subtypes: Mapping[str, Subtype[Any, Any]]
    settings: Mapping[type, object] = attrs.field(repr=False)
    commands: Mapping[str, Command]
    _by_payload: Mapping[type, Subtype[Any, Any]] = attrs.field(repr=False)
    _observers: tuple[tuple[str, Callable[[Event], object]], ...] = attrs.field(repr=False)

    def tell(self, event: Event) -> None:
        """Tell every observer (``cgjobs_event``); one that raises is logged and hinders no other."""
        for name, observer in self._observers:
            try:
                observer(event)
            except Exception:
                _log.exception("plugin %s failed to observe %s", name, event.name)

    @property
    def checks(self) -> Iterator[tuple[str, Callable[[], Iterable[Finding]]]]:
        """Each plugin's ``cgjobs_checks``, by the plugin's name."""
        for impl in self.hook.cgjobs_checks.get_hookimpls():
            given = {"settings": self._settings_of}
            yield impl.plugin_name, partial(impl.function, *(given[name] for name in impl.argnames))

    def _settings_of(self, cls: type[T]) -> T:
        if cls not in self.settings:
            raise LookupError(f"no plugin that works announces {cls.__qualname__} with cgjobs_settings")
        return self.settings[cls]  # type: ignore[return-value]

    def subtype(self, name: str) -> Subtype[Any, Any]:
        """The subtype with this full name.

        Raises:
            ProcessorNotFound: No plugin provides its job type.
            SubtypeNotFound: The job type has no such subtype.
        """
        if found := self.subtypes.get(name):
            return found
        job_type = name.partition(".")[0]
        if job_type not in self.processors:
            raise ProcessorNotFound(job_type, self.processors, self._why_missing(job_type))
        raise SubtypeNotFound(name, self.subtypes, self._why_missing(job_type))

    def subtype_for(self, payload: object) -> Subtype[Any, Any]:
        """The subtype whose payload class this object has.

        Raises:
            SubtypeNotFound: No loaded plugin has a handler for the class.
        """
        if found := self._by_payload.get(type(payload)):
            return found
        raise SubtypeNotFound(
            type(payload).__qualname__,
            (subtype.payload.__qualname__ for subtype in self.subtypes.values()),
            "Enqueue an instance of a subtype's payload class.",
        )

    def processor(self, name: str) -> Processor:
        """The job type with this name.

        Raises:
            ProcessorNotFound: No plugin provides it.
        """
        if found := self.processors.get(name):
            return found
        raise ProcessorNotFound(name, self.processors, self._why_missing(name))

    def why_unknown(self, name: str) -> str:
        """Why there is no subtype with this full name: what is missing, or what is broken."""
        broken = [f"{item.name}: {item.reason}" for item in self.plugins if item.state == "quarantined"]
        more = f" (in quarantine: {'; '.join(broken)})" if broken else ""
        return f"no plugin of this worker handles {name!r}{more}"

    def _why_missing(self, job_type: str) -> str:
        for plugin in self.plugins:
            if plugin.state != "loaded" and (plugin.name == job_type or job_type in plugin.types):
                return f"The plugin {plugin.name!r} is {plugin.state}: {plugin.reason}"
        return "Is its plugin installed? `cgjobs plugins` lists them."


def load(
    only: Sequence[str] | None = None,
    *,
    block: Iterable[str] = (),
    strict: bool = False,
    read_settings: SettingsReader | None = None,
    found: Iterable[EntryPoint] | None = None,
    extra: Iterable[tuple[str, object]] = (),
) -> Registry:
    """Load plugins and collect what they provide.

    Args:
        only: Names of entry points to load; None loads all.
        block: Entry points or distributions that are never imported.
        strict: Refuse when any plugin is broken, instead of going on without it.
        read_settings: How settings are read; None gives each settings class its defaults.
        found: Entry points to look at instead of the installed ones.
        extra: Further plugins by name, already imported: the built-in ones and those of tests.

    Raises:
        PluginError: ``only`` names a plugin that is not installed, or ``strict`` and one is broken.
    """
    candidates = sorted(entry_points(group=GROUP) if found is None else found, key=lambda point: point.name)
    if only is not None:
        _all_known(only, [point.name for point in candidates])
    loader = _Loader(read_settings or (lambda name, cls: cls()))
    for name, plugin in extra:
        loader.add(PluginInfo(name, "", ""), lambda plugin=plugin: plugin)  # type: ignore[misc]
    blocked = frozenset(block)
    for point in candidates:
        info = PluginInfo(
            point.name, point.dist.name if point.dist else "", point.dist.version if point.dist else ""
        )
        if blocked & {info.name, info.distribution}:
            loader.skip(attrs.evolve(info, state="blocked", reason="named in plugins.block"))
        elif only is not None and point.name not in only:
            loader.skip(attrs.evolve(info, state="unselected", reason="not named by --plugins"))
        else:
            loader.add(info, point.load)
    registry = loader.finish()
    broken = [plugin for plugin in registry.plugins if plugin.state == "quarantined"]
    if strict and broken:
        raise PluginError(
            "\n".join(
                f"plugin {plugin.name!r} of {plugin.distribution or 'cgjobs'} is broken: {plugin.reason}"
                for plugin in broken
            )
        )
    return registry


def _all_known(only: Sequence[str], installed: Sequence[str]) -> None:
    for name in only:
        if name not in installed:
            close = suggest(name, installed)
            hint = f"did you mean {close!r}?" if close else f"installed: {', '.join(installed) or 'none'}"
            raise PluginError(f"no plugin named {name!r} is installed; {hint}")


@attrs.define
class _Offer:
    """What one plugin provides, not yet merged with the others."""

    info: PluginInfo
    plugin: object
    processors: list[Processor]
    subtypes: list[Subtype[Any, Any]]
    settings: dict[type, object]
    commands: list[Command]


class _Loader:
    def __init__(self, read_settings: SettingsReader) -> None:
        self._read_settings = read_settings
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._infos: list[PluginInfo] = []
        self._offers: list[_Offer] = []
        self._owners: dict[str, str] = {}
        self._commands: dict[str, str] = {}
        self._payloads: dict[type, Subtype[Any, Any]] = {}

    def skip(self, info: PluginInfo) -> None:
        self._infos.append(info)

    def add(self, info: PluginInfo, load_plugin: Callable[[], object]) -> None:
        """Import one plugin and take its offer; whatever it raises is its own fault alone."""
        registered = len(self._manager.get_plugins())
        try:
            plugin = load_plugin()
            offer = self._offer(info, plugin)
            self._refuse_conflicts(offer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a plugin must not end its host
            if len(self._manager.get_plugins()) > registered:
                self._manager.unregister(plugin)
            self._infos.append(attrs.evolve(info, state="quarantined", reason=_one_line(error)))
            return
        for subtype in offer.subtypes:
            self._payloads[subtype.payload] = subtype
        self._commands |= dict.fromkeys(
            (command.name for command in offer.commands), offer.info.distribution or offer.info.name
        )
        self._owners |= dict.fromkeys(offer.info.types, offer.info.distribution or offer.info.name)
        self._offers.append(offer)

    def _offer(self, info: PluginInfo, plugin: object) -> _Offer:
        version = getattr(plugin, "CGJOBS_API", hookspecs.API_VERSION)
        if version != hookspecs.API_VERSION:
            raise PluginError(
                f"it is written for plugin API {version!r}, this is {hookspecs.API_VERSION}; "
                f"install a release of {info.distribution!r} that fits"
            )
        self._manager.register(plugin, info.name)
        self._refuse_unknown_hooks(plugin)
        processors = _items(plugin, "cgjobs_processors", Processor)
        for processor in processors:
            if processor.schedule is not None:  # a wrong one would end the scheduler of all plugins
                cron.parse(processor.schedule.expression)
                cron.zone(processor.schedule.timezone)
        subtypes = _items(plugin, "cgjobs_subtypes", Subtype)
        for subtype in subtypes:
            payload_form(subtype.payload)  # a field without a wire form would fail at each enqueue
        settings: dict[type, object] = {}
        if announce := getattr(plugin, "cgjobs_settings", None):
            cls = announce()
            if not (isinstance(cls, type) and attrs.has(cls)):
                raise PluginError(f"cgjobs_settings returned {cls!r}; return an attrs class")
            settings[cls] = self._read_settings(info.name, cls)
        commands = _items(plugin, "cgjobs_commands", Command)
        types = (*(item.name for item in processors), *(item.name for item in subtypes))
        versions = {item.name: item.version for item in subtypes}
        info = attrs.evolve(info, types=types, payload_versions=versions)
        return _Offer(info, plugin, processors, subtypes, settings, commands)

    def _refuse_unknown_hooks(self, plugin: object) -> None:
        known = [name for name in vars(hookspecs) if name.startswith("cgjobs_")]
        for caller in self._manager.get_hookcallers(plugin) or []:
            if not caller.has_spec():
                close = suggest(caller.name, known)
                hint = f"did you mean {close!r}?" if close else f"the hooks are {', '.join(known)}"
                raise PluginError(f"it implements {caller.name!r}, which is no hook; {hint}")
        for impl in self._manager.hook.cgjobs_run.get_hookimpls():
            if impl.plugin is plugin and not impl.wrapper:
                raise PluginError("its cgjobs_run is no wrapper; write @hookimpl(wrapper=True)")

    def _refuse_conflicts(self, offer: _Offer) -> None:
        mine = offer.info.distribution or offer.info.name
        seen: set[str] = set()
        for name in offer.info.types:
            if other := (mine if name in seen else self._owners.get(name)):
                raise PluginConflict(
                    f"{name!r} is provided twice: by {other} and by {mine}. "
                    f"Uninstall one, or add it to plugins.block"
                )
            seen.add(name)
        for command in offer.commands:
            if command.name in self._commands:
                raise PluginConflict(
                    f"the command {command.name!r} is added twice: by {self._commands[command.name]} and by "
                    f"{mine}. Uninstall one, or add it to plugins.block"
                )
        for subtype in offer.subtypes:
            if taken := self._payloads.get(subtype.payload):
                raise PluginConflict(
                    f"{subtype.name!r} has the payload class of {taken.name!r}; give each subtype its own"
                )

    def finish(self) -> Registry:
        """Merge the offers; a subtype without a job type puts its plugin in quarantine."""
        while self._drop_orphan():
            pass
        processors = {item.name: item for offer in self._offers for item in offer.processors}
        subtypes: dict[str, Subtype[Any, Any]] = {}
        settings: dict[type, object] = {}
        commands: dict[str, Command] = {}
        for offer in self._offers:
            subtypes |= {item.name: item for item in offer.subtypes}
            settings |= offer.settings
            commands |= {command.name: command for command in offer.commands}
            self._infos.append(offer.info)
        by_payload = {item.payload: item for item in subtypes.values()}
        infos = tuple(sorted(self._infos, key=lambda info: (bool(info.distribution), info.name)))
        observers = tuple(
            (impl.plugin_name, impl.function if impl.argnames else _without_event(impl.function))
            for impl in self._manager.hook.cgjobs_event.get_hookimpls()
        )
        return Registry(
            self._manager.hook, infos, processors, subtypes, settings, commands, by_payload, observers
        )

    def _drop_orphan(self) -> bool:
        """Quarantine one plugin that adds to a job type nobody provides; others may then be orphans too."""
        owned = {item.name for offer in self._offers for item in offer.processors}
        for offer in self._offers:
            if orphans := sorted({item.job_type for item in offer.subtypes} - owned):
                self._offers.remove(offer)
                self._manager.unregister(offer.plugin)
                reason = (
                    f"nobody provides the job type {orphans[0]!r} that it adds to; "
                    "install the plugin that owns it, or return a Processor from cgjobs_processors"
                )
                self._infos.append(attrs.evolve(offer.info, state="quarantined", reason=reason))
                return True
        return False


def _without_event(function: Callable[..., object]) -> Callable[[Event], object]:
    return lambda event: function()


def _items(plugin: object, hook: str, cls: type[T]) -> list[T]:
    announce = getattr(plugin, hook, None)
    if announce is None:
        return []
    items = list(announce())
    for item in items:
        if not isinstance(item, cls):
            hint = "; decorate it with @subtype" if inspect.isfunction(item) else ""
            raise PluginError(f"{hook} returned {item!r}, which is no {cls.__name__}{hint}")
    return items


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, PluginError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

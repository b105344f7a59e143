"""What a plugin adds to the command line: commands of its own, and what `cgjobs doctor` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import Cli, command_line, install

BAKERY = '''
"""A bakery, as a stranger would write its plugin."""

import attrs
from cyclopts import App

from cgjobs import Command, Finding, hookimpl
from cgjobs.cli.session import Shared

app = App(name="bakery")


@attrs.frozen
class Settings:
    """Read from [plugins.bakery]."""

    oven: str = ""


@app.command
def bake(bread: str, *, session: Shared) -> int:
    """Bake one bread."""
    print(f"{bread} in the {session.settings(Settings).oven}")
    return 0 if bread == "rye" else 1


@hookimpl
def cgjobs_settings():
    return Settings


@hookimpl
def cgjobs_commands():
    target = "cgjobs_bakery:app"
    return [Command("bakery", target, "Bake bread."), Command("doctor", target, "Mine.")]


@hookimpl
def cgjobs_checks(settings):
    if not settings(Settings).oven:
        yield Finding("bakery", "bad", "no oven is set", "set oven in [plugins.bakery]")
    else:
        raise RuntimeError("the oven is cold")
'''


@pytest.fixture
def cgjobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Cli:
    """The command line, with the bakery installed beside the shop."""
    ready = command_line(tmp_path, capsys, monkeypatch, redis_url)
    install(tmp_path / "site", "bakery", BAKERY)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return ready


def test_a_plugins_command_is_listed_and_runs_with_its_settings(
    cgjobs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CGJOBS_PLUGINS_BAKERY_OVEN", "big oven")

    assert "Bake bread." in cgjobs("--help").out
    baked = cgjobs("bakery", "bake", "rye")
    assert (baked.code, baked.out) == (0, "rye in the big oven\n")
    assert cgjobs("bakery", "bake", "wheat").code == 1


def test_help_is_given_whatever_the_configuration_says(cgjobs: Cli) -> None:
    (cgjobs.directory / "cgjobs.toml").write_text("[worker]\nlease = 1\n")

    assert cgjobs("--help").code == 0
    assert "worker.lease" in cgjobs("bakery", "bake", "rye").err


def test_doctor_says_what_plugins_find_and_keeps_its_own_name(
    cgjobs: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = cgjobs("doctor")
    monkeypatch.setenv("CGJOBS_PLUGINS_BAKERY_OVEN", "big oven")
    raised = cgjobs("doctor")

    assert missing.code == raised.code == 1
    assert "bakery:              no oven is set\n     set oven in [plugins.bakery]" in missing.out
    assert "its cgjobs_checks raised RuntimeError: the oven is cold" in raised.out

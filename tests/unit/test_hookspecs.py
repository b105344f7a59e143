"""The contract with plugins."""

from __future__ import annotations

import inspect

import pytest

from cgjobs import hookspecs

HOOKS = [name for name in vars(hookspecs) if name.startswith("cgjobs_")]


def test_these_are_the_hooks() -> None:
    assert HOOKS == [
        "cgjobs_processors",
        "cgjobs_subtypes",
        "cgjobs_settings",
        "cgjobs_checks",
        "cgjobs_commands",
        "cgjobs_event",
        "cgjobs_run",
        "cgjobs_worker_start",
        "cgjobs_worker_stop",
    ]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_says_what_it_is_for_and_does_nothing_by_itself(name: str) -> None:
    hook = getattr(hookspecs, name)

    assert inspect.getdoc(hook)
    assert hook(*[None] * len(inspect.signature(hook).parameters)) is None

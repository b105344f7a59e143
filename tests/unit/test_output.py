"""What the command line prints."""

from __future__ import annotations

import pytest

from cgjobs.cli.output import show_styled, show_table


def test_a_table_on_a_terminal_cuts_no_cell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    show_table(("id", "state"), [("q" * 30, "waiting"), ("y\x1b[31m", None)])

    out = capsys.readouterr().out
    assert out.count("q") == 30
    assert "\x1b[31m" not in out
    assert "waiting" in out


def test_a_styled_beginning_has_its_text_on_a_terminal_and_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_styled("ok ", "green")
    piped = capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show_styled("ok ", "green")

    assert piped == "ok "
    assert "ok " in capsys.readouterr().out

"""The report of `make bench`: what it says of peers and lets into the documentation. Nothing is timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.measures import MEASURES
from benchmarks.report import BEGIN, END, Results


def results(**changed: object) -> Results:
    about = {"version": "1", "delivery": "at least once", "concurrency": 1, "settings": "its default"}
    values = {
        "machine": dict.fromkeys(
            ("when", "commit", "cpu", "cores", "system", "python", "node", "server"), "?"
        )
        | {"load": 0.0},
        "rounds": 3,
        "size": {},
        "whole": True,
        "peers": {"ours": about | {"title": "us"}, "slow": about | {"title": "slow"}},
        "samples": {
            "throughput": {
                "ours": {"jobs a second": [900.0, 1000.0, 9000.0]},
                "slow": {"jobs a second": [100.0]},
            },
            "enqueue": {"ours": {"one by one": [50.0], "bulk": [500.0]}, "slow": {"one by one": [100.0]}},
        },
    }
    return Results(**(values | changed))  # type: ignore[arg-type]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page, a picture and data of the test's own."""
    for name in ("PAGE", "PICTURE", "DATA", "OUT"):
        monkeypatch.setattr(report, name, tmp_path / name.lower())
    report.OUT.mkdir()
    (report.OUT / "results.svg").write_text("<svg/>")
    (report.OUT / "results.json").write_text("{}")
    report.PAGE.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    return report.PAGE


def test_tables_show_medians_and_ratios_to_ours() -> None:
    tables = report.tables(results())

    assert "| **us** | 1,000 | 900 to 9,000 | 1.00 |" in tables
    assert "| slow | 100 | 100 to 100 | 10.00 |" in tables


def test_what_a_peer_cannot_do_is_a_dash() -> None:
    assert "| slow | 100 | 0.50 | — | — |" in report.tables(results())


def test_a_peer_that_could_not_be_installed_is_named() -> None:
    assert "- huey: no network" in report.tables(results(missing={"huey": "no network"}))


def test_publishing_replaces_what_is_between_the_markers(page: Path) -> None:
    report.publish(results())

    assert page.read_text().startswith(f"before\n{BEGIN}\n\n![")
    assert page.read_text().endswith(f"{END}\nafter\n")
    assert "old" not in page.read_text()
    assert report.PICTURE.read_text() == "<svg/>"


@pytest.mark.parametrize("changed", [{"whole": False}, {"failures": ["slow, io: it crashed"]}])
def test_a_run_with_gaps_is_not_published(page: Path, changed: dict[str, object]) -> None:
    with pytest.raises(SystemExit, match="not published"):
        report.publish(results(**changed))

    assert "old" in page.read_text()


def test_the_page_has_its_markers_and_every_measure_a_table() -> None:
    text = report.PAGE.read_text("utf-8")

    assert text.count(BEGIN) == text.count(END) == 1
    assert [measure for _, measure, _ in report._TABLES] == list(MEASURES)

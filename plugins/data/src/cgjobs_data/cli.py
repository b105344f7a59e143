"""``cgjobs data``: whether the jobs can work on the database, its companion tables, and data to try out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

import attrs
from cyclopts import App, Parameter

from cgjobs import CgjobsError, Discard, Finding, Retry
from cgjobs.cli.output import AsJson, show, show_json, show_table, talk
from cgjobs.cli.session import Session, Shared, confirm
from cgjobs_data.settings import Settings

app = App(name="data", help="Check, prepare or seed the database that the jobs use.")
_STATES = {"ok": "ready", "warn": "warning", "bad": "missing"}


@attrs.frozen
class Row:
    """One line of `cgjobs data check`.

    Args:
        subtype: What it is about: a subtype's full name, or a part of the database such as ``data.messages``.
        state: ``ready``, ``warning`` (it works, but), ``missing`` or ``unchecked``.
        what: What is so.
        advice: What to do.
    """

    subtype: str
    state: str
    what: str
    advice: str = ""


@app.command
def check(*, as_json: AsJson = False, session: Shared) -> int:
    """Say of each subtype whether it can work: tables, columns, indexes, privileges. Changes nothing.

    Exits with 1 when something is missing.

    Args:
        as_json: Print one JSON document.
    """
    rows = list(_rows(session))
    if as_json:
        show_json(rows)
    else:
        show_table(("subtype", "state", "what"), [(row.subtype, row.state, row.what) for row in rows])
        for row in rows:
            if row.advice:
                show(f"{row.subtype}: {row.advice}")
    return int(any(row.state == "missing" for row in rows))


@app.command
def init(*, dry_run: bool = False, session: Shared) -> None:
    """Make the companion tables that are missing. Running it again does nothing.

    Args:
        dry_run: Print the statements and carry out none.
    """
    from cgjobs_data.database import Database
    from cgjobs_data.diagnosis import failures
    from cgjobs_data.installing import install, plan

    with _explained(), failures(), Database(session.settings(Settings)) as database:
        made = plan(database) if dry_run else install(database)
        if dry_run:
            for statement in made.statements:
                show(f"{statement};")
        else:
            for name in made.missing:
                show(f"made {name}")
        talk(f"{database.place}: {len(made.missing)} missing, {len(made.present)} there")


@app.command
def seed(
    *,
    postgres: bool = False,
    version: Literal["head", "db-f-001"] = "head",
    users: int = 200,
    messages: int = 50_000,
    number: Annotated[int, Parameter(name="--seed")] = 1,
    as_root: bool = False,
    yes: bool = False,
    session: Shared,
) -> None:
    """Make a ChatGenius database to try out: a year of messages that nobody wrote.

    Without options: the SQLite file that is used as long as no url is set.

    Args:
        postgres: Fill PostgreSQL with ChatGenius' own schema, triggers and foreign keys: the configured
            database, which must be empty, or one of an embedded PostgreSQL, which goes on running.
        version: Which version of ChatGenius' schema PostgreSQL gets.
        users: How many people there are.
        messages: How many messages there are.
        number: Another number gives other rows; the same one the same rows, but for their times.
        as_root: Let root start the embedded PostgreSQL, for which a user of the operating system is added.
        yes: Replace the file that is there, or fill the configured database, without asking.
    """
    if users < 2 or messages < 0:
        raise CgjobsError(f"at least 2 users and no fewer than 0 messages; got {users} and {messages}")
    settings = session.settings(Settings)
    with _explained():
        if postgres:
            _seed_postgres(settings, version, users, messages, number, as_root=as_root, yes=yes)
        else:
            _seed_file(settings, users, messages, number, yes=yes)


@app.command
def postgres(*, stop: bool = False, as_root: bool = False, session: Shared) -> None:
    """Start the embedded PostgreSQL, if it does not run, and print the URL of each of its databases.

    Args:
        stop: Shut it down instead.
        as_root: Let root start it, for which a user of the operating system is added.
    """
    from cgjobs_data.embedded import EmbeddedPostgres

    directory = session.settings(Settings).directory / "postgres"
    with _explained():
        server = EmbeddedPostgres(directory, keep_running=True, as_root=as_root)
        if stop:
            server.stop()
            talk("stopped")
        else:
            for name in server.databases():
                show(server.url(name))


def _rows(session: Session) -> Iterator[Row]:
    registry, seen = session.worker_registry, set()
    for plugin in registry.plugins:
        if plugin.state == "quarantined":
            yield Row(plugin.name, "missing", f"the plugin is broken: {plugin.reason}")
    for name, findings in registry.checks:
        try:
            for finding in findings():
                if finding.check in registry.subtypes or finding.check.startswith("data."):
                    seen.add(finding.check)
                    yield _row(finding)
        except Exception as error:
            what = f"its cgjobs_checks raised {type(error).__name__}: {error}"
            yield Row(name, "missing", what, "that is a mistake in the plugin: tell its author")
    for subtype in sorted(registry.subtypes.keys() - seen):
        yield Row(subtype, "unchecked", "its plugin says nothing about it")


def _row(finding: Finding) -> Row:
    return Row(finding.check, _STATES[finding.level], finding.message, finding.advice)


def _seed_file(settings: Settings, users: int, messages: int, number: int, *, yes: bool) -> None:
    from cgjobs_data.seed import seed as write

    path = settings.demo_file
    if path.exists():
        confirm(f"'{path}' is there already and would be replaced.", yes=yes)
    began = time.monotonic()
    made = write(path, users=users, messages=messages, rng_seed=number)
    show_table(
        ("table", "rows"),
        [
            (name, getattr(made, name))
            for name in ("users", "channels", "messages", "reactions", "files", "audit")
        ],
    )
    talk(f"'{path}', {made.bytes / 1e6:.1f} MB, in {time.monotonic() - began:.1f} s")
    if settings.url:
        talk("[plugins.data] url is set: the jobs use that database and not this file")


def _seed_postgres(
    settings: Settings,
    version: Literal["head", "db-f-001"],
    users: int,
    messages: int,
    number: int,
    *,
    as_root: bool,
    yes: bool,
) -> None:
    from cgjobs_data.embedded import EmbeddedPostgres

    configured = urlsplit(settings.url).scheme.partition("+")[0] in ("postgresql", "postgres")
    if configured:
        url = settings.url.replace("+psycopg", "", 1)
        confirm("The configured database gets ChatGenius' tables and made-up rows.", yes=yes)
    else:
        server = EmbeddedPostgres(settings.directory / "postgres", keep_running=True, as_root=as_root)
        name = f"chatgenius-{version}"
        if not server.make(name):
            raise Discard(f"database {name!r} of the embedded PostgreSQL is there already; drop it first")
        url = server.url(name)
    began = time.monotonic()
    try:
        import psycopg

        from cgjobs_data.seed_postgres import seed_postgres
    except ModuleNotFoundError:
        raise Discard("psycopg is missing; pip install 'chatgenius-jobs-data[postgres]'") from None
    try:
        made = seed_postgres(
            url,
            version=version,
            users=users,
            messages=messages,
            rng_seed=number,
            progress=lambda done: talk(f"{done:,} messages") if done % 100_000 == 0 else None,
        )
    except psycopg.errors.DuplicateTable as error:
        raise Discard(f"the database is not empty: {error.diag.message_primary}") from error
    except psycopg.Error as error:
        raise Discard(str(error).strip()) from error
    show_table(("table", "rows"), made.tables.items())
    talk(f"in {time.monotonic() - began:.1f} s")
    if not configured:
        preset = "chatgenius-head" if version == "head" else "chatgenius-db-f-001"
        talk("it goes on running until `cgjobs data postgres --stop`; to use it:")
        talk(f"[plugins.data] url = {url!r}, preset = {preset!r}")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What a handler would raise, as what a command raises."""
    try:
        yield
    except (Discard, Retry) as error:
        raise CgjobsError(error.reason) from error

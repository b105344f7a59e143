"""What `cgjobs doctor` and `cgjobs data check` say about the database itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select, text

from cgjobs import Discard, Finding, Retry
from cgjobs_data import companion
from cgjobs_data.database import Database
from cgjobs_data.layout import COLUMNS
from cgjobs_data.reflection import MissingTable
from cgjobs_data.settings import Settings
from cgjobs_data.store import open_store

_PATIENCE = timedelta(seconds=2)
_INIT = "run `cgjobs data init`"


def check(settings: Settings) -> Iterator[Finding]:
    """Connection, schema, tables of the preset, companion tables, stores. Changes nothing."""
    try:
        with Database(settings, patience=_PATIENCE) as database:
            yield _connection(database)
            yield from _tables(database)
            yield _companions(database)
    except (Discard, Retry) as error:
        # Nobody has to have a database: plugins of one's own may do without.
        yield Finding("data.connection", "bad" if settings.url else "warn", error.reason)
    yield from _stores(settings)


def _connection(database: Database) -> Finding:
    asked = {
        "postgresql": "SELECT current_setting('server_version') || ' as ' || current_user",
        "mysql": "SELECT concat(version(), ' as ', current_user())",
        "sqlite": "SELECT sqlite_version()",
    }
    with database.reading("data-check", timeout=_PATIENCE) as connection:
        told = connection.scalar(text(asked[database.dialect]))
        standby = database.dialect == "postgresql" and connection.scalar(select(func.pg_is_in_recovery()))
    what = f"{database.place}: {'MariaDB' if database.is_mariadb else database.dialect} {told}"
    what += f", preset {database.settings.schema_version}"
    if standby:
        return Finding("data.connection", "warn", f"{what}, a standby", "reports work here, cleanups do not")
    if not database.settings.url:
        return Finding("data.connection", "ok", f"{what}; no url is set: this is the demo's")
    return Finding("data.connection", "ok", what)


def _tables(database: Database) -> Iterator[Finding]:
    settings = database.settings
    for name in COLUMNS:
        names, _ = settings.names(name)
        if names is None or (name == "audit" and name not in settings.tables):
            continue
        where = f"data.{name}"
        try:
            entity = database.entity(name)
            readable = database.may(entity.table, "SELECT")
        except MissingTable as error:
            yield Finding(where, "bad" if name in settings.tables else "warn", error.reason)
        except (Discard, Retry) as error:
            yield Finding(where, "bad", error.reason)
        else:
            absent = [column for column in COLUMNS[name] if column not in entity]
            what = ", without ".join(filter(None, (entity.table.fullname, ", ".join(absent))))
            if readable:
                yield Finding(where, "ok", what)
            else:
                advice = f"GRANT SELECT ON {entity.table.fullname} TO the account of [plugins.data] url"
                yield Finding(where, "bad", f"{what}: no right to read it", advice)


def _companions(database: Database) -> Finding:
    missing, faults = [], []
    for name in companion.NAMES:
        try:
            database.companion(name)
        except MissingTable:
            missing.append(name)
        except Discard as error:
            faults.append(error.reason)
    if faults:
        return Finding("data.companion", "bad", "; ".join(faults))
    if missing:
        return Finding("data.companion", "warn", f"missing: {', '.join(missing)}", _INIT)
    return Finding("data.companion", "ok", f"all {len(companion.NAMES)} tables are there")


def _stores(settings: Settings) -> Iterator[Finding]:
    for name in settings.stores:
        try:
            store = open_store(settings, name)
        except Discard as error:
            yield Finding(f"data.stores.{name}", "bad", error.reason)
        else:
            where = store.settings.directory or f"s3://{store.settings.bucket}/{store.settings.prefix}"
            yield Finding(f"data.stores.{name}", "ok", str(where))

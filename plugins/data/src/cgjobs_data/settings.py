"""The table ``[plugins.data]``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import attrs
from platformdirs import user_state_path

from cgjobs_data.layout import COLUMNS, PRESETS, TIME_FORMATS, Preset, TableNames

Operator = Literal["=", "<>", "<", "<=", ">", ">=", "in", "null", "not_null"]
_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,20}")
_OTHER_KEYS = ("table", "time", "keep_where")


def _moment(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if value and datetime.fromisoformat(value).tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; write '2027-01-31T00:00:00Z'")


@attrs.frozen(kw_only=True)
class Hold:
    """Messages that no cleanup may touch.

    Args:
        scope: What is held: all messages of a ``user`` or a ``channel``, or one ``message``.
        target: The id of it.
        reason: Why, for people.
        until: When it ends, ISO 8601 with a zone; empty for never.
    """

    scope: Literal["user", "channel", "message"]
    target: str = attrs.field(validator=attrs.validators.min_len(1))
    reason: str = ""
    until: str = attrs.field(default="", validator=_moment)

    def active(self, at: datetime) -> bool:
        """Whether it holds at this moment (aware)."""
        return not self.until or at < datetime.fromisoformat(self.until)


@attrs.frozen(kw_only=True)
class Condition:
    """A condition on one row, for ``keep_where``: column, operator, value. A NULL fulfils only ``null``.

    Args:
        column: The column's name in the database.
        json_field: The field in it, when it holds a JSON object; compared as text. Empty: the column.
        op: How it is compared.
        value: With what; a list for ``in``, nothing for ``null`` and ``not_null``.
    """

    column: str
    json_field: str = ""
    op: Operator = "="
    value: bool | int | float | str | list[int] | list[str] | None = None

    def __attrs_post_init__(self) -> None:
        if (self.op in ("null", "not_null")) != (self.value is None):
            raise ValueError(f"op {self.op!r} {'needs a' if self.value is None else 'takes no'} value")
        if (self.op == "in") != isinstance(self.value, list):
            raise ValueError("op 'in' needs a list of values, and no other operator takes one")


@attrs.frozen(kw_only=True)
class StoreSettings:
    """A place for files: a directory, or a bucket of an S3-compatible store.

    Args:
        directory: The directory; made when missing.
        bucket: The bucket; it must exist.
        prefix: Put before each path in the bucket, such as ``reports/``.
        endpoint_url: Where the store answers, when it is not Amazon's.
        region: Its region.
        access_key_id, secret_access_key: Empty for what boto3 finds itself: environment, profile, role.
        url: Where people fetch the files, such as ``https://files.example.com/reports``; results then name
            ``<url>/<path>``. Empty: ``file://`` or ``s3://``.
    """

    directory: Path | None = None
    bucket: str = ""
    prefix: str = ""
    endpoint_url: str = ""
    region: str = ""
    access_key_id: str = attrs.field(default="", repr=False)
    secret_access_key: str = attrs.field(default="", repr=False)
    url: str = ""

    def __attrs_post_init__(self) -> None:
        if (self.directory is None) == (not self.bucket):
            raise ValueError("a store has either a directory or a bucket")
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("access_key_id and secret_access_key belong together")


@attrs.frozen(kw_only=True)
class CompanionSettings:
    """The tables that ChatGenius lacks.

    Args:
        prefix: Their names begin with it; ``a-z 0-9 _``, at most 21 characters.
    """

    prefix: str = attrs.field(default="cgj_")

    @prefix.validator
    def _plain(self, attribute: attrs.Attribute[str], value: str) -> None:
        if not _PREFIX.fullmatch(value):
            raise ValueError(f"{value!r} is no prefix: a letter, then at most 20 of a-z 0-9 _")


def _url(instance: Settings, attribute: attrs.Attribute[str], value: str) -> None:
    """Refuses what is no URL of a database; repeats no part of it."""
    if not value:
        return
    scheme, colon, rest = value.partition("://")
    kind = scheme.partition("+")[0]
    if not colon or kind not in ("postgresql", "postgres", "mysql", "mariadb", "sqlite"):
        raise ValueError("begins with none of postgresql://, mysql://, mariadb:// and sqlite:///")
    if kind == "sqlite" and not rest.removeprefix("/"):
        raise ValueError("names no file; write sqlite:////absolute/path.db")
    if kind != "sqlite" and re.search(r"[/?#]", rest.partition("?")[0].rpartition("@")[0]):
        raise ValueError("has a special character before the @; percent-encode it: / is %2F")
    if re.search(r"[?&]pass(word|wd)?=", rest):
        raise ValueError("has a password among its parameters; write it as user:password@host")


def _tables(
    instance: Settings, attribute: attrs.Attribute[Any], value: Mapping[str, Mapping[str, Any]]
) -> None:
    faults = []
    for name, keys in value.items():
        if name not in COLUMNS:
            faults.append(_unknown("table", name, COLUMNS))
            continue
        for key, text in keys.items():
            if key not in (*_OTHER_KEYS, *COLUMNS[name]):
                faults.append(f"{name}: {_unknown('key', key, (*_OTHER_KEYS, *COLUMNS[name]))}")
            elif (key == "keep_where") != isinstance(text, list):
                faults.append(f"{name}.{key}: {text!r} is no {'list' if key == 'keep_where' else 'text'}")
            elif key == "time" and text not in TIME_FORMATS:
                faults.append(f"{name}.time: {text!r} is none of {', '.join(TIME_FORMATS)}")
            elif key == "keep_where":
                faults += [
                    f"{name}.keep_where: no condition is named {condition!r}; declare it in "
                    f"[plugins.data.conditions.{condition}]"
                    for condition in text
                    if condition not in instance.conditions
                ]
        if "table" not in keys and name not in PRESETS[instance.schema_version] and name != "audit":
            faults.append(f"{name}: preset {instance.schema_version!r} has no such table; write table = ...")
    if faults:
        raise ValueError("; ".join(faults))


def _unknown(noun: str, name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"unknown {noun} {name!r}; " + (
        f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    )


@attrs.frozen(kw_only=True, eq=False)  # by identity: that is how `ctx.use` tells one database from another
class Settings:
    """Where ChatGenius' data is.

    Args:
        url: The database: ``postgresql://user:password@host/name``, ``mysql://...``, ``mariadb://...`` or
            ``sqlite:////absolute/path.db``. Empty: the demo's, made by `cgjobs data seed`.
        preset: The version of ChatGenius' schema. None: ``demo`` without a url, else ``chatgenius-head``.
        schema: The schema in which the tables are; empty for the connection's own.
        conditions: Conditions by name, for ``keep_where``.
        tables: Names that differ from the preset's, by logical table and column; ``""`` for a column that is
            not to be used. Besides columns: ``table``, ``time`` (``timestamptz``, ``utc``, ``epoch_s``,
            ``epoch_ms`` or ``iso8601``) and ``keep_where``, names of conditions for rows that stay.
        companion: The tables that ChatGenius lacks.
        holds: What no cleanup may touch, beside the companion table of holds.
        stores: Places for files, by name.
        pool: Connections that one worker may have; 1 to 20. Who wants one more waits for up to 30 s.
        directory: Where the demo's database and the local stores are.
    """

    url: str = attrs.field(default="", repr=False, validator=_url)
    preset: Preset | None = None
    schema: str = ""
    conditions: dict[str, Condition] = attrs.field(factory=dict)
    tables: dict[str, dict[str, str | list[str]]] = attrs.field(factory=dict, validator=_tables)
    companion: CompanionSettings = attrs.field(factory=CompanionSettings)
    holds: tuple[Hold, ...] = ()
    stores: dict[str, StoreSettings] = attrs.field(factory=dict)
    pool: int = attrs.field(default=5, validator=[attrs.validators.ge(1), attrs.validators.le(20)])
    directory: Path = attrs.field(factory=lambda: user_state_path("cgjobs"))

    @property
    def schema_version(self) -> Preset:
        """The preset that counts."""
        return self.preset or ("chatgenius-head" if self.url else "demo")

    @property
    def demo_file(self) -> Path:
        """The demo's database."""
        return self.directory / "demo.sqlite3"

    def names(self, entity: str) -> tuple[TableNames | None, frozenset[str]]:
        """What a logical table is called, and which of its columns were named in the settings.

        Returns:
            None in the first place when the preset has no such table and none is configured.
        """
        preset = PRESETS[self.schema_version].get(entity)
        if preset is None and entity == "audit":
            preset = TableNames(f"{self.companion.prefix}audit_log", {n: n for n in COLUMNS["audit"]})
        written = self.tables.get(entity, {})
        if preset is None and "table" not in written:
            return None, frozenset()
        base = preset or TableNames("", {})
        columns = {**base.columns, **{k: str(v) for k, v in written.items() if k not in _OTHER_KEYS}}
        names = TableNames(
            str(written.get("table", base.table)),
            {column: name for column, name in columns.items() if name},
            written.get("time", base.time),  # type: ignore[arg-type]  # validated
        )
        return names, frozenset(column for column in written if column in names.columns)

    def kept(self, entity: str) -> dict[str, Condition]:
        """The conditions, by name, for rows of a logical table that stay."""
        names = self.tables.get(entity, {}).get("keep_where", [])
        return {name: self.conditions[name] for name in names}

    def store(self, name: str) -> StoreSettings | None:
        """The store of this name; without any configured there are ``reports`` and ``uploads``."""
        if not self.stores and name in ("reports", "uploads"):
            return StoreSettings(directory=self.directory / name)
        return self.stores.get(name)


def held_at(settings: Settings, at: datetime | None = None) -> tuple[Hold, ...]:
    """The holds of the settings that are in force at a moment; None for now."""
    return tuple(hold for hold in settings.holds if hold.active(at or datetime.now(UTC)))

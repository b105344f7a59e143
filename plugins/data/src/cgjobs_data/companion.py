"""The tables that ChatGenius lacks and our jobs need; created by `cgjobs data init` and by nothing else."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Index,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    true,
)
from sqlalchemy.dialects import mysql

from cgjobs_data.layout import TimeFormat

NAMES: Final = (
    "contacts",
    "push_subscriptions",
    "legal_holds",
    "pins",
    "audit_log",
    "notification_preferences",
    "opt_outs",
    "deliveries",
)
"""Their logical names; in a database each has the prefix of the settings before it."""
_ID = String(64)


def time_format(dialect: str) -> TimeFormat:
    """How these tables hold times in a database of this kind."""
    formats: dict[str, TimeFormat] = {"postgresql": "timestamptz", "sqlite": "iso8601"}
    return formats.get(dialect, "utc")


def metadata(prefix: str, schema: str | None = None) -> MetaData:
    """All companion tables.

    Args:
        prefix: Their names begin with it.
        schema: Where they are; None for the connection's own schema.
    """
    found = MetaData(schema=schema)

    def table(name: str, *items: Any) -> Table:
        return Table(f"{prefix}{name}", found, *items, mysql_charset="utf8mb4", mysql_engine="InnoDB")

    table(
        "contacts",
        _key("user_id"),
        Column("phone", String(32)),
        _time("phone_verified_at"),
        _time("email_bounced_at"),
        Column("email_bounce_reason", String(500)),
        Column("timezone", String(64)),
        Column("locale", String(35)),
    )
    table(
        "push_subscriptions",
        _key("id"),
        Column("user_id", _ID, nullable=False),
        Column("kind", String(16), nullable=False),
        Column("address", Text, nullable=False),
        Column("p256dh", String(200)),
        Column("auth", String(100)),
        _time("created_at", nullable=False),
        _time("disabled_at"),
        Column("disabled_reason", String(500)),
        Index(f"{prefix}push_subscriptions_user_id", "user_id"),
    )
    table(
        "legal_holds",
        _key("id"),
        Column("scope", String(16), nullable=False),
        Column("target_id", _ID, nullable=False),
        Column("reason", String(500), nullable=False, server_default=""),
        _time("until"),
        Index(f"{prefix}legal_holds_target", "scope", "target_id"),
    )
    table("pins", _key("message_id"))
    table(
        "audit_log",
        _key("id"),
        _time("at", nullable=False),
        Column("actor", String(200), nullable=False),
        Column("action", String(200), nullable=False),
        Column("target", String(500), nullable=False, server_default=""),
        Column("detail", Text),
        Column("hash", String(64), nullable=False, server_default=""),
        Index(f"{prefix}audit_log_at", "at"),
    )
    table(
        "notification_preferences",
        _key("user_id"),
        _key("channel", 16),
        _key("category", 64),
        Column("enabled", Boolean, nullable=False, server_default=true()),
        Column("quiet_from", String(5)),
        Column("quiet_until", String(5)),
    )
    table(
        "opt_outs",
        _key("user_id"),
        _key("channel", 16),
        _key("category", 64),
        _time("at", nullable=False),
        Column("source", String(200), nullable=False, server_default=""),
    )
    table(
        "deliveries",
        Column("key", String(200), nullable=False),
        Column("channel", String(16), nullable=False),
        Column("destination", String(200), nullable=False),
        Column("state", String(16), nullable=False),
        Column("provider_id", String(200)),
        Column("detail", Text),
        _time("at", nullable=False),
        Column("job_id", _ID, nullable=False),
        UniqueConstraint("key", "channel", "destination", name=f"{prefix}deliveries_once"),
        Index(f"{prefix}deliveries_at", "at"),
    )
    return found


def _key(name: str, length: int = 64) -> Column[str]:
    return Column(name, String(length), primary_key=True)


def _time(name: str, *, nullable: bool = True) -> Column[Any]:
    kind = (
        DateTime(timezone=True)
        .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
        .with_variant(String(32), "sqlite")
    )
    return Column(name, kind, nullable=nullable)

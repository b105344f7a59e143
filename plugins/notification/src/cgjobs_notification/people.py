"""Users, their wishes and their devices in ChatGenius' database, looked up when a message is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, time
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from cgjobs import Discard
from cgjobs_data import Database, Entity, failure
from cgjobs_notification.delivery import digest_of
from cgjobs_notification.payloads import Category, Kind
from cgjobs_notification.recipient import Channel, Device, Person, Wishes

ALL = ("*", "")
"""What stands for all categories in a row of preferences or opt-outs."""


class People:
    """A `Directory` over one database. What its tables lack is taken to be as if nobody had said anything.

    Args:
        database: Where users are.
        job_id: Who asks, as the database shows it.
    """

    def __init__(self, database: Database, job_id: str) -> None:
        self._database, self._job_id = database, job_id

    def person(self, user_id: str) -> Person:
        """One user, with what the companion table of contacts adds."""
        users = self._database.entity("users", needs=("id",))
        contacts = self._database.find_companion("contacts")
        with self._reading() as connection:
            user = _row(connection, users, "id", user_id)
            contact = _row(connection, contacts, "user_id", user_id) if contacts else None
        if user is None:
            raise Discard(f"no user {user_id!r} in {self._database.place}")
        more: Mapping[str, Any] = contact or {}
        return Person(
            id=user_id,
            email=_text(user.get("email")),
            email_bounced=_bounce(more, _text(user.get("email"))),
            phone=_text(more.get("phone")) or _text(user.get("phone")),
            phone_verified=bool(more.get("phone_verified_at")) if more.get("phone") else None,
            locale=_text(more.get("locale")) or _text(user.get("locale")),
            timezone=_text(more.get("timezone")) or _text(user.get("timezone")),
            deleted=user.get("deleted_at") is not None,
        )

    def wishes(self, user_id: str, channel: Channel, category: Category) -> Wishes:
        """What a user wants: the row of the category, else that of all categories."""
        preferences = self._database.find_companion("notification_preferences")
        opt_outs = self._database.find_companion("opt_outs")
        with self._reading() as connection:
            rows = _about(connection, preferences, user_id, channel, category) if preferences else []
            out = _about(connection, opt_outs, user_id, channel, category) if opt_outs else []
        return Wishes(
            enabled=all(row["enabled"] for row in rows),
            opted_out=bool(out),
            quiet=next((span for row in rows if (span := _quiet(row)) is not None), None),
        )

    def devices(self, user_id: str, kinds: Sequence[Kind]) -> Sequence[Device]:
        """The user's devices, oldest first."""
        subscriptions = self._database.companion("push_subscriptions")
        query = (
            select(*(subscriptions[name].label(name) for name in ("id", "kind", "address", "p256dh", "auth")))
            .where(subscriptions["user_id"] == user_id, subscriptions["disabled_at"].is_(None))
            .order_by(subscriptions["created_at"], subscriptions["id"])
        )
        if kinds:
            query = query.where(subscriptions["kind"].in_(kinds))
        with self._reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [
            Device(
                id=row["id"],
                kind=row["kind"],
                address=row["address"],
                p256dh=row["p256dh"] or "",
                auth=row["auth"] or "",
            )
            for row in rows
        ]

    def disable(self, device: Device, reason: str, now: datetime) -> None:
        """Mark the subscription; an earlier mark stays."""
        subscriptions = self._database.companion("push_subscriptions")
        change = (
            update(subscriptions.table)
            .where(subscriptions["id"] == device.id, subscriptions["disabled_at"].is_(None))
            .values(
                {
                    subscriptions["disabled_at"]: subscriptions.written(now),
                    subscriptions["disabled_reason"]: reason[:500],
                }
            )
        )
        with self._writing() as connection:
            connection.execute(change)

    def bounced(self, person: Person, reason: str, now: datetime) -> None:
        """Mark the address, when there is a table for it; a digest says which one it was."""
        contacts = self._database.find_companion("contacts")
        if contacts is None:
            return
        values = {
            contacts["email_bounced_at"]: contacts.written(now),
            contacts["email_bounce_reason"]: f"{_of(person.email)} {reason}"[:500],
        }
        with self._writing() as connection:
            of_user = contacts["user_id"] == person.id
            if not connection.execute(update(contacts.table).where(of_user).values(values)).rowcount:
                connection.execute(contacts.table.insert().values({contacts["user_id"]: person.id, **values}))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._database.reading(self._job_id) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise failure(error) from error

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._database.writing(self._job_id) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise failure(error) from error


def _row(connection: Connection, entity: Entity, key: str, value: str) -> Mapping[str, Any] | None:
    columns = [entity[name].label(name) for name in entity]
    found = connection.execute(select(*columns).where(entity[key] == value)).first()
    return None if found is None else found._asdict()


def _about(
    connection: Connection, entity: Entity, user_id: str, channel: Channel, category: Category
) -> list[Mapping[str, Any]]:
    """The rows of this category and of all categories, this one first."""
    columns = [entity[name].label(name) for name in entity]
    query = (
        select(*columns)
        .where(entity["user_id"] == user_id, entity["channel"].in_((channel, *ALL)))
        .where(entity["category"].in_((category, *ALL)))
        .order_by(func.length(entity["category"]).desc())
    )
    return [row._asdict() for row in connection.execute(query)]


def _quiet(row: Mapping[str, Any]) -> tuple[time, time] | None:
    try:
        begin, end = str(row["quiet_from"] or ""), str(row["quiet_until"] or "")
        return time.fromisoformat(begin), time.fromisoformat(end)
    except ValueError:
        return None


def _bounce(contact: Mapping[str, Any], address: str | None) -> str:
    """Why the present address bounced: the mark of an earlier one says nothing of it."""
    if not contact.get("email_bounced_at"):
        return ""
    reason = str(contact["email_bounce_reason"] or "it bounced")
    return "" if reason.startswith("#") and not reason.startswith(_of(address)) else reason


def _of(address: str | None) -> str:
    return f"#{digest_of(address or '')[:12]}"


def _text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None

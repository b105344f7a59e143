"""Which messages may go, as SQL: old enough, chosen, and kept by nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    String,
    and_,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.sql.util import ClauseAdapter

from cgjobs_cleanup.payloads import Messages
from cgjobs_data import Database, Entity, held_at

Rule = ColumnElement[bool]


@attrs.frozen(eq=False)
class Rules:
    """Conditions on rows of the table of messages; none of them is ever NULL.

    Args:
        old: Beyond the cutoff, and of the kind that the mode deletes.
        chosen: In the channels that the payload names.
        kept: Why an old one stays, by reason, the first that holds counting: ``held``, ``pinned``, ``kept``.
        present: Whether a reply counts: in mode ``soft`` one that is marked as deleted does not.
        whole: Further: whether its whole thread may go.
    """

    messages: Entity
    old: Rule
    chosen: Rule
    kept: Mapping[str, Rule]
    present: Rule
    whole: Rule

    @property
    def eligible(self) -> Rule:
        """Whether it may go once it has no reply."""
        return and_(self._without_threads, self.whole)

    @property
    def _without_threads(self) -> Rule:
        return and_(self.old, self.chosen, *(not_(rule) for rule in self.kept.values()))

    @property
    def leaf(self) -> Rule:
        """Whether no other message is a reply to it."""
        thread = self.messages.get("thread")
        if thread is None:
            return true()
        reply = self.messages.table.alias("reply")
        return not_(
            exists(
                select(literal(1))
                .select_from(reply)
                .where(reply.c[thread.name] == self.messages["id"], self._of(self.present, reply))
            )
        )

    def going(self) -> Select[Any]:
        """The ids of all that leaf-first passes delete: no reply to them stays, at whatever depth."""
        ident, thread = self.messages["id"], self.messages.get("thread")
        found = select(ident.label("id")).where(self.eligible)
        if thread is None:
            return found
        stays = select(thread.label("id")).where(thread.is_not(None), self.present, not_(self.eligible))
        blocked = stays.cte("blocked", recursive=True)
        above = self.messages.table.alias("above")
        higher = select(above.c[thread.name]).join_from(blocked, above, above.c[ident.name] == blocked.c.id)
        blocked = blocked.union(higher.where(above.c[thread.name].is_not(None)))
        return found.where(not_(exists(select(literal(1)).where(blocked.c.id == ident).select_from(blocked))))

    def with_whole_threads(self) -> Rules:
        """The same, for threads that go whole or not at all.

        A thread is a message and its replies, as ChatGenius has it; replies to replies make further threads.
        """
        ident, thread = self.messages["id"], self.messages.get("thread")
        if thread is None:
            return self
        reply, root, sibling = (self.messages.table.alias(name) for name in ("reply", "root", "sibling"))
        conditions = []
        for other, related in (
            (reply, reply.c[thread.name] == ident),
            (root, root.c[ident.name] == thread),
            (sibling, sibling.c[thread.name] == thread),
        ):
            stays = and_(self._of(self.present, other), not_(self._of(self._without_threads, other)))
            conditions.append(not_(exists(select(literal(1)).select_from(other).where(related, stays))))
        return attrs.evolve(self, whole=and_(*conditions))

    def _of(self, rule: Rule, alias: FromClause) -> Rule:
        """The rule about a row of an alias."""
        adapted: Rule = ClauseAdapter(alias).traverse(rule)
        return adapted


def rules(db: Database, messages: Entity, payload: Messages, *, cutoff: datetime, now: datetime) -> Rules:
    """The rules of a job.

    Args:
        db: For the companion tables; those that are missing keep nothing.
        messages: The table.
        payload: What the job asks for.
        cutoff: Messages written before this are old.
        now: For which holds are in force.
    """
    created, deleted = messages["created_at"], messages.get("deleted_at")
    # "is not null" besides each comparison: false, not NULL, and still a range of an index.
    old = and_(created < messages.written(cutoff), created.is_not(None))
    present: Rule = true()
    if payload.mode == "soft":
        assert deleted is not None
        present = deleted.is_(None)
        old = and_(old, present)
    elif payload.mode == "purge_soft_deleted":
        assert deleted is not None
        old = and_(old, deleted < messages.written(cutoff), deleted.is_not(None))
    scopes = {"user": messages.get("author"), "channel": messages.get("channel"), "message": messages["id"]}
    kept = {"held": held(db, scopes, now)}
    if payload.keep_pinned:
        kept["pinned"] = _pinned(db, messages)
    kept["kept"] = messages.kept
    found = Rules(
        messages=messages,
        old=old,
        chosen=_chosen(messages, payload),
        kept=kept,
        present=present,
        whole=true(),
    )
    return found.with_whole_threads() if payload.keep_threads == "whole" else found


def _chosen(messages: Entity, payload: Messages) -> Rule:
    conditions: list[Rule] = []
    if payload.channels:
        conditions.append(messages["channel"].in_(payload.channels))
    if payload.exclude_channels:
        conditions.append(messages["channel"].not_in(payload.exclude_channels))
    return and_(messages["channel"].is_not(None), *conditions) if conditions else true()


def held(db: Database, columns: Mapping[str, ColumnElement[Any] | None], now: datetime) -> Rule:
    """Whether a row is under a legal hold of the settings or of the table; never NULL.

    Args:
        db: The database.
        columns: What of the row is compared with a hold's target, by the hold's scope.
        now: For which holds are in force.
    """
    conditions: list[Rule] = []
    for scope, column in columns.items():
        targets = [hold.target for hold in held_at(db.settings, now) if hold.scope == scope]
        if column is not None and targets:
            conditions.append(func.coalesce(_text(column).in_(targets), false()))
    holds = db.find_companion("legal_holds")
    if holds is not None:
        for scope, column in columns.items():
            if column is not None:
                hold = holds.table.alias(f"{scope}_hold")
                in_force = or_(hold.c.until.is_(None), hold.c.until > holds.written(now))
                # One condition a scope, each an equality, or the database can use neither index nor hash.
                conditions.append(
                    exists(
                        select(literal(1))
                        .select_from(hold)
                        .where(hold.c.scope == scope, hold.c.target_id == _text(column), in_force)
                    )
                )
    return or_(false(), *conditions)


def _pinned(db: Database, messages: Entity) -> Rule:
    conditions: list[Rule] = []
    column = messages.get("pinned")
    if column is not None:
        match column.type:
            case Boolean():
                conditions.append(func.coalesce(column, false()))
            case DateTime() | String():
                conditions.append(column.is_not(None))
            case _:
                conditions.append(func.coalesce(column, 0) != 0)
    pins = db.find_companion("pins")
    if pins is not None:
        pin = pins.table.alias("pin")
        conditions.append(
            exists(select(literal(1)).select_from(pin).where(pin.c.message_id == _text(messages["id"])))
        )
    return or_(false(), *conditions)


def _text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return column if isinstance(column.type, String) else cast(column, String(64))

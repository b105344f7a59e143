"""One run over the messages: count, refuse or go on, then pass after pass, batch after batch."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, exists, func, literal, not_, select, text
from sqlalchemy.exc import SQLAlchemyError

from cgjobs import Context, Discard, Retry, Snooze
from cgjobs_cleanup.archive import StoreArchive
from cgjobs_cleanup.eligibility import Rules
from cgjobs_cleanup.foreign_keys import References
from cgjobs_cleanup.payloads import Messages
from cgjobs_cleanup.purge_batch import Batch, Moved, Outcome
from cgjobs_cleanup.purge_state import State
from cgjobs_cleanup.replica import Replica
from cgjobs_cleanup.results import MessagesResult, MessagesSkipped
from cgjobs_data import Database, failure, failures, sqlstate

_SLOW, _QUICK = 0.05, 0.025
"""Seconds: a batch that takes longer makes the next one smaller, a quicker one larger."""
_FIRST, _SMALLEST = 500, 25
_PATIENCE = 8
_SHRINK = ("55P03", "57014", "40001", "40P01")
"""What says that a batch was in somebody's way: lock, statement stopped, serialization, deadlock."""
_MUCH_DEAD = 0.2
_COUNTING = timedelta(hours=1)


class Purge:
    """Deletes the messages that a payload selects. Use it once.

    Args:
        db: Where.
        rules: Which messages may go.
        references: What the preflight found.
        payload: What is asked for.
        ctx: The job that runs.
        archive: Where messages are written before they go.
        replica: Which replicas must keep up.
        clock: Seconds since any start, never going back.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        db: Database,
        rules: Rules,
        references: References,
        payload: Messages,
        ctx: Context,
        *,
        state: State,
        archive: StoreArchive | None,
        replica: Replica,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._db, self._rules, self._payload, self._ctx = db, rules, payload, ctx
        self._state, self._dependents, self._advice = state, references.dependents, list(references.advice)
        self._archive, self._replica, self._clock, self._sleep = archive, replica, clock, sleep
        self._batch = Batch(db, rules, references.dependents, payload.mode, archive)
        self._size = min(_FIRST, payload.batch_size)
        self._times: list[float] = []
        self._deadline = clock() + payload.max_duration.total_seconds()

    def run(self) -> MessagesResult:
        """Count, when no run of this job has, and delete.

        Raises:
            Discard: More than ``max_fraction`` of the messages are to be deleted, or the database refuses.
            Snooze: ``max_duration`` is over, or a replica does not keep up.
            Retry: The database fails in a way that passes.
        """
        state, payload = self._state, self._payload
        if not state.total:
            self._count()
        self._refuse_too_many()
        if payload.dry_run:
            self._foresee()
            return self._result(remaining=state.matched, wal=None)
        self._ctx.checkpoint(state.dump())
        before = self._wal()
        try:
            self._delete_all()
        finally:  # whatever ends it, this is the record of what is gone
            self._ctx.log.info(
                "messages_deleted",
                mode=payload.mode,
                cutoff=state.cutoff.isoformat(),
                matched=state.matched,
                deleted=state.deleted,
                cascaded=state.cascaded,
                batches=state.batches,
            )
        after = self._wal()
        wal = None if before is None or after is None else after - before
        return self._result(remaining=self._remaining(), wal=wal)

    def _count(self) -> None:
        """All in one snapshot: how many there are, how many go, and why others stay."""
        rules, state = self._rules, self._state
        reasons: list[Any] = []
        earlier: list[Any] = []
        for name, rule in rules.kept.items():
            counts = and_(rules.old, rules.chosen, rule, *(not_(other) for other in earlier))
            reasons.append(func.coalesce(func.sum(case((counts, 1), else_=0)), 0).label(name))
            earlier.append(rule)
        free = and_(rules.old, rules.chosen, *(not_(rule) for rule in earlier))
        reasons.append(func.coalesce(func.sum(case((free, 1), else_=0)), 0).label("free"))
        with failures(), self._reading() as connection:
            state.total = connection.execute(
                select(func.count()).select_from(rules.messages.table)
            ).scalar_one()
            found = dict(connection.execute(select(*reasons).where(rules.old)).mappings().one())
            going = rules.going().subquery()
            state.matched = connection.execute(select(func.count()).select_from(going)).scalar_one()
        state.skipped = {name: int(found[name]) for name in rules.kept}
        state.skipped["threads"] = int(found["free"]) - state.matched

    def _foresee(self) -> None:
        """What a real run would take with it, and a few of the ids."""
        state = self._state
        going = self._rules.going().subquery()
        with failures(), self._reading() as connection:
            if self._payload.mode != "soft":
                for dependent in self._dependents:
                    mine = dependent.table.c[dependent.column]
                    among = exists(select(literal(1)).select_from(going).where(going.c.id == mine))
                    counting = select(func.count()).select_from(dependent.table).where(among)
                    state.cascaded[dependent.name] = connection.execute(counting).scalar_one()
            state.samples = [str(row[0]) for row in connection.execute(select(going.c.id).limit(5))]
        state.deleted = min(state.matched, self._payload.max_items or state.matched)

    def _refuse_too_many(self) -> None:
        state, payload = self._state, self._payload
        if payload.confirm_fraction or state.matched <= payload.max_fraction * state.total:
            return
        raise Discard(
            f"would_delete_too_much: {state.matched} of {state.total} messages "
            f"({state.matched / state.total:.0%}) are to be deleted, more than max_fraction "
            f"{payload.max_fraction:.0%}; {state.deleted} were deleted. If that is right, set "
            "confirm_fraction; with dry_run as well it shows samples"
        )

    def _delete_all(self) -> None:
        state = self._state
        while not self._is_enough():
            outcome = self._delete_batch()
            if outcome.cursor is None:
                if not state.in_pass:
                    return
                state.passes += 1
                state.in_pass, state.refused, state.cursor = 0, 0, None
            else:
                self._add(outcome)
            self._ctx.checkpoint(state.dump())
            self._ctx.progress(state.deleted, max(state.matched, state.deleted), f"pass {state.passes}")
            self._wait()

    def _add(self, outcome: Outcome) -> None:
        state = self._state
        state.cursor = outcome.cursor
        state.batches += 1
        state.deleted += outcome.deleted
        state.in_pass += outcome.deleted
        state.refused += outcome.refused
        for table, count in outcome.cascaded.items():
            state.cascaded[table] = state.cascaded.get(table, 0) + count
        state.samples = [*state.samples, *outcome.samples][:5]
        if self._archive is not None:
            state.archived += self._archive.files
            self._archive.files = 0

    def _delete_batch(self) -> Outcome:
        """One transaction; smaller ones when it is in somebody's way."""
        moved = 0
        for left in reversed(range(_PATIENCE)):
            size = self._size
            if self._payload.max_items is not None:
                size = min(size, self._payload.max_items - self._state.deleted)
            began = self._clock()
            try:
                with self._db.writing(self._ctx.job.id) as connection:
                    outcome = self._batch.run(connection, size, self._state.cursor, accept=moved > 2)
                    worked = self._clock() - began  # a slow commit gets no quicker by fewer rows
            except Moved:
                moved += 1
                continue
            except SQLAlchemyError as error:
                if sqlstate(error) not in _SHRINK or not left:
                    raise failure(error) from error
                self._size = max(1, self._size // 2)
                self._ctx.progress(self._state.deleted, None, f"smaller batches: {sqlstate(error)}")
                self._sleep(max(0.1, self._payload.pause.total_seconds()))
                continue
            if outcome.cursor is not None:
                self._times.append(self._clock() - began)
                self._adapt(worked)
            return outcome
        raise Retry("rows change as fast as they are looked at; going on later")

    def _adapt(self, took: float) -> None:
        if took > _SLOW:
            self._size = max(min(_SMALLEST, self._size), int(self._size * max(0.5, _SLOW / took)))
        elif took < _QUICK:
            self._size = min(self._payload.batch_size, self._size + self._size // 4 + 1)

    def _is_enough(self) -> bool:
        limit = self._payload.max_items
        return limit is not None and self._state.deleted >= limit

    def _wait(self) -> None:
        """Let others in, and replicas catch up."""
        if self._clock() >= self._deadline:
            raise Snooze(
                timedelta(0),
                f"max_duration: {self._state.deleted} of {self._state.matched} messages deleted, going on",
            )
        self._sleep(self._payload.pause.total_seconds())
        self._replica.wait(
            lambda lag: self._ctx.progress(self._state.deleted, None, f"replica lags {lag:.0f} s")
        )

    def _remaining(self) -> int:
        with failures(), self._reading() as connection:
            going = self._rules.going().subquery()
            return int(connection.execute(select(func.count()).select_from(going)).scalar_one())

    def _reading(self) -> Any:
        done = self._state.deleted
        return self._db.reading(
            self._ctx.job.id, timeout=_COUNTING, watch=lambda: self._ctx.progress(done, None, "counting")
        )

    def _wal(self) -> int | None:
        if self._db.dialect != "postgresql":
            return None
        try:
            with self._db.reading(self._ctx.job.id) as connection:
                return _wal_position(connection)
        except SQLAlchemyError:
            return None

    def _result(self, *, remaining: int, wal: int | None) -> MessagesResult:
        state, payload = self._state, self._payload
        stopped = self._is_enough() and remaining > 0
        locked = 0 if stopped or payload.dry_run else min(remaining, max(0, state.matched - state.deleted))
        if not payload.dry_run and payload.mode != "soft" and state.deleted > _MUCH_DEAD * state.total:
            self._advice.append(
                f"{state.deleted / state.total:.0%} of the table's rows are dead: enqueue maintenance.vacuum"
            )
        return MessagesResult(
            cutoff=state.cutoff,
            dry_run=payload.dry_run,
            mode=payload.mode,
            total=state.total,
            matched=state.matched,
            deleted=state.deleted,
            cascaded=dict(state.cascaded),
            skipped=MessagesSkipped(**state.skipped, locked=locked, refused=state.refused),
            remaining=remaining,
            passes=state.passes,
            batches=state.batches,
            batch_ms_median=_milliseconds(statistics.median(self._times)) if self._times else None,
            batch_ms_max=_milliseconds(max(self._times)) if self._times else None,
            wal_bytes=wal,
            archived=state.archived,
            samples=tuple(state.samples),
            stopped_by="max_items" if stopped else None,
            advice=tuple(self._advice),
        )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1_000, 1)


def _wal_position(connection: Connection) -> int:
    position = text("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")
    return int(connection.execute(position).scalar_one())


def begin(ctx: Context, *, cutoff: datetime) -> State:
    """The state that an earlier run left, or that of a new job."""
    saved = ctx.resume()
    return State.load(saved) if saved else State(cutoff)

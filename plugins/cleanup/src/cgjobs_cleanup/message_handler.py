"""The handler of ``cleanup.messages``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

from sqlalchemy import func, select

from cgjobs import Context, Discard
from cgjobs_cleanup import purge
from cgjobs_cleanup.archive import StoreArchive
from cgjobs_cleanup.eligibility import rules
from cgjobs_cleanup.foreign_keys import References, references
from cgjobs_cleanup.payloads import Messages
from cgjobs_cleanup.replica import Replica
from cgjobs_cleanup.results import MessagesResult
from cgjobs_cleanup.settings import MessagesPolicy, Settings
from cgjobs_data import Database, Entity, failures, open_store
from cgjobs_data import Settings as DataSettings

_LARGE = 100_000
"""From how many messages on a missing index on ``created_at`` is refused."""


def delete_messages(payload: Messages, ctx: Context, *, cutoff: datetime) -> MessagesResult:
    """Check everything, then delete.

    Args:
        payload: What.
        ctx: The job.
        cutoff: Messages written before this are old.
    """
    settings, data = ctx.settings(Settings).messages, ctx.settings(DataSettings)
    db = ctx.use(Database, data)
    messages = db.entity("messages", needs=_needs(payload))
    found = preflight(db, messages, settings, ctx.job.id, timedelta(minutes=10))
    _refuse_unknown_channels(db, payload, ctx)
    state = purge.begin(ctx, cutoff=cutoff)
    return purge.Purge(
        db,
        rules(db, messages, payload, cutoff=state.cutoff, now=datetime.now(UTC)),
        found,
        payload,
        ctx,
        state=state,
        archive=_archive(payload, ctx, data),
        replica=Replica(db, most=settings.max_replica_lag, job_id=ctx.job.id, clock=monotonic, sleep=sleep),
        clock=monotonic,
        sleep=sleep,
    ).run()


def preflight(
    db: Database, messages: Entity, policy: MessagesPolicy, job_id: str, timeout: timedelta
) -> References:
    """What `references` finds, with these settings.

    Raises:
        Discard: Deleting would fail, or take for ever.
        Retry: The database does not answer, or not in time.
    """
    deletable = (*policy.delete_from, *_reactions(db))
    with failures(), db.reading(job_id, timeout=timeout) as connection:
        few = select(messages["id"]).limit(_LARGE).subquery()
        large = connection.execute(select(func.count()).select_from(few)).scalar_one() >= _LARGE
        return references(db, connection, messages, deletable=deletable, large=large)


def _needs(payload: Messages) -> list[str]:
    needs = ["id", "created_at"]
    needs += ["channel"] if payload.channels or payload.exclude_channels else []
    needs += ["deleted_at"] if payload.mode != "hard" else []
    needs += ["thread"] if payload.keep_threads == "whole" else []
    return needs


def _reactions(db: Database) -> list[str]:
    """Reactions mean nothing without their message, whatever their foreign key says."""
    reactions: Entity | None = db.find("reactions")
    return [reactions.table.name] if reactions is not None else []


def _refuse_unknown_channels(db: Database, payload: Messages, ctx: Context) -> None:
    wanted = {*payload.channels, *payload.exclude_channels}
    if not wanted:
        return
    channels = db.entity("channels", needs=("id",))
    with failures(), db.reading(ctx.job.id) as connection:
        known = connection.execute(select(channels["id"]).where(channels["id"].in_(sorted(wanted)))).scalars()
        missing = sorted(wanted - {str(channel) for channel in known})
    if missing:
        raise Discard(f"there is no channel {', '.join(map(repr, missing))}; channels are named by their id")


def _archive(payload: Messages, ctx: Context, data: DataSettings) -> StoreArchive | None:
    if payload.archive_to is None:
        return None
    return StoreArchive(ctx.use(open_store, data, payload.archive_to), ctx.job.id)

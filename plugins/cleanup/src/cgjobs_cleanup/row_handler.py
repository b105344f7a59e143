"""The modes of ``cleanup.files`` that look at ChatGenius' table of files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, select

from cgjobs import Context
from cgjobs_cleanup.bucket import Bucket
from cgjobs_cleanup.eligibility import held
from cgjobs_cleanup.orphan_sweep import OrphanSweep
from cgjobs_cleanup.payloads import Files
from cgjobs_cleanup.place import BucketPlace, Place, TreePlace
from cgjobs_cleanup.results import FilesResult
from cgjobs_cleanup.roots import addresses
from cgjobs_cleanup.row_sweep import RowSweep
from cgjobs_cleanup.tree import Tally, Tree
from cgjobs_data import Database, Entity
from cgjobs_data import Settings as DataSettings


def clean_rows(
    payload: Files, ctx: Context, where: Tree | Bucket, *, cutoff: datetime, clock: Callable[[], float]
) -> FilesResult:
    """Modes ``rows`` and ``orphans``; closes the tree."""
    with contextlib.ExitStack() as ending:
        place: Place
        if isinstance(where, Tree):
            place = TreePlace(ending.enter_context(where), Tally(lambda path, error: None))
        else:
            place = BucketPlace(where)
        db = ctx.use(Database, ctx.settings(DataSettings))
        table = db.entity("files", needs=("id", "url", "created_at"))
        urls = addresses(payload.root, ctx)
        if payload.mode == "orphans":
            return OrphanSweep(db, table, place, urls, payload, ctx, cutoff=cutoff, clock=clock).run()
        kept = held(db, _scopes(db, table), datetime.now(UTC))
        return RowSweep(db, table, kept, place, urls, payload, ctx, cutoff=cutoff, clock=clock).run()


def _scopes(db: Database, table: Entity) -> dict[str, ColumnElement[Any] | None]:
    """What of a file a legal hold may name: its user, its message, and that message's channel."""
    message, messages = table.get("message"), db.find("messages")
    channel = None
    if message is not None and messages is not None and "channel" in messages:
        of = messages.table.alias("of_file")
        column = of.c[messages["channel"].name]
        channel = select(column).where(of.c[messages["id"].name] == message).scalar_subquery()
    return {"user": table.get("user"), "message": message, "channel": channel}

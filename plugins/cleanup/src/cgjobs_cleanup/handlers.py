"""The handler of each subtype."""

from __future__ import annotations

from datetime import datetime
from time import monotonic

from cgjobs import Context, Discard, subtype
from cgjobs_cleanup.log_sweep import LogSweep
from cgjobs_cleanup.payloads import Files, Logs, Messages
from cgjobs_cleanup.results import FilesResult, LogsResult, MessagesResult
from cgjobs_cleanup.roots import open_root
from cgjobs_cleanup.settings import Settings
from cgjobs_cleanup.sweep import Sweep
from cgjobs_cleanup.tree import Tree


@subtype("cleanup.files", destructive=True, idempotent=True)
def files(payload: Files, ctx: Context) -> FilesResult:
    """Delete the old files of a directory tree or a bucket."""
    _refuse_young(payload, ctx.settings(Settings))
    place = open_root(payload.root, ctx)
    # The cutoff hangs on when the job was made, so that a retry deletes the same files.
    cutoff = _enqueued(ctx) - (payload.age or payload.grace)
    if payload.mode != "age":
        from cgjobs_cleanup.row_handler import clean_rows

        return clean_rows(payload, ctx, place, cutoff=cutoff, clock=monotonic)
    if isinstance(place, Tree):
        with place:
            return Sweep(place, payload, ctx, cutoff=cutoff, clock=monotonic).run()
    from cgjobs_cleanup.bucket_sweep import BucketSweep

    return BucketSweep(place, payload, ctx, cutoff=cutoff, clock=monotonic).run()


@subtype("cleanup.logs", destructive=True, idempotent=True)
def logs(payload: Logs, ctx: Context) -> LogsResult:
    """Delete or compress the rotated logs of a directory tree."""
    settings = ctx.settings(Settings)
    _refuse_young(payload, settings)
    place = open_root(payload.root, ctx)
    if not isinstance(place, Tree):
        raise Discard(f"root {payload.root!r} is a bucket; old logs there are a job for cleanup.files")
    with place:
        return LogSweep(
            place,
            payload,
            ctx,
            enqueued=_enqueued(ctx),
            min_age=settings.policy(payload.root).min_age,
            clock=monotonic,
        ).run()


@subtype("cleanup.messages", destructive=True, idempotent=True)
def messages(payload: Messages, ctx: Context) -> MessagesResult:
    """Delete the old messages of ChatGenius' database."""
    floor = ctx.settings(Settings).messages.min_age
    if payload.age < floor:
        raise Discard(
            f"age is {payload.age}, below the {floor} that messages must have; "
            "raise it, or lower [plugins.cleanup.messages] min_age"
        )
    from cgjobs_cleanup.message_handler import delete_messages

    return delete_messages(payload, ctx, cutoff=_enqueued(ctx) - payload.age)


def _enqueued(ctx: Context) -> datetime:
    created = ctx.job.created_at
    assert created is not None, "a job that runs was created"
    return created


def _refuse_young(payload: Files | Logs, settings: Settings) -> None:
    floor = settings.policy(payload.root).min_age
    if payload.age is not None and payload.age < floor:
        raise Discard(
            f"age is {payload.age}, below the {floor} that root {payload.root!r} allows; "
            f"raise it, or lower [plugins.cleanup.policies.{payload.root}] min_age"
        )

"""The handler of each subtype."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from platformdirs import user_state_path

from cgjobs import Context, Discard, subtype
from cgjobs_cleanup.log_sweep import LogSweep
from cgjobs_cleanup.payloads import Files, Logs
from cgjobs_cleanup.results import FilesResult, LogsResult
from cgjobs_cleanup.settings import Settings
from cgjobs_cleanup.sweep import Sweep
from cgjobs_cleanup.tree import Tree


@subtype("cleanup.files", destructive=True, idempotent=True)
def files(payload: Files, ctx: Context) -> FilesResult:
    """Delete the old files of a directory tree."""
    settings = ctx.settings(Settings)
    with _open(payload.root, settings) as tree:
        _refuse_young(payload, settings)
        _refuse_protected(payload.root, tree, settings)
        # The cutoff hangs on when the job was made, so that a retry deletes the same files.
        return Sweep(tree, payload, ctx, cutoff=_enqueued(ctx) - payload.age, clock=time.monotonic).run()


@subtype("cleanup.logs", destructive=True, idempotent=True)
def logs(payload: Logs, ctx: Context) -> LogsResult:
    """Delete or compress the rotated logs of a directory tree."""
    settings = ctx.settings(Settings)
    with _open(payload.root, settings) as tree:
        _refuse_young(payload, settings)
        _refuse_protected(payload.root, tree, settings)
        return LogSweep(
            tree,
            payload,
            ctx,
            enqueued=_enqueued(ctx),
            min_age=settings.policy(payload.root).min_age,
            clock=time.monotonic,
        ).run()


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


def _open(name: str, settings: Settings) -> Tree:
    root = settings.roots.get(name)
    if root is None:
        known = ", ".join(settings.roots) or "none"
        raise Discard(f"no root is named {name!r} in [plugins.cleanup] roots; there are: {known}")
    try:
        return Tree(root)
    except OSError as error:
        raise Discard(
            f"root {name!r} cannot be opened: {error.strerror}: '{root}'; "
            "it must be a directory that the worker may list, and no symbolic link"
        ) from error


def _refuse_protected(name: str, tree: Tree, settings: Settings) -> None:
    for path in (Path.home(), user_state_path("cgjobs"), *settings.protected):
        if tree.is_or_contains(path):
            raise Discard(
                f"root {name!r} is '{settings.roots[name]}', which is or contains '{path}'; "
                "choose a directory below it"
            )

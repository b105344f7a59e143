"""What `cgjobs doctor` says about the three subtypes."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from cgjobs import Discard, Finding, Retry
from cgjobs_cleanup.packing import load_zstd
from cgjobs_cleanup.settings import Settings
from cgjobs_data import Settings as DataSettings

_TIME = timedelta(seconds=2)


def check_all(settings: Callable[[type[Any]], Any]) -> Iterator[Finding]:
    """One finding for what is in order, one for each thing that is not."""
    own: Settings = settings(Settings)
    data: DataSettings = settings(DataSettings)
    for name, faults in (
        ("cleanup.files", _files(own, data)),
        ("cleanup.logs", _logs(own)),
        ("cleanup.messages", _messages(own, data)),
    ):
        yield from list(faults) or [Finding(name, "ok", "ready")]


def _files(own: Settings, data: DataSettings) -> Iterator[Finding]:
    name = "cleanup.files"
    if not own.roots:
        yield Finding(
            name, "warn", "no root is configured", 'set roots = {uploads = "..."} in [plugins.cleanup]'
        )
    for root, place in own.roots.items():
        if isinstance(place, Path):
            yield from _directory(name, root, place)
            continue
        store = data.store(place.store)
        if store is None:
            advice = f"write [plugins.data.stores.{place.store}]"
            yield Finding(
                name, "bad", f"root {root!r} is in store {place.store!r}, which there is not", advice
            )
        elif store.directory is not None:
            yield from _directory(name, root, store.directory / place.prefix)
        elif importlib.util.find_spec("boto3") is None:
            advice = "pip install 'chatgenius-jobs-cleanup[s3]'"
            yield Finding(name, "bad", f"root {root!r} is a bucket, and boto3 is missing", advice)


def _directory(name: str, root: str, path: Path) -> Iterator[Finding]:
    if path.is_symlink() or not path.is_dir():
        yield Finding(
            name, "bad", f"root {root!r} is '{path}', which is no directory", "correct it, or make it"
        )
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        advice = "run the worker as a user who may"
        yield Finding(name, "bad", f"root {root!r} is '{path}', where this user may not delete", advice)


def _logs(own: Settings) -> Iterator[Finding]:
    if any(job.codec == "zstd" and job.action != "delete" for job in own.nightly.logs):
        try:
            load_zstd()
        except Discard as reason:
            yield Finding("cleanup.logs", "bad", "a nightly job compresses with zstd", reason.reason)


def _messages(own: Settings, data: DataSettings) -> Iterator[Finding]:
    name = "cleanup.messages"
    if not data.url and not data.demo_file.is_file():
        advice = "set [plugins.data] url, or make a demo with `cgjobs data seed`"
        yield Finding(name, "warn", "no database is configured", advice)
        return
    try:
        yield from _database(own, data)
    except (Discard, Retry) as reason:
        for fault in reason.reason.split("; missing_"):
            message, _, advice = fault.partition("; ")
            yield Finding(name, "bad", message, advice)


def _database(own: Settings, data: DataSettings) -> Iterator[Finding]:
    from cgjobs_cleanup.message_handler import preflight
    from cgjobs_data import Database

    name = "cleanup.messages"
    with Database(data) as db:
        found = preflight(
            db, db.entity("messages", needs=("id", "created_at")), own.messages, "doctor", _TIME
        )
        for advice in found.advice:
            yield Finding(name, "warn", "it could be better", advice)
        for table in ("legal_holds", "pins"):
            if db.find_companion(table) is None:
                yield Finding(
                    name, "warn", f"there is no table of {table}: it keeps nothing", "`cgjobs data init`"
                )

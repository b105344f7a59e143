"""Reports on disk: whole or not at all, and written again by a retry under the same name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from cgjobs_report.payloads import Format, Params
from cgjobs_report.period import Span


@attrs.frozen(kw_only=True)
class ReportFile:
    """A file that was written.

    Args:
        format: What it is.
        path: Where it is.
        bytes: Its size.
        sha256: Digest of its content, in hexadecimal.
    """

    format: Format
    path: str
    bytes: int
    sha256: str


def stem(span: Span, params: Params) -> str:
    """A file name without ending: the period, and what else differs from a plain report."""
    zone = params.timezone.replace("/", "-").replace("+", "plus").lower()
    parts = {
        "usage": True,
        span.slug: True,
        zone: zone != "utc",
        f"by-{params.granularity}": params.granularity != "day",
        f"top-{params.top}": params.top != 10,
        "alone": not params.compare,
    }
    return "-".join(part for part, wanted in parts.items() if wanted)


@contextlib.contextmanager
def building(directory: Path, name: str, kind: Format) -> Iterator[Path]:
    """A new file beside the one that it replaces when the block ends well; otherwise it goes."""
    directory.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(prefix=f".{name}.", suffix=f".{kind}", dir=directory)
    os.close(handle)
    try:
        yield Path(path)
    finally:
        Path(path).unlink(missing_ok=True)


def publish(path: Path, directory: Path, name: str, kind: Format) -> ReportFile:
    """Put a finished file in its place at once, replacing the one of an earlier attempt."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    size = path.stat().st_size
    target = path.replace(directory / f"{name}.{kind}")
    return ReportFile(format=kind, path=str(target), bytes=size, sha256=digest)

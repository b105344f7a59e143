"""Reports on disk: whole or not at all, and written again by a retry under the same name."""

from __future__ import annotations

import hashlib
import os
import tempfile
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


def write(directory: Path, name: str, kind: Format, content: bytes) -> ReportFile:
    """Write a file so that it is never seen half, replacing the one of an earlier attempt."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.{kind}"
    handle, building = tempfile.mkstemp(prefix=f".{path.name}.", dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(building).replace(path)
    except BaseException:
        Path(building).unlink(missing_ok=True)
        raise
    digest = hashlib.sha256(content).hexdigest()
    return ReportFile(format=kind, path=str(path), bytes=len(content), sha256=digest)

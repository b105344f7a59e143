"""A report to its files in a store, and to the people who are told of it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from cgjobs import Context, Discard, InvalidPayload, SubtypeNotFound
from cgjobs_data import Settings as DataSettings
from cgjobs_data import Store, open_store
from cgjobs_report import mail
from cgjobs_report.document import Report
from cgjobs_report.formats import CONTENT_TYPES, WRITERS
from cgjobs_report.payloads import Audit, Format, Payload, Performance
from cgjobs_report.settings import Settings

MOST_ATTACHED = 10_000_000
"""Bytes that one mail carries at most."""


@attrs.frozen(kw_only=True)
class ReportFile:
    """A file that was written.

    Args:
        format: What it is.
        path: Its path in the store.
        url: Where people fetch it.
        bytes: Its size.
        sha256: Digest of its content, in hexadecimal.
    """

    format: Format
    path: str
    url: str
    bytes: int
    sha256: str


def store_of(payload: Payload, ctx: Context) -> Store:
    """The store into which the payload's files go, opened before the work begins.

    Raises:
        Discard: There is no such store.
    """
    name = payload.store or ctx.settings(Settings).store
    return ctx.use(open_store, ctx.settings(DataSettings), name)


def write(
    report: Report, payload: Payload, store: Store, step: Callable[[str], None]
) -> tuple[ReportFile, ...]:
    """Write each format and store it: whole or not at all, over the file of an earlier attempt."""
    name, written = file_name(report, payload), []
    with tempfile.TemporaryDirectory(prefix="cgjobs-report-") as directory:
        for kind in dict.fromkeys(payload.formats):
            step(kind)
            path = Path(directory) / f"report.{kind}"
            WRITERS[kind](report, path)
            stored = store.put(f"{name}.{kind}", path, CONTENT_TYPES[kind])
            written.append(
                ReportFile(
                    format=kind, path=stored.path, url=stored.url, bytes=stored.bytes, sha256=stored.sha256
                )
            )
    return tuple(written)


def file_name(report: Report, payload: Payload) -> str:
    """The path in the store, without ending: by the template, or what keeps reports that differ apart."""
    params = payload.params
    zone = params.timezone.replace("/", "-").replace("+", "plus").lower()
    variant = "-".join(_variants(payload))
    if payload.name_template:
        return payload.name_template.format(
            report=report.kind,
            period=report.span.slug,
            timezone=zone,
            granularity=params.granularity,
            variant=variant,
        )
    parts = [report.kind, report.span.slug, "" if zone == "utc" else zone]
    parts += ["" if params.granularity == "day" else f"by-{params.granularity}", variant]
    return "-".join(part for part in parts if part)


def notify(
    report: Report, files: tuple[ReportFile, ...], payload: Payload, store: Store, ctx: Context
) -> tuple[str, ...]:
    """Enqueue a mail for each user, once over all attempts of this job.

    Returns:
        The ids of the mails' jobs.

    Raises:
        Discard: Nothing here takes mails.
    """
    if not payload.notify:
        return ()
    jobs = []
    attached = _attached(files, store, ctx.settings(Settings))
    links = () if attached else tuple(mail.Link(file.format, file.url) for file in files)
    message = {
        "subject": report.title,
        "text": mail.text(report, links),
        "html": mail.html(report, links, _shown(report, payload, store)),
    }
    for user in dict.fromkeys(payload.notify):
        # Of a length that an id may have, whoever named the user; the same for each attempt.
        job_id = f"report-{hashlib.sha256(f'{ctx.job.id}/{user}'.encode()).hexdigest()[:40]}"
        data: dict[str, Any] = {
            "userId": user,
            "message": message,
            "category": "transactional",
            "idempotencyKey": job_id,
        }
        if attached:
            data["attachments"] = attached
        # The id alone would not do: a mail's job may be over and forgotten when this one is tried again.
        with ctx.once(job_id, unknown="again") as first:
            if first:
                _enqueue(data, job_id, ctx)
        jobs.append(job_id)
    return tuple(jobs)


def _enqueue(data: dict[str, Any], job_id: str, ctx: Context) -> None:
    options: Any = {"job_id": job_id, "correlation_id": ctx.job.correlation_id or None}
    try:
        ctx.client.enqueue_data("notification.email", data, **options)
    except SubtypeNotFound as error:
        raise Discard(
            "the report is written, but nobody can be told: pip install chatgenius-jobs-notification"
        ) from error
    except InvalidPayload as error:
        raise Discard(f"the report is written, but nobody can be told: {error}") from error


def _variants(payload: Payload) -> list[str]:
    """What else differs from a plain report of its kind."""
    params = payload.params
    parts = []
    if params.top != 10:
        parts.append(f"top-{params.top}")
    if not params.compare:
        parts.append("alone")
    filters: dict[str, Any] = {}
    if isinstance(payload, Audit):
        filters = {"actors": payload.actors, "actions": payload.actions, "targets": payload.targets}
        if payload.include_pii:
            parts.append("pii")
    if isinstance(payload, Performance):
        filters = {"queues": payload.queues}
    if any(filters.values()):
        written = json.dumps({name: sorted(set(values)) for name, values in filters.items()})
        parts.append(f"only-{hashlib.sha256(written.encode()).hexdigest()[:8]}")
    return parts


def _attached(files: tuple[ReportFile, ...], store: Store, settings: Settings) -> list[dict[str, str]]:
    """The files that go with a mail: where there is no address to fetch them from, and they are light."""
    if not settings.attach or _public(store):
        return []
    if sum(file.bytes for file in files) > MOST_ATTACHED:
        return []
    return [{"store": store.name, "path": file.path, "name": file.path.rpartition("/")[2]} for file in files]


def _shown(report: Report, payload: Payload, store: Store) -> list[tuple[str, str]]:
    """Titles and addresses of pictures of its charts, which are stored beside the report."""
    if not _public(store):
        return []
    name = file_name(report, payload)
    return [
        (one.title, store.put(f"{name}-{one.key}.png", one.content, "image/png").url)
        for one in mail.pictures(report)
    ]


def _public(store: Store) -> bool:
    return store.url("x").startswith(("http://", "https://"))

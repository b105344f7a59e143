"""Which jobs the demonstration runs, and what each of them did, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import attrs

MAILS, PUSHES, TEXTS = 400, 20, 20
Result = Mapping[str, Any]


@attrs.frozen
class Part:
    """One job of the programme.

    Args:
        name: Its subtype.
        payload: Its payload on the wire.
        after: It waits until the jobs of these subtypes have completed.
    """

    name: str
    payload: Mapping[str, Any]
    after: tuple[str, ...] = ()


def opening(users: Sequence[str]) -> list[Part]:
    """The mails, in the middle of which a worker is killed."""
    return [
        Part("notification.email", {"userId": user, "message": f"You have {number % 9 + 1} unread messages."})
        for number, user in enumerate(users)
    ]


def main_act(devices: Sequence[str], phones: Sequence[str], reader: str, today: date) -> list[Part]:
    """One job of each other subtype, some in the order in which they make sense.

    Args:
        devices: Users who have a device.
        phones: Users who have a telephone.
        reader: The user who is sent the report of usage.
        today: The day that the report of performance is about, in UTC.
    """
    month = {"period": "last_month"}
    day = {"from": str(today), "to": str(today + timedelta(days=1)), "granularity": "hour", "compare": False}
    formats = ["html", "csv", "xlsx", "pdf", "json"]
    return [
        *(
            Part(
                "notification.push",
                {"userId": user, "message": "Ada mentioned you", "respectQuietHours": False},
            )
            for user in devices
        ),
        *(
            Part("notification.sms", {"userId": user, "message": "Your code is 4711", "category": "security"})
            for user in phones
        ),
        Part("cleanup.files", {"root": "uploads", "age": "90d", "confirmFraction": True}),
        Part("cleanup.logs", {"root": "logs", "action": "compress"}),
        Part("cleanup.messages", {"age": "300d"}),
        Part(
            "maintenance.cache",
            {"target": "profiles", "pattern": "chatgenius:*", "only": "no_ttl", "setTtl": "1d"},
        ),
        Part("maintenance.vacuum", {"database": "chatgenius"}, after=("cleanup.messages",)),
        Part("maintenance.reindex", {"target": "chatgenius"}, after=("maintenance.vacuum",)),
        Part(
            "report.usage",
            {"params": month, "formats": formats, "notify": [reader]},
            after=("maintenance.reindex",),
        ),
        Part("report.audit", {"params": month, "formats": ["html", "pdf"]}, after=("maintenance.reindex",)),
        Part(
            "report.performance",
            {"params": day, "formats": ["html", "pdf"]},
            after=("report.usage", "report.audit", "cleanup.files"),
        ),
    ]


def did(name: str, results: Sequence[Result]) -> str:
    """What the jobs of one subtype did, for people."""
    return _DID[name](results) if results else "nothing"


def _mails(results: Sequence[Result]) -> str:
    sent = sum(result["outcome"] == "sent" for result in results)
    return f"{sent} mails taken by the SMTP server{_skipped(len(results) - sent)}"


def _pushes(results: Sequence[Result]) -> str:
    sent = sum(result["sent"] for result in results)
    skipped = sum(result["outcome"] == "skipped" for result in results)
    return f"messages for {sent} devices in the outbox{_skipped(skipped)}"


def _texts(results: Sequence[Result]) -> str:
    sent = sum(result["status"] == "accepted" for result in results)
    return f"{sent} text messages in the outbox{_skipped(len(results) - sent)}"


def _skipped(count: int) -> str:
    return f", {count} skipped: opted out or out of reach" if count else ""


def _files(results: Sequence[Result]) -> str:
    [done] = results
    return f"{done['deleted']} of {done['scanned']} files deleted, {_size(done['bytesFreed'])} freed"


def _logs(results: Sequence[Result]) -> str:
    [done] = results
    sizes = f"{_size(done['bytesBefore'])} to {_size(done['bytesAfter'])}"
    return f"{done['compressed']} of {done['scanned']} log files compressed, {sizes}"


def _messages(results: Sequence[Result]) -> str:
    [done] = results
    skipped = done["skipped"]
    kept = ", ".join(f"{skipped[why]:,} {why}" for why in ("held", "pinned") if skipped[why])
    batches = f"{done['batches']} batches"
    return f"{done['deleted']:,} of {done['total']:,} messages deleted in {batches}; kept: {kept or 'none'}"


def _vacuum(results: Sequence[Result]) -> str:
    [done] = results
    return f"database {_size(done['bytesBefore'])}, now {_size(done['bytesAfter'])}"


def _reindex(results: Sequence[Result]) -> str:
    [done] = results
    return ", ".join(f"{index['name']}: {index['outcome']}" for index in done["indexes"]) + "; checked"


def _cache(results: Sequence[Result]) -> str:
    [done] = results
    return f"{done['ttlSet']:,} of {done['scanned']:,} keys had no time to live and have one now"


def _report(results: Sequence[Result]) -> str:
    [done] = results
    sizes = ", ".join(f"{file['format']} {file['bytes'] / 1024:.0f} KiB" for file in done["files"])
    mailed = ", mailed" if done["notificationJobs"] else ""
    return f"{done['rows']:,} rows: {sizes}{mailed}"


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MiB"


_DID: Mapping[str, Callable[[Sequence[Result]], str]] = {
    "cleanup.files": _files,
    "cleanup.logs": _logs,
    "cleanup.messages": _messages,
    "maintenance.vacuum": _vacuum,
    "maintenance.reindex": _reindex,
    "maintenance.cache": _cache,
    "notification.email": _mails,
    "notification.push": _pushes,
    "notification.sms": _texts,
    "report.usage": _report,
    "report.audit": _report,
    "report.performance": _report,
}
SUBTYPES = tuple(_DID)
"""All twelve, in the order in which they are shown."""

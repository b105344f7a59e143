"""The handler of ``notification.email``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

from cgjobs import Context, Discard, subtype
from cgjobs_notification.addressee import Addressee, addressee
from cgjobs_notification.consent import SkippedReason
from cgjobs_notification.mail.compose import compose
from cgjobs_notification.mail.outbox import Outbox
from cgjobs_notification.mail.port import Mailer
from cgjobs_notification.mail.smtp import SmtpPool
from cgjobs_notification.payloads import Content, Email
from cgjobs_notification.settings import BACKOFF, Settings


@attrs.frozen(kw_only=True)
class EmailResult:
    """What became of a mail.

    Args:
        outcome: ``sent`` or ``skipped``.
        skipped_reason: Why it was skipped: ``expired`` or ``user_deleted``; otherwise empty.
        message_id: Its Message-ID; the same in every attempt.
        accepted: The address it was accepted for.
        transport: ``smtp`` or ``outbox``; empty when skipped.
        delivered: Whether a mail server took it; False in the outbox.
        tls: Whether it went over an encrypted connection.
        connection_reused: Whether it went over a connection that had carried mails before.
        attempts: Which attempt it was, from 1.
    """

    outcome: Literal["sent", "skipped"]
    skipped_reason: SkippedReason = ""
    message_id: str = ""
    accepted: tuple[str, ...] = ()
    transport: Literal["smtp", "outbox", ""] = ""
    delivered: bool = False
    tls: bool = False
    connection_reused: bool = False
    attempts: int = 1


@subtype("notification.email", timeout=timedelta(minutes=5), attempts=20, backoff=BACKOFF)
def email(payload: Email, ctx: Context) -> EmailResult:
    """Send one mail to one person.

    A mail is sent at least once: when the connection breaks after the text was sent, nobody knows whether the
    server took it, and it is sent again under the same Message-ID.
    """
    settings, now, attempts = ctx.settings(Settings), datetime.now(UTC), ctx.job.attempt
    to = addressee(ctx, payload.user_id, "email", payload.category, payload.expires_at, now)
    if reason := to.skipped(payload.respect_quiet_hours):
        return EmailResult(outcome="skipped", skipped_reason=reason, attempts=attempts)
    recipient = _recipient(payload, to)
    mailer: Mailer = ctx.use(SmtpPool, settings.smtp) if settings.smtp else ctx.use(Outbox, settings.outbox)
    content = payload.message
    if isinstance(content, str):
        content = Content(subject=settings.subject, text=content)
    mail = compose(content, sender=mailer.sender, recipient=recipient, job_id=ctx.job.id, now=now)
    receipt = mailer.send(mail.sender, mail.recipient, mail.content)
    ctx.log.info("mail_sent", message_id=mail.message_id, transport=receipt.transport)
    return EmailResult(
        outcome="sent",
        message_id=mail.message_id,
        accepted=(mail.recipient,),
        attempts=attempts,
        **attrs.asdict(receipt),
    )


def _recipient(payload: Email, to: Addressee) -> str:
    if to.person is None:
        return payload.to or ""
    if not to.person.email:
        raise Discard(f"user {to.person.id!r} has no address")
    return to.person.email

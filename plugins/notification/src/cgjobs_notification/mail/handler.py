"""The handler of ``notification.email``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

from cgjobs import Context, Discard, subtype
from cgjobs_notification.addressee import Addressee, addressee
from cgjobs_notification.consent import SkippedReason
from cgjobs_notification.delivery import Delivery, digest_of
from cgjobs_notification.mail.attachment import read_files
from cgjobs_notification.mail.compose import compose
from cgjobs_notification.mail.outbox import Outbox
from cgjobs_notification.mail.port import Mailer, NoMailbox
from cgjobs_notification.mail.smtp import SmtpPool
from cgjobs_notification.mail.unsubscribe import unsubscribe_token
from cgjobs_notification.payloads import Content, Email
from cgjobs_notification.settings import BACKOFF, Settings

_NO_UNSUBSCRIBE = ("transactional", "security")


@attrs.frozen(kw_only=True)
class EmailResult:
    """What became of a mail.

    Args:
        outcome: ``sent`` or ``skipped``.
        skipped_reason: Why it was skipped, such as ``expired`` or ``opted_out``; otherwise empty.
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
    if to.person is not None and to.person.email_bounced:
        return EmailResult(outcome="skipped", skipped_reason="bounced", attempts=attempts)
    mailer: Mailer = ctx.use(SmtpPool, settings.smtp) if settings.smtp else ctx.use(Outbox, settings.outbox)
    mail = compose(
        _content(payload, ctx, to),
        sender=mailer.sender,
        recipient=_recipient(payload, to),
        job_id=ctx.job.id,
        now=now,
        unsubscribe=_unsubscribe(payload, settings),
        files=read_files(ctx, payload.attachments),
    )
    result = EmailResult(
        outcome="sent", message_id=mail.message_id, accepted=(mail.recipient,), attempts=attempts
    )
    key, destination = payload.idempotency_key or ctx.job.id, digest_of(mail.recipient)
    with Delivery(ctx, to.ledger, key, "email", destination, on_unknown="retry") as delivery:
        if not delivery:  # an earlier attempt has, or another job with this key
            return attrs.evolve(
                result, transport="smtp" if settings.smtp else "outbox", delivered=settings.smtp is not None
            )
        try:
            receipt = mailer.send(mail.sender, mail.recipient, mail.content)
        except NoMailbox as error:
            if to.person is not None and to.directory is not None:
                to.directory.bounced(to.person, error.reason, now)
            raise
        delivery.provider_id = mail.message_id
    ctx.log.info("mail_sent", message_id=mail.message_id, transport=receipt.transport)
    return attrs.evolve(result, **attrs.asdict(receipt))


def _recipient(payload: Email, to: Addressee) -> str:
    if to.person is None:
        return payload.to or ""
    if not to.person.email:
        raise Discard(f"user {to.person.id!r} has no address")
    return to.person.email


def _content(payload: Email, ctx: Context, to: Addressee) -> Content:
    settings, message = to.settings, payload.message
    if isinstance(message, str):
        return Content(subject=settings.subject, text=message)
    if message.template is None:
        return message
    if settings.templates is None:
        raise Discard("there are no templates; set templates in [plugins.notification] to their directory")
    from cgjobs_notification.mail.template import Templates  # Jinja is loaded by those who use it

    locale = payload.locale or (to.person.locale if to.person else None)
    templates = ctx.use(Templates, settings.templates, settings.locale)
    return templates.render(message.template, locale, {**message.data, **message.rows})


def _unsubscribe(payload: Email, settings: Settings) -> str:
    """The link that unsubscribes; none for what nobody can unsubscribe from."""
    if settings.unsubscribe is None or payload.user_id is None or payload.category in _NO_UNSUBSCRIBE:
        return ""
    url, secret = settings.unsubscribe.url, settings.unsubscribe.secret
    token = unsubscribe_token(payload.user_id, payload.category, secret=secret)
    return f"{url}{'&' if '?' in url else '?'}token={token}"

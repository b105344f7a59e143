"""The handler of ``notification.sms``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

from cgjobs import Context, Discard, Snooze, subtype
from cgjobs_notification.addressee import Addressee, addressee
from cgjobs_notification.consent import SkippedReason
from cgjobs_notification.delivery import Delivery, digest_of
from cgjobs_notification.payloads import Sms
from cgjobs_notification.settings import BACKOFF, Settings
from cgjobs_notification.sms.caps import HOUR, WorkerCount
from cgjobs_notification.sms.gateway import Gateway, Taken, Text
from cgjobs_notification.sms.outbox import SmsOutbox
from cgjobs_notification.sms.phone import Phone, phone
from cgjobs_notification.sms.segments import Encoding, Segments, segments
from cgjobs_notification.sms.settings import SmsSettings

_FULL = timedelta(minutes=5)


@attrs.frozen(kw_only=True)
class SmsResult:
    """What became of a text message.

    Args:
        status: ``accepted`` or ``skipped``. When nobody knows, the job has failed, marked as such.
        skipped_reason: Why it was skipped; otherwise empty.
        provider: Who took it: ``twilio``, ``vonage``, ``http``, ``sns``, ``smpp`` or ``outbox``.
        provider_id: What the provider calls it, or empty.
        to: The number, masked: ``+44******123``.
        segments: Its parts.
        encoding: The alphabet: ``gsm7`` or ``ucs2``.
        price: What all parts cost by ``prices`` of the settings; None when they say nothing.
        delivered: Whether a provider took it; False in the outbox.
        attempts: Which attempt it was, from 1.
    """

    status: Literal["accepted", "skipped"]
    skipped_reason: SkippedReason = ""
    provider: str = ""
    provider_id: str = ""
    to: str = ""
    segments: int = 0
    encoding: Encoding | Literal[""] = ""
    price: float | None = None
    delivered: bool = False
    attempts: int = 1


@subtype("notification.sms", timeout=timedelta(minutes=2), attempts=12, backoff=BACKOFF, idempotent=False)
def sms(payload: Sms, ctx: Context) -> SmsResult:
    """Send one text message to one person, and never twice.

    When nobody knows whether the provider took it, the job fails as *outcome unknown* and is not tried again:
    a message costs money, and no provider can tell that it is the same one.
    """
    settings, now, attempts = ctx.settings(Settings).sms, datetime.now(UTC), ctx.job.attempt
    to = addressee(ctx, payload.user_id, "sms", payload.category, payload.expires_at, now)
    if reason := to.skipped(payload.respect_quiet_hours):
        return SmsResult(status="skipped", skipped_reason=reason, attempts=attempts)
    number = phone(
        _number(payload, to, settings),
        region=settings.region,
        countries=settings.countries,
        strict=settings.provider != "outbox" if settings.strict is None else settings.strict,
    )
    parts = segments(payload.message)
    price = _price(payload, settings, number, parts)
    text = Text(
        id=payload.idempotency_key or ctx.job.id,
        to=number,
        sender=_sender(payload, settings),
        text=payload.message,
        segments=parts,
    )
    result = SmsResult(
        status="accepted",
        to=number.masked,
        segments=len(parts.parts),
        encoding=parts.encoding,
        price=price,
        attempts=attempts,
    )
    destination = digest_of(number.e164)
    gateway = _gateway(ctx, settings)  # before anything is said to have begun
    with Delivery(ctx, to.ledger, text.id, "sms", destination, on_unknown="stop") as delivery:
        if not delivery:
            return attrs.evolve(result, provider=settings.provider, delivered=settings.provider != "outbox")
        count = ctx.use(WorkerCount)
        if reason := _capped(ctx, settings, to, count, destination):
            delivery.give_up()
            return SmsResult(status="skipped", skipped_reason=reason, to=number.masked, attempts=attempts)
        taken: Taken = gateway.send(text)
        count.add(now, destination)
        delivery.provider_id = taken.provider_id
    ctx.log.info("sms_sent", provider=taken.provider, provider_id=taken.provider_id, to=number.masked)
    return attrs.evolve(
        result, provider=taken.provider, provider_id=taken.provider_id, delivered=taken.delivered
    )


def _number(payload: Sms, to: Addressee, settings: SmsSettings) -> str:
    if to.person is None:
        return payload.to or ""
    if not to.person.phone:
        raise Discard(f"user {to.person.id!r} has no telephone number")
    if settings.require_verified and not to.person.phone_verified:
        raise Discard(f"user {to.person.id!r} has not verified the number; see require_verified")
    return to.person.phone


def _sender(payload: Sms, settings: SmsSettings) -> str:
    if payload.sender is None or payload.sender == settings.sender:
        return settings.sender
    if payload.sender not in settings.senders:
        raise Discard(
            f"sender {payload.sender!r} is none of senders in [plugins.notification.sms]: "
            f"{', '.join(settings.senders) or 'it is empty'}"
        )
    return payload.sender


def _price(payload: Sms, settings: SmsSettings, number: Phone, parts: Segments) -> float | None:
    """What it costs; refuses what is too long or too dear."""
    count = len(parts.parts)
    if count > settings.max_segments:
        raise Discard(
            f"the message has {count} parts ({parts.encoding}); max_segments is {settings.max_segments}"
        )
    each = settings.prices.get(number.country, settings.prices.get("*"))
    price = None if each is None else round(each * count, 6)
    if payload.max_price is not None:
        if price is None:
            raise Discard(f"max_price is given, and prices has neither {number.country} nor '*'")
        if price > payload.max_price:
            raise Discard(f"{count} parts cost {price:g}; max_price is {payload.max_price:g}")
    return price


def _capped(
    ctx: Context, settings: SmsSettings, to: Addressee, worker: WorkerCount, destination: str
) -> SkippedReason:
    """Whether the number has had enough for this hour; puts the job off when all together have."""
    since = to.now - HOUR
    one, every = to.ledger.sent_since("sms", since, destination), to.ledger.sent_since("sms", since)
    if one is None or every is None:
        one, every = worker.sent_since(since, destination), worker.sent_since(since)
    else:
        one, every = one - 1, every - 1  # this one has been claimed already
    if one >= settings.per_user:
        ctx.log.warning("sms_cap_reached", cap="per_user", most=settings.per_user)
        return "user_cap"
    if every >= settings.per_hour:
        ctx.log.error("sms_cap_reached", cap="per_hour", most=settings.per_hour)
        raise Snooze(_FULL, f"{every} messages in an hour; per_hour is {settings.per_hour}")
    return ""


def _gateway(ctx: Context, settings: SmsSettings) -> Gateway:
    """The provider, opened once per worker."""
    # Imported here: who sends over one provider needs the libraries of no other.
    if settings.twilio is not None:
        from cgjobs_notification.sms.rest import TwilioGateway

        return ctx.use(TwilioGateway, settings.twilio)
    if settings.vonage is not None:
        from cgjobs_notification.sms.rest import VonageGateway

        return ctx.use(VonageGateway, settings.vonage)
    if settings.http is not None:
        from cgjobs_notification.sms.rest import AnyGateway

        return ctx.use(AnyGateway, settings.http)
    if settings.sns is not None:
        from cgjobs_notification.sms.sns import SnsGateway

        return ctx.use(SnsGateway, settings.sns)
    if settings.smpp is not None:
        from cgjobs_notification.sms.smpp import SmppGateway

        return ctx.use(SmppGateway, settings.smpp)
    return ctx.use(SmsOutbox, settings.outbox)

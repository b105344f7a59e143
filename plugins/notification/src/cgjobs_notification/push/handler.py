"""The handler of ``notification.push``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import attrs

from cgjobs import Context, Discard, Retry, subtype
from cgjobs_notification.addressee import Addressee, addressee
from cgjobs_notification.consent import SkippedReason
from cgjobs_notification.delivery import Delivery, Ledger
from cgjobs_notification.payloads import Kind, Note, Push
from cgjobs_notification.push.outbox import PushOutbox
from cgjobs_notification.push.service import (
    CredentialsRefused,
    DeviceGone,
    Message,
    NotSent,
    PushService,
    Sent,
)
from cgjobs_notification.push.settings import PushSettings
from cgjobs_notification.recipient import Device
from cgjobs_notification.settings import BACKOFF, Settings


@attrs.frozen(kw_only=True)
class DeviceOutcome:
    """What became of a message for one device.

    Args:
        id: Id of the subscription.
        kind: The service.
        outcome: ``sent``, ``gone`` (the subscription is disabled from now on) or ``failed`` (for good).
        status: What the service replied, or 0.
        reason: Why, in the service's words; empty when sent.
        provider_id: What the service calls the message, or empty.
    """

    id: str
    kind: Kind
    outcome: Literal["sent", "gone", "failed"]
    status: int = 0
    reason: str = ""
    provider_id: str = ""


@attrs.frozen(kw_only=True)
class PushResult:
    """What became of a push message.

    Args:
        outcome: ``sent`` (to one device at least), ``failed`` (to none), or ``skipped``.
        skipped_reason: Why it was skipped; otherwise empty.
        devices: Each device of the user's, in all attempts.
        sent, gone, failed: How many of them.
        delivered: Whether services took it; False in the outbox.
        attempts: Which attempt it was, from 1.
    """

    outcome: Literal["sent", "failed", "skipped"]
    skipped_reason: SkippedReason = ""
    devices: tuple[DeviceOutcome, ...] = ()
    sent: int = 0
    gone: int = 0
    failed: int = 0
    delivered: bool = False
    attempts: int = 1


@subtype("notification.push", timeout=timedelta(minutes=5), attempts=12, backoff=BACKOFF)
def push(payload: Push, ctx: Context) -> PushResult:
    """Send one message to all devices of one user.

    Each device gets it at least once. Only the devices that a service did not take it for are tried again.
    """
    settings, now, attempts = ctx.settings(Settings), datetime.now(UTC), ctx.job.attempt
    to = addressee(ctx, payload.user_id, "push", payload.category, payload.expires_at, now)
    if reason := to.skipped(payload.respect_quiet_hours):
        return PushResult(outcome="skipped", skipped_reason=reason, attempts=attempts)
    if to.directory is None or not (devices := to.directory.devices(payload.user_id, payload.kinds)):
        return PushResult(outcome="skipped", skipped_reason="no_devices", attempts=attempts)
    note = payload.message
    if isinstance(note, str):
        note = Note(title=settings.push.title, body=note)
    message = Message(
        id=payload.idempotency_key or ctx.job.id,
        note=note,
        urgency=payload.urgency,
        ttl=payload.ttl,
        collapse_key=payload.collapse_key,
        now=now,
    )
    fan_out = _FanOut(ctx, settings.push, to, message)
    for number, device in enumerate(devices):
        ctx.progress(number, len(devices))
        fan_out.send(device)
    outcomes = fan_out.finish()
    count = Counter(item.outcome for item in outcomes)
    return PushResult(
        outcome="sent" if count["sent"] else "failed",
        devices=outcomes,
        delivered=bool(count["sent"] and settings.push.configured),
        attempts=attempts,
        sent=count["sent"],
        gone=count["gone"],
        failed=count["failed"],
    )


class _FanOut:
    """One message to several devices: what is final is kept at once, the rest is tried in another attempt."""

    def __init__(self, ctx: Context, settings: PushSettings, to: Addressee, message: Message) -> None:
        self._ctx, self._settings, self._to, self._message = ctx, settings, to, message
        self._ledger: Ledger = to.ledger
        self._ended: dict[str, dict[str, Any]] = dict(ctx.resume({}))
        self._outcomes: list[DeviceOutcome] = []
        self._again: list[Retry] = []
        self._refused: dict[Kind, str] = {}

    def send(self, device: Device) -> None:
        """Send it to one device, unless an earlier attempt has."""
        if (known := self._ended.get(device.id)) is not None:
            self._outcomes.append(DeviceOutcome(**known))
            return
        if device.kind in self._refused:
            return
        try:
            outcome = self._deliver(device)
        except Retry as error:
            self._again.append(error)
            return
        except CredentialsRefused as error:
            self._refused[device.kind] = error.reason
            return
        if outcome.outcome == "gone" and self._to.directory is not None:
            self._to.directory.disable(device, outcome.reason, self._message.now)
        self._outcomes.append(outcome)
        self._ended[device.id] = attrs.asdict(outcome)
        self._ctx.checkpoint(self._ended)

    def finish(self) -> tuple[DeviceOutcome, ...]:
        """What became of all devices.

        Raises:
            Discard: A service refuses our credentials.
            Retry: Some devices are to be tried again.
        """
        done = f"{len(self._outcomes)} devices are done"
        if self._refused:
            reasons = "; ".join(self._refused.values())
            self._ctx.log.error("push_credentials_refused", kinds=sorted(self._refused), reason=reasons)
            raise Discard(f"{reasons} ({done}; no device was disabled)")
        if self._again:
            waits = [error.after for error in self._again if error.after is not None]
            reasons = "; ".join(dict.fromkeys(error.reason for error in self._again))
            message = f"{len(self._again)} devices to be tried again, {done}: {reasons}"
            raise Retry(message, after=max(waits, default=None))
        return tuple(self._outcomes)

    def _deliver(self, device: Device) -> DeviceOutcome:
        outcome = partial(DeviceOutcome, id=device.id, kind=device.kind)
        try:
            sent = self._hand_over(device)
        except DeviceGone as error:
            return outcome(outcome="gone", status=error.status, reason=error.reason)
        except NotSent as error:
            return outcome(outcome="failed", status=error.status, reason=error.reason)
        if sent is None:
            return outcome(outcome="sent", reason="in an earlier attempt")
        return outcome(outcome="sent", status=sent.status, provider_id=sent.provider_id)

    def _hand_over(self, device: Device) -> Sent | None:
        """Give the message to the service; None when that was done before."""
        service = self._service(device.kind)  # before anything is said to have begun
        key = self._message.id
        with Delivery(self._ctx, self._ledger, key, "push", device.id, on_unknown="retry") as delivery:
            if not delivery:
                return None
            try:
                sent = service.send(device, self._message)
                delivery.provider_id = sent.provider_id
                return sent
            except NotSent as error:
                delivery.fail(error.reason)
                refusal: Exception = error
            except CredentialsRefused as error:
                delivery.give_up()
                refusal = error
        raise refusal

    def _service(self, kind: Kind) -> PushService:
        settings = self._settings
        if not settings.configured:
            return self._ctx.use(PushOutbox, settings.outbox)
        try:
            found = service(self._ctx.use, settings, kind)
        except Discard as error:  # a key that is none, a missing extra: no fault of the device
            raise CredentialsRefused(error.reason) from error
        if found is None:
            raise NotSent(f"there is no [plugins.notification.push.{kind}]")
        return found


def service(use: Callable[..., Any], settings: PushSettings, kind: Kind) -> PushService | None:
    """The service of a kind; None when it is not configured.

    Args:
        use: Opens it: ``ctx.use`` once per worker.
        settings: The services.
        kind: Which one.

    Raises:
        Discard: Its key is none, or its extra is missing.
    """
    found: PushService | None = None
    # Imported here: without push messages nobody pays for httpx2 and cryptography.
    if kind == "webpush" and settings.webpush is not None:
        from cgjobs_notification.push.webpush import WebPush

        found = use(WebPush, settings.webpush)
    if kind == "fcm" and settings.fcm is not None:
        from cgjobs_notification.push.fcm import Fcm

        found = use(Fcm, settings.fcm)
    if kind == "apns" and settings.apns is not None:
        from cgjobs_notification.push.apns import Apns

        found = use(Apns, settings.apns)
    if kind == "ntfy" and settings.ntfy is not None:
        from cgjobs_notification.push.ntfy import Ntfy

        found = use(Ntfy, settings.ntfy)
    return found

"""One message to one destination: said before it is sent and after, so that it is not sent twice."""

from __future__ import annotations

import hashlib
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol

from cgjobs import Context, Discard, Once, OutcomeUnknown, Retry, Snooze
from cgjobs_notification.recipient import Channel

OnUnknown = Literal["retry", "stop"]
"""What to do when nobody knows whether an earlier attempt has sent it."""
State = Literal["new", "sent", "failed", "unknown"]


class Ledger(Protocol):
    """What is known of the deliveries of one job; used by one thread."""

    def claim(self, key: str, channel: Channel, destination: str) -> State:
        """Say that it will be sent now, and give what was known of it.

        ``sent`` claims nothing. ``unknown``: it was begun, and nobody said how it ended.

        Raises:
            Snooze: Another job is sending it at this moment.
        """

    def settle(
        self,
        key: str,
        channel: Channel,
        destination: str,
        state: Literal["sent", "failed", "unknown"],
        *,
        provider_id: str = "",
        detail: str = "",
    ) -> None:
        """Say how it ended."""

    def release(self, key: str, channel: Channel, destination: str) -> None:
        """Say that nothing was sent after all."""

    def sent_since(self, channel: Channel, since: datetime, destination: str | None = None) -> int | None:
        """How many were claimed or sent since then, to one destination or to all; None when nobody counts."""


def digest_of(address: str) -> str:
    """A mail address or a number as a destination: the table of deliveries shall not be a list of them."""
    return hashlib.sha256(address.lower().encode()).hexdigest()[:32]


class Delivery:
    """One message to one destination: ``with`` around its sending. True inside when it shall be sent.

    Leaving without an error keeps *sent*, with `Retry` or `Snooze` that nothing was sent, with
    `OutcomeUnknown` that nobody knows, with `Discard` that it failed. Any other error, and the end of the
    process, leave it *claimed*, which the next attempt takes for unknown.

    What was sent stays sent when that cannot be written down: a job that fails for it would be tried again
    and send it twice. The log says so, and the row stays *claimed*.

    Args:
        ctx: The context of the job.
        ledger: Where that is kept.
        key: The same for all attempts: the job's id, or the idempotency key of the payload.
        channel: How it is sent.
        destination: Where it goes: something that does not change from attempt to attempt.
        on_unknown: ``retry`` sends again, ``stop`` raises `OutcomeUnknown` on entering.

    Attributes:
        state: What was known when it was entered.
        provider_id: Set it inside to what the provider calls the message.
    """

    def __init__(
        self,
        ctx: Context,
        ledger: Ledger,
        key: str,
        channel: Channel,
        destination: str,
        *,
        on_unknown: OnUnknown,
    ) -> None:
        self.state: State = "new"
        self.provider_id = ""
        self._given_up = False
        self._failed: str | None = None
        self._log, self._ledger, self._on_unknown = ctx.log, ledger, on_unknown
        self._of: tuple[str, Channel, str] = (key, channel, destination)

    def __bool__(self) -> bool:
        """Whether it shall be sent now."""
        return self.state != "sent"

    def __enter__(self) -> Delivery:
        self.state = self._ledger.claim(*self._of)
        if self.state == "unknown" and self._on_unknown == "stop":
            detail = "an earlier attempt began to send it and did not say how that ended"
            self._ledger.settle(*self._of, "unknown", detail=detail)
            raise OutcomeUnknown(detail)
        return self

    def give_up(self) -> None:
        """Inside: it is not sent after all."""
        self._given_up = True

    def fail(self, detail: str) -> None:
        """Inside: it will never be taken; says why."""
        self._failed = detail

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self:
            return
        if error is None and self._given_up:
            self._ledger.release(*self._of)
        elif error is None and self._failed is not None:
            self._ledger.settle(*self._of, "failed", detail=self._failed)
        elif error is None:
            try:
                self._ledger.settle(*self._of, "sent", provider_id=self.provider_id)
            except (Retry, Discard) as trouble:
                self._log.error("delivery_not_recorded", channel=self._of[1], reason=trouble.reason)
        elif isinstance(error, (Retry, Snooze)):
            self._ledger.release(*self._of)
        elif isinstance(error, OutcomeUnknown):
            self._ledger.settle(*self._of, "unknown", detail=error.reason)
        elif isinstance(error, Discard):
            self._ledger.settle(*self._of, "failed", detail=error.reason)


class Marks:
    """A ledger of ``ctx.once`` marks, for when there is no table: it knows this job alone.

    Args:
        ctx: The context of the job.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._begun: dict[str, Once] = {}

    def claim(self, key: str, channel: Channel, destination: str) -> State:
        """Begin a mark."""
        name = f"{channel}:{hashlib.sha256(f'{key} {destination}'.encode()).hexdigest()[:32]}"
        once = self._ctx.once(name, unknown="again")
        once.__enter__()
        self._begun[destination] = once
        return "sent" if once.done else "unknown" if once.unknown else "new"

    def settle(
        self,
        key: str,
        channel: Channel,
        destination: str,
        state: Literal["sent", "failed", "unknown"],
        *,
        provider_id: str = "",
        detail: str = "",
    ) -> None:
        """End the mark; of an unknown outcome it stays begun."""
        once = self._begun.pop(destination)
        if state == "failed":  # retried by an operator it shall be sent
            error = Retry(detail)
            once.__exit__(Retry, error, None)
        elif state == "sent":
            once.__exit__(None, None, None)

    def release(self, key: str, channel: Channel, destination: str) -> None:
        """Take the mark away."""
        self.settle(key, channel, destination, "failed")

    def sent_since(self, channel: Channel, since: datetime, destination: str | None = None) -> None:
        """Nothing: the marks of other jobs are not seen."""

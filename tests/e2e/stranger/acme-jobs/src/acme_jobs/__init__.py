"""The jobs of Acme: a job type of its own, and a subtype added to somebody else's."""

from datetime import date
from typing import Any

import attrs

from cgjobs import Context, Processor, Subtype, hookimpl, subtype


@attrs.frozen
class Settings:
    currency: str = "EUR"


@attrs.frozen(kw_only=True)
class Invoice:
    """One invoice.

    Args:
        customer_id: Who has to pay.
        amount: How much, in whole units of the currency.
        due_on: Until when.
    """

    customer_id: str
    amount: int = attrs.field(validator=[attrs.validators.gt(0), attrs.validators.le(1_000_000)])
    due_on: date | None = None


@attrs.frozen
class Sent:
    invoice_number: str
    total: str


@attrs.frozen
class Pager:
    text: str


@subtype("billing.invoice")
async def invoice(payload: Invoice, ctx: Context) -> Sent:
    """Send one invoice."""
    ctx.log.info("invoice_sent", customer_id=payload.customer_id)
    return Sent(f"{payload.customer_id}-{ctx.job.id}", f"{payload.amount} {ctx.settings(Settings).currency}")


@subtype("notification.pager")
def pager(payload: Pager, ctx: Context) -> str:
    """Wake somebody."""
    return payload.text.upper()


@hookimpl
def cgjobs_processors() -> list[Processor]:
    return [Processor("billing", concurrency=2, attempts=4)]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Any, Any]]:
    return [invoice, pager]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    return Settings

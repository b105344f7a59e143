"""What type-checks, and what must not, for authors of plugins. Read by mypy only, like ``enqueueing.py``."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterator
from datetime import datetime, timedelta
from typing import Any, assert_type

import attrs

from cgjobs import (
    Backoff,
    Context,
    Cron,
    Discard,
    Event,
    Job,
    Processor,
    Retry,
    Slot,
    Snooze,
    Subtype,
    hookimpl,
    subtype,
)
from cgjobs.testing import RecordingContext


@attrs.frozen
class Settings:
    url: str = attrs.field(repr=False)


@attrs.frozen
class Invoice:
    customer_id: str


@attrs.frozen
class Pager:
    text: str


class Gateway:
    """Something expensive that a handler opens with ``ctx.use``."""

    def __init__(self, url: str, *, retries: int = 0) -> None:
        self.url, self.retries = url, retries


# Handlers.


@subtype("billing.invoice", timeout=timedelta(seconds=10))
def invoice(payload: Invoice, ctx: Context) -> int:
    assert_type(ctx.job, Job)
    assert_type(ctx.settings(Settings), Settings)
    assert_type(ctx.settings(Settings).url, str)
    assert_type(ctx.use(Gateway, ctx.settings(Settings).url, retries=3), Gateway)
    ctx.log.info("invoiced", customer_id=payload.customer_id)
    ctx.progress(1, total=2, message="half")
    return len(payload.customer_id)


@subtype("notification.pager")
async def pager(payload: Pager, ctx: Context) -> str:
    return payload.text


@subtype("billing.nothing")
def nothing(payload: Invoice, ctx: Context) -> None:
    raise Discard("there is nothing to do")


def use_wrongly(ctx: Context) -> None:
    ctx.use(Gateway)  # type: ignore[call-overload]
    ctx.use(Gateway, 3)  # type: ignore[call-overload]
    ctx.use(Gateway("url"))  # type: ignore[call-overload]
    assert ctx.settings(Settings).urls  # type: ignore[attr-defined]
    ctx.settings(Settings("url"))  # type: ignore[arg-type]
    ctx.progress("half")  # type: ignore[arg-type]
    ctx.log.info(customer_id="c1")  # type: ignore[call-arg]
    ctx.job = ctx.job  # type: ignore[misc]


def end_wrongly() -> None:
    raise Snooze(60)  # type: ignore[arg-type]


def end_more_wrongly(reason: int) -> tuple[BaseException, ...]:
    return (
        Snooze(),  # type: ignore[call-arg]
        Retry(after=timedelta(0)),  # type: ignore[call-arg]
        Retry("busy", after=60),  # type: ignore[arg-type]
        Retry("busy", timedelta(0)),  # type: ignore[call-arg]
        Discard(reason),  # type: ignore[arg-type]
        Discard(),  # type: ignore[call-arg]
    )


# What the decorator makes of a function.

assert_type(invoice, Subtype[Invoice, int])
assert_type(pager, Subtype[Pager, Awaitable[str]])
assert_type(nothing, Subtype[Invoice, None])
assert_type(invoice.payload, type[Invoice])


@subtype("billing.one_argument")  # type: ignore[arg-type]
def one_argument(payload: Invoice) -> None: ...


@subtype("billing.three_arguments")  # type: ignore[arg-type]
def three_arguments(payload: Invoice, ctx: Context, more: int) -> None: ...


@subtype("billing.no_context")  # type: ignore[arg-type]
def no_context(payload: Invoice, ctx: RecordingContext) -> None: ...


@subtype("billing.seconds", timeout=10)  # type: ignore[arg-type]
def seconds(payload: Invoice, ctx: Context) -> None: ...


@subtype  # type: ignore[arg-type]
def without_a_name(payload: Invoice, ctx: Context) -> None: ...


# A test of a handler calls it as the function it is.


async def call_handlers() -> None:
    ctx = RecordingContext(settings=[Settings("url")], uses={Gateway: Gateway("fake")})
    assert_type(invoice(Invoice("c1"), ctx), int)
    assert_type(await pager(Pager("hi"), ctx), str)
    with RecordingContext(job_id="J1", attempt=2, cancel_after=1) as entered:
        assert_type(entered, RecordingContext)
        as_a_handler_sees_it: Context = entered
        assert_type(entered.use(Gateway, "url"), Gateway)
        assert_type(as_a_handler_sees_it.settings(Settings), Settings)


async def call_handlers_wrongly(ctx: RecordingContext) -> None:
    invoice(Pager("hi"), ctx)  # type: ignore[arg-type]
    invoice(Invoice("c1"))  # type: ignore[call-arg]
    invoice(Invoice("c1"), None)  # type: ignore[arg-type]
    invoice(Invoice("c1"), ctx).bit_count(1)  # type: ignore[call-arg]
    await invoice(Invoice("c1"), ctx)  # type: ignore[misc]
    pager(Pager("hi"), ctx).upper()  # type: ignore[attr-defined]
    invoice.name = "billing.other"  # type: ignore[misc]


# Hooks.


def nightly(slot: Slot) -> Iterator[object]:
    assert_type(slot.at, datetime)
    assert_type(slot.settings(Settings), Settings)
    yield Invoice("c1")


@hookimpl
def cgjobs_processors() -> list[Processor]:
    backoff = Backoff.exponential(timedelta(seconds=1))
    return [
        Processor("billing", concurrency=2, attempts=5, backoff=backoff),
        Processor("reminders", schedule=Cron("0 0 * * *", timezone="Europe/Berlin"), on_schedule=nightly),
    ]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Any, Any]]:
    return [invoice, pager, nothing]


@hookimpl
def cgjobs_settings() -> type[Settings]:
    return Settings


@hookimpl
def cgjobs_event(event: Event) -> None:
    assert_type(event.queue, str)
    assert_type(event.attempt, int)


@hookimpl(wrapper=True)
def cgjobs_run(subtype: Subtype[Any, Any], payload: object) -> Generator[None, Any, Any]:
    result = yield
    return result


def the_subtypes_of_one_async_handler() -> list[Subtype[Pager, Awaitable[str]]]:
    return [pager]


def the_subtypes_named_wrongly() -> list[Subtype[Pager, str]]:
    return [invoice]  # type: ignore[list-item]


def functions_without_the_decorator() -> list[Subtype[Any, Any]]:
    return [nightly]  # type: ignore[list-item]


def processors_wrongly(slot: Slot) -> list[object]:
    return [
        Processor(),  # type: ignore[call-arg]
        Processor("billing", 2),  # type: ignore[call-arg]
        Processor("billing", attempts="5"),  # type: ignore[arg-type]
        Processor("billing", backoff=timedelta(seconds=1)),  # type: ignore[arg-type]
        Processor("billing", schedule="0 0 * * *", on_schedule=nightly),  # type: ignore[arg-type]
        Processor("billing", on_schedule=[Invoice("c1")]),  # type: ignore[arg-type]
        slot.settings(),  # type: ignore[call-arg]
        Backoff.fixed(3),  # type: ignore[arg-type]
    ]

"""The job that is measured."""

from __future__ import annotations

import attrs

from cgjobs import Context, Processor, Subtype, hookimpl, subtype


@attrs.frozen
class Noop:
    """Does nothing.

    Args:
        text: Makes the payload as large as a usual one.
    """

    text: str


@subtype("bench.noop")
async def noop(payload: Noop, ctx: Context) -> None:
    """Do nothing."""


def plain(text: str) -> None:
    """The same for rq."""


@hookimpl
def cgjobs_processors() -> list[Processor]:
    return [Processor("bench", concurrency=100)]


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Noop, None]]:
    return [noop]  # type: ignore[list-item]

"""Slack messages: adds `notification.slack` to a job type that this plugin does not own."""

from datetime import timedelta

import attrs
import httpx2

from cgjobs import Context, RateLimited, Retry, Subtype, hookimpl, subtype


@attrs.frozen
class Settings:  # read from [plugins.slack] and checked before the worker starts
    webhook: str = attrs.field(repr=False)


@attrs.frozen
class Slack:  # the payload, as Slack takes it: client.enqueue(Slack("#ops", "Deployed"))
    channel: str
    text: str = attrs.field(validator=attrs.validators.max_len(4_000))  # characters


@subtype("notification.slack", timeout=timedelta(seconds=10), limit_by=("channel",))  # or `async def`
def slack(payload: Slack, ctx: Context) -> None:
    """Post one message. A rate limit holds its channel and costs the job no attempt."""
    reply = ctx.use(httpx2.Client).post(ctx.settings(Settings).webhook, json=attrs.asdict(payload))
    if reply.status_code == 429:
        raise RateLimited(timedelta(seconds=int(reply.headers.get("Retry-After", 60))), scope="key")
    if not reply.is_success:  # no raise_for_status(): its text holds the webhook, a secret
        raise Retry(f"Slack answered {reply.status_code} {reply.text:.200}")


@hookimpl
def cgjobs_settings() -> type[Settings]:
    return Settings


@hookimpl
def cgjobs_subtypes() -> list[Subtype[Slack, None]]:
    return [slack]

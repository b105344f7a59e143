"""A job's recipient: looked up, asked for its wishes, and put off or skipped when it says so."""

from __future__ import annotations

import zlib
from datetime import datetime

import attrs

from cgjobs import Context, Discard
from cgjobs_data import Settings as DataSettings
from cgjobs_notification.consent import SkippedReason, await_quiet_hours, refusal
from cgjobs_notification.delivery import Ledger, Marks
from cgjobs_notification.payloads import Category
from cgjobs_notification.recipient import Channel, Directory, Person
from cgjobs_notification.settings import Settings

_PURGED = 500  # every so many jobs, one deletes up to 1,000 old rows


def data_settings(ctx: Context) -> DataSettings | None:
    """Where the database is; None when the plugin `data` is not loaded here."""
    try:
        return ctx.settings(DataSettings)
    except LookupError:
        return None


def directory(ctx: Context) -> Directory:
    """Where users are looked up."""
    from cgjobs_data import Database
    from cgjobs_notification.people import People

    settings = data_settings(ctx)
    if settings is None:
        raise Discard("the plugin 'data' is not loaded here; it knows where users are: see --plugins")
    return People(ctx.use(Database, settings), ctx.job.id)


def ledger(ctx: Context, now: datetime) -> Ledger:
    """The table of deliveries; where there is none, marks that know this job alone."""
    from cgjobs_data import Database
    from cgjobs_notification.ledger import TableLedger

    settings = data_settings(ctx)
    if settings is None or not (settings.url or settings.demo_file.exists()):
        return Marks(ctx)  # nobody has said where a database is
    database = ctx.use(Database, settings)
    table = database.find_companion("deliveries")
    if table is None:
        return Marks(ctx)
    made = TableLedger(database, table, ctx.job.id, now)
    if zlib.crc32(ctx.job.id.encode()) % _PURGED == 0:
        made.purge(now - ctx.settings(Settings).keep_deliveries)
    return made


@attrs.frozen(kw_only=True)
class Addressee:
    """Who a job writes to, and how it keeps from doing so twice.

    Args:
        directory: Where users are looked up; None for an address without a user.
        person: The user; None for an address without one.
        ledger: What is known of the deliveries.
        channel: How it is sent.
        category: What it is about.
        expires_at: When it becomes pointless, or None.
        now: The present (aware).
        settings: The plugin's.
    """

    directory: Directory | None
    person: Person | None
    ledger: Ledger
    channel: Channel
    category: Category
    expires_at: datetime | None
    now: datetime
    settings: Settings

    def skipped(self, respect_quiet_hours: bool | None) -> SkippedReason:
        """Why nothing is sent; empty when it may be sent now.

        Args:
            respect_quiet_hours: Whether quiet hours hold; None: the category decides.

        Raises:
            Snooze: The user's quiet hours last; no attempt is used up.
        """
        if self.expires_at is not None and self.expires_at <= self.now:
            return "expired"
        if self.person is None or self.directory is None:
            return ""
        if self.person.deleted:
            return "user_deleted"
        wishes = self.directory.wishes(self.person.id, self.channel, self.category)
        return refusal(wishes, self.channel, self.category) or await_quiet_hours(
            wishes,
            self.category,
            timezone=self.person.timezone or self.settings.timezone,
            now=self.now,
            respect=respect_quiet_hours,
            skips=self.category in self.settings.skip_in_quiet_hours,
            expires_at=self.expires_at,
        )


def addressee(
    ctx: Context,
    user_id: str | None,
    channel: Channel,
    category: Category,
    expires_at: datetime | None,
    now: datetime,
) -> Addressee:
    """Look up who a job writes to; ``user_id`` None for a direct address.

    Raises:
        Discard: There is no such user, or direct addresses are not allowed.
        Retry: The database does not answer.
    """
    settings = ctx.settings(Settings)
    if user_id is None and not settings.allow_direct_addresses:
        raise Discard(
            "direct addresses are not allowed; enqueue with user_id, or set "
            "allow_direct_addresses = true in [plugins.notification]"
        )
    found = None if user_id is None else directory(ctx)
    return Addressee(
        directory=found,
        person=None if found is None or user_id is None else found.person(user_id),
        ledger=ledger(ctx, now),
        channel=channel,
        category=category,
        expires_at=expires_at,
        now=now,
        settings=settings,
    )

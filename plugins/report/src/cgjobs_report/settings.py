"""The table ``[plugins.report]``."""

from __future__ import annotations

from datetime import timedelta

import attrs

from cgjobs_report.payloads import Format, known_zone


def _above_zero(instance: object, attribute: attrs.Attribute[timedelta], value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError("must be above zero")


@attrs.frozen(kw_only=True)
class Settings:
    """How reports are made; the database and the stores are `cgjobs_data`'s.

    Args:
        timezone: IANA name of the zone of the scheduled reports.
        formats: Their formats.
        notify: Ids of users who get a mail with them.
        store: The store for reports that name none.
        statement_timeout: Each statement is stopped after so long; the job is then tried again.
        attach: Whether mails have the files in them where their store has no address for people.
    """

    timezone: str = attrs.field(default="UTC", validator=known_zone)
    formats: tuple[Format, ...] = attrs.field(default=("html", "csv"), validator=attrs.validators.min_len(1))
    notify: tuple[str, ...] = ()
    store: str = "reports"
    statement_timeout: timedelta = attrs.field(default=timedelta(minutes=5), validator=_above_zero)
    attach: bool = True

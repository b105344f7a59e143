"""Telephone numbers: read, judged, and never shown whole."""

from __future__ import annotations

import attrs

from cgjobs import Discard
from cgjobs_notification.extras import library

_REFUSED = ("PREMIUM_RATE", "SHARED_COST", "UAN", "VOICEMAIL", "PAGER")


@attrs.frozen
class Phone:
    """A number to which a message may go.

    Args:
        e164: The number as it goes over the wire.
        country: Its country, such as ``GB``.
    """

    e164: str = attrs.field(repr=False)
    country: str

    @property
    def masked(self) -> str:
        """The number for people: ``+44******123``."""
        return mask(self.e164)


def mask(number: str) -> str:
    """The first and the last three characters of a number; all of a short one are hidden."""
    return f"{number[:3]}******{number[-3:]}" if len(number) > 8 else "******"


def phone(text: str, *, region: str, countries: tuple[str, ...], strict: bool) -> Phone:
    """Read a number.

    Args:
        text: As somebody wrote it.
        region: Country of numbers written without one; empty: they are refused.
        countries: Countries to which messages are sent; none: to all.
        strict: Whether it has to be one that was given out.

    Raises:
        Discard: No message may go there; says why, without the number.
    """
    numbers = library("phonenumbers", "sms")
    shown = mask(text.strip())
    try:
        number = numbers.parse(text, region or None)
    except numbers.NumberParseException as error:
        raise Discard(f"{shown} is no telephone number: {error}") from error
    if not numbers.is_possible_number(number):
        raise Discard(f"{shown} is no telephone number: it is too long or too short")
    valid = numbers.is_valid_number(number)
    if strict and not valid:
        raise Discard(f"{shown} is a number that nobody was given; set strict = false to try all the same")
    kind = numbers.PhoneNumberType.to_string(numbers.number_type(number))
    if kind in _REFUSED:
        raise Discard(f"{shown} is of the kind {kind}, to which no messages are sent")
    country = numbers.region_code_for_number(number) or numbers.region_code_for_country_code(
        number.country_code
    )
    if countries and country not in countries:
        raise Discard(f"{shown} is in {country}, which is none of countries in [plugins.notification.sms]")
    return Phone(numbers.format_number(number, numbers.PhoneNumberFormat.E164), country)

"""The table ``[plugins.notification.sms]``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

import attrs

from cgjobs_notification.checked import positive, state_directory, web_address

_TIMEOUT = timedelta(seconds=20)


@attrs.frozen(kw_only=True)
class Twilio:
    """Twilio's REST interface.

    Args:
        account_sid: The account.
        auth_token: Its token; never shown.
        endpoint: Where Twilio is.
        timeout: Longest wait for a connection or a reply.
    """

    account_sid: str
    auth_token: str = attrs.field(repr=False)
    endpoint: str = attrs.field(default="https://api.twilio.com", validator=web_address)
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)


@attrs.frozen(kw_only=True)
class Vonage:
    """Vonage's SMS interface.

    Args:
        api_key: The account; never shown.
        api_secret: Its secret; never shown.
        endpoint: Where Vonage is.
        timeout: Longest wait for a connection or a reply.
    """

    api_key: str = attrs.field(repr=False)
    api_secret: str = attrs.field(repr=False)
    endpoint: str = attrs.field(default="https://rest.nexmo.com", validator=web_address)
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)


@attrs.frozen(kw_only=True, eq=False)  # by identity, since its dictionaries have no hash
class HttpGateway:
    """Any gateway that takes a text message as one HTTP request: Kannel, jasmin, a house's own.

    ``{to}``, ``{sender}``, ``{text}`` and ``{id}`` in the values of ``form`` or ``json`` are filled in.

    Args:
        url: Where the request goes.
        method: ``POST``, or ``GET`` with the fields in the query.
        form: The fields of a form, or of the query.
        json: The fields of a JSON object. Give ``form`` or ``json``.
        headers: Such as ``{ Authorization = "Bearer ..." }``; never shown.
        accepted: Statuses that mean that it was taken.
        id_field: Field of a JSON reply that holds the gateway's id; empty: the first words of the reply.
        timeout: Longest wait for a connection or a reply.
    """

    url: str = attrs.field(validator=web_address)
    method: Literal["POST", "GET"] = "POST"
    form: dict[str, str] = attrs.field(factory=dict, repr=False)
    json: dict[str, str] = attrs.field(factory=dict, repr=False)
    headers: dict[str, str] = attrs.field(factory=dict, repr=False)
    accepted: tuple[int, ...] = (200, 201, 202)
    id_field: str = ""
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)

    def __attrs_post_init__(self) -> None:
        if bool(self.form) == bool(self.json):
            raise ValueError("give the fields of the request as form or as json")
        if self.json and self.method == "GET":
            raise ValueError("a GET has no JSON; give form, which becomes the query")
        text = "".join((*self.form.values(), *self.json.values()))
        if missing := [name for name in ("{to}", "{text}") if name not in text]:
            raise ValueError(f"no field holds {' nor '.join(missing)}")


@attrs.frozen(kw_only=True)
class Sns:
    """Amazon SNS. What is empty is what boto3 finds itself: environment, profile, role.

    Args:
        region: Its region.
        endpoint_url: Where SNS is, when it is not Amazon's.
        access_key_id: Account.
        secret_access_key: Its secret; never shown.
        timeout: Longest wait for a connection or a reply.
    """

    region: str = ""
    endpoint_url: str = ""
    access_key_id: str = attrs.field(default="", repr=False)
    secret_access_key: str = attrs.field(default="", repr=False)
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)


@attrs.frozen(kw_only=True)
class Smpp:
    """A message centre that speaks SMPP 3.4.

    Args:
        host: Its name.
        port: TCP port.
        system_id: Account, at most 15 characters.
        password: At most 8 characters; never shown.
        system_type: What the centre wants to have there.
        tls: Encrypted from the first byte.
        ca_file: PEM file of the authority that signed its certificate. None: the system's authorities.
        timeout: Longest wait for a connection or a reply.
    """

    host: str
    port: int = attrs.field(default=2775, validator=attrs.validators.in_(range(1, 65_536)))
    system_id: str = attrs.field(validator=attrs.validators.max_len(15))
    password: str = attrs.field(repr=False, validator=attrs.validators.max_len(8))
    system_type: str = ""
    tls: bool = False
    ca_file: Path | None = None
    timeout: timedelta = attrs.field(default=_TIMEOUT, validator=positive)


_PROVIDERS = ("twilio", "vonage", "http", "sns", "smpp")


@attrs.frozen(kw_only=True)
class SmsSettings:
    """How text messages go out, and how many. Without a provider they are only written to ``outbox``.

    Args:
        twilio, vonage, http, sns, smpp: The provider; at most one.
        sender: Who messages are from when the payload names nobody: a number, or up to 11 letters and digits.
        senders: What a payload may name instead.
        region: Country, such as ``GB``, of numbers that are written without one; empty: they are refused.
        countries: Countries to which messages are sent, such as ``["GB", "DE"]``. Messages to any other are
            refused: this is what stops fraud with expensive countries.
        strict: Whether a number has to be one that was given out; otherwise one of the right length will do.
            None: with a provider it has to.
        require_verified: Whether a user has to have shown that the number is theirs.
        max_segments: Most parts of one message, each of which costs; 1 to 10.
        per_user: Most messages to one number in an hour.
        per_hour: Most messages to all numbers in an hour.
        prices: What one part costs by country, ``"*"`` for all others; for ``max_price`` of a payload.
        outbox: A directory of JSON files, used only without a provider.
    """

    twilio: Twilio | None = None
    vonage: Vonage | None = None
    http: HttpGateway | None = None
    sns: Sns | None = None
    smpp: Smpp | None = None
    sender: str = ""
    senders: tuple[str, ...] = ()
    region: str = ""
    countries: tuple[str, ...] = ()
    strict: bool | None = None
    require_verified: bool = False
    max_segments: int = attrs.field(default=3, validator=attrs.validators.in_(range(1, 11)))
    per_user: int = attrs.field(default=5, validator=positive)
    per_hour: int = attrs.field(default=500, validator=positive)
    prices: dict[str, float] = attrs.field(factory=dict)
    outbox: Path = attrs.field(factory=lambda: state_directory("outbox-sms"))

    @property
    def provider(self) -> str:
        """The name of the provider, or ``outbox``."""
        return next((name for name in _PROVIDERS if getattr(self, name) is not None), "outbox")

    def __attrs_post_init__(self) -> None:
        given = [name for name in _PROVIDERS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; choose one provider")
        if given and not self.countries:
            raise ValueError('countries is empty; name those to which messages are sent, such as ["GB"]')
        if given and not self.sender and given[0] != "sns":
            raise ValueError("sender is empty; say who messages are from")
        wrong = [code for code in (*self.countries, self.region) if code and not _country(code)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: write countries as two capital letters, such as GB")


def _country(code: str) -> bool:
    return len(code) == 2 and code.isascii() and code.isupper()

"""Secret payload values stay out of what people see."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import pytest

from cgjobs import Context, subtype
from cgjobs.codec import Codec
from cgjobs.redaction import masked, redact
from tests.jobs import Login

KEY = "-----BEGIN KEY-----\nMIIabc/def\nxyz==\n-----END KEY-----"


@attrs.frozen
class Vault:
    """Secrets at every place where one can be."""

    login: Login
    keys: tuple[str, ...] = attrs.field(default=(), repr=False)
    by_name: Mapping[str, Login] = attrs.field(factory=dict)
    pin: int = attrs.field(default=0, repr=False)
    note: str = attrs.field(default="", metadata={"secret": True})
    flag: bool = attrs.field(default=True, repr=False)
    nothing: str | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Logins:
    """A payload whose secrets lie deeper."""

    site: str
    logins: list[Login]


@subtype("work.logins")
def logins(payload: Logins, ctx: Context) -> None:
    """Do nothing."""


def test_a_secret_is_replaced_and_the_rest_is_kept() -> None:
    text = redact(Login("ann", "hunter2"), "ann could not log in with hunter2!")

    assert text == "ann could not log in with ********!"


def test_secrets_inside_are_found() -> None:
    vault = Vault(Login("a", "inner-1"), ("key-one", "key-two"), {"x": Login("b", "inner-2")}, 4711, "marked")

    text = redact(vault, "inner-1 key-one key-two inner-2 4711 marked True None")

    assert text == "******** ******** ******** ******** ******** ******** True None"


@pytest.mark.parametrize("shown", [KEY, " ".join(KEY.split()), repr(KEY), "line MIIabc/def"])
def test_a_secret_of_several_lines_is_found_however_it_is_written(shown: str) -> None:
    text = redact(Login("ann", KEY), f"bad key: {shown}")

    assert "MIIabc" not in text


def test_a_secret_with_quotes_is_found_as_python_writes_it() -> None:
    secret = "it's \\ 5\u00a0o'clock \"now\""

    assert "clock" not in redact(Login("ann", secret), str(KeyError(secret)))


def test_a_longer_secret_is_replaced_before_one_that_it_contains() -> None:
    vault = Vault(Login("a", "abc"), ("abcdef",))

    assert redact(vault, "abcdef abc") == "******** ********"


def test_a_secret_too_short_to_be_told_from_text_is_left() -> None:
    assert redact(Login("ann", "a"), "a banana") == "a banana"


def test_a_payload_without_secrets_changes_nothing() -> None:
    assert redact(object(), "text") == "text"


def test_the_wire_form_can_be_shown_without_its_secrets_however_deep() -> None:
    payload = Logins("web", [Login("ann", "hunter2")])

    shown = masked(Codec(), logins, Codec().dump(logins, payload))

    assert shown == {"type": "logins", "site": "web", "logins": [{"user": "ann", "password": "********"}]}


def test_of_a_payload_that_cannot_be_read_nothing_is_shown() -> None:
    assert masked(Codec(), logins, {"site": 7, "x": "hunter2"}) == {"site": "********", "x": "********"}

"""Numbers and parts of text messages, without any provider."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgjobs import Discard
from cgjobs_notification import Sms
from cgjobs_notification.sms.phone import mask, phone
from cgjobs_notification.sms.segments import encode, segments

EURO, FAMILY = "€", "👨"


@pytest.mark.parametrize(
    ("text", "encoding", "parts"),
    [
        ("Hi", "gsm7", 1),
        ("x" * 160, "gsm7", 1),
        ("x" * 161, "gsm7", 2),
        ("x" * 306, "gsm7", 2),
        ("x" * 307, "gsm7", 3),
        (EURO * 80, "gsm7", 1),
        (EURO * 81, "gsm7", 2),
        ("äöüßÄÖÜñ¿¡@£$¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæÉ", "gsm7", 1),
        ("{}[]~|^\\", "gsm7", 1),
        ("ô" * 70, "ucs2", 1),
        ("ô" * 71, "ucs2", 2),
        ("ô" * 134, "ucs2", 2),
        ("ô" * 135, "ucs2", 3),
        (FAMILY * 35, "ucs2", 1),
        (FAMILY * 36, "ucs2", 2),
        (FAMILY * 67, "ucs2", 3),  # 33 to a part: no pair of surrogates is cut in two
    ],
)
def test_a_text_costs_as_many_parts_as_the_standard_says(text: str, encoding: str, parts: int) -> None:
    made = segments(text)

    assert (made.encoding, len(made.parts)) == (encoding, parts)


@given(st.text(max_size=40).map(lambda some: some * 10))
def test_the_parts_are_the_text_and_each_fits(text: str) -> None:
    made = segments(text)

    assert "".join(made.parts) == text
    room = (
        {"gsm7": 153, "ucs2": 134}[made.encoding]
        if len(made.parts) > 1
        else {"gsm7": 160, "ucs2": 140}[made.encoding]
    )
    assert all(len(encode(part, made.encoding)) <= room for part in made.parts)


def test_the_alphabet_is_the_one_of_the_standard() -> None:
    assert encode("@Hi€ä", "gsm7") == bytes([0x00, 0x48, 0x69, 0x1B, 0x65, 0x7B])
    assert encode("ô€", "ucs2") == b"\x00\xf4\x20\xac"


def read(
    text: str, *, region: str = "", countries: tuple[str, ...] = (), strict: bool = True
) -> tuple[str, str]:
    found = phone(text, region=region, countries=countries, strict=strict)
    return found.e164, found.country


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("+44 7400 123456", "", ("+447400123456", "GB")),
        ("07400 123456", "GB", ("+447400123456", "GB")),
        ("0171 1234567", "DE", ("+491711234567", "DE")),
        ("+1 (202) 555-0123", "", ("+12025550123", "US")),
        ("+1 416 555 0123", "", ("+14165550123", "CA")),
    ],
)
def test_a_number_is_read_as_people_write_it(text: str, region: str, number: tuple[str, str]) -> None:
    assert read(text, region=region) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no telephone number"),
        ("Ada", "no telephone number"),
        ("07911 123456", "no telephone number"),
        ("+44 74", "too short|no telephone"),
        ("+447911123456789", "too long|no telephone"),
        ("+44 9098 790000", "PREMIUM_RATE"),
        ("+49 900 1 234567", "PREMIUM_RATE"),
        ("+44 7700 900123", "nobody was given"),
        ("+44 7911 123456\nBcc: x", "no telephone number|too long"),
    ],
)
def test_what_is_no_number_for_messages_is_refused_without_being_shown(text: str, reason: str) -> None:
    with pytest.raises(Discard, match=reason) as caught:
        read(text)

    assert len(text) < 8 or text not in str(caught.value)


def test_a_possible_number_will_do_when_strictness_is_off() -> None:
    assert read("+44 7700 900123", strict=False) == ("+447700900123", "GB")


@pytest.mark.parametrize("text", ["+247 64123", "+1 876 555 0123", "+7 912 345-67-89"])
def test_a_country_that_is_not_on_the_list_gets_no_message(text: str) -> None:
    with pytest.raises(Discard, match="none of countries"):
        read(text, countries=("GB", "US"), strict=False)


def test_a_number_is_masked_for_people() -> None:
    assert mask("+447911123456") == "+44******456"
    assert mask("12345678") == "******"
    assert "7911" not in repr(phone("+447911123456", region="", countries=(), strict=True))
    assert "7911" not in repr(Sms(to="+447911123456", message="Hi"))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"message": "Hi"}, "either user_id or to"),
        ({"message": "Hi", "user_id": "a", "to": "b"}, "either user_id or to"),
        ({"message": " ", "user_id": "a"}, "empty"),
        ({"message": "x" * 1_601, "user_id": "a"}, "1600|1_600"),
        ({"message": "Hi", "user_id": "a", "max_price": 0.0}, "max_price"),
        ({"message": "Hi", "user_id": "a", "idempotency_key": "\n"}, "no key"),
    ],
)
def test_what_is_no_message_is_refused_when_it_is_enqueued(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Sms(**fields)  # type: ignore[arg-type]

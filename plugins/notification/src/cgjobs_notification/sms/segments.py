"""How a text is cut into the parts that a telephone puts together again (3GPP TS 23.038 and 23.040)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import attrs

Encoding = Literal["gsm7", "ucs2"]

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = {"\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E}
_EXTENDED |= {"|": 0x40, "€": 0x65}
_CODES = {character: code for code, character in enumerate(_BASIC) if character != "\x1b"}
_ESCAPE = 0x1B
# Septets or UTF-16 units in a message of one part, and in each of several, which begin with a header.
_ROOM = {"gsm7": (160, 153), "ucs2": (70, 67)}


@attrs.frozen
class Segments:
    """A text in parts.

    Args:
        encoding: The alphabet.
        parts: The text of each part; together they are the text.
    """

    encoding: Encoding
    parts: tuple[str, ...]


def segments(text: str) -> Segments:
    """Cut a text; no character and no pair of surrogates is cut in two."""
    encoding: Encoding = "gsm7" if all(c in _CODES or c in _EXTENDED for c in text) else "ucs2"
    size = _septets if encoding == "gsm7" else _units
    alone, each = _ROOM[encoding]
    if sum(map(size, text)) <= alone:
        return Segments(encoding, (text,))
    return Segments(encoding, tuple(_cut(text, each, size)))


def encode(text: str, encoding: Encoding) -> bytes:
    """One part as SMPP wants it: a septet in each byte, or UTF-16."""
    if encoding == "ucs2":
        return text.encode("utf-16-be")
    codes: list[int] = []
    for character in text:
        codes += [_ESCAPE, _EXTENDED[character]] if character in _EXTENDED else [_CODES[character]]
    return bytes(codes)


def _cut(text: str, room: int, size: Callable[[str], int]) -> Iterable[str]:
    part, used = "", 0
    for character in text:
        if used + size(character) > room:
            yield part
            part, used = "", 0
        part += character
        used += size(character)
    yield part


def _septets(character: str) -> int:
    return 2 if character in _EXTENDED else 1


def _units(character: str) -> int:
    return 2 if ord(character) > 0xFFFF else 1

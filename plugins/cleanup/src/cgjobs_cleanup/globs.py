"""Patterns on the path below a root. Our own, because `glob` follows links and `fnmatch` crosses slashes."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(
    r"(?P<tree>(?:\*\*/)+)|(?P<rest>\*\*+)|(?P<star>\*)|(?P<one>\?)"
    r"|\[(?P<not>!?)(?P<set>\]?[^\]/]*)\]|(?P<text>.)",
    re.DOTALL,
)


class Globs:
    """Some patterns; a path matches when one of them does.

    A pattern without a slash is compared with the last part of the path, like in ``.gitignore``.

    Args:
        patterns: Patterns that `check_glob` accepts.
        but_not: A path that matches one of these does not match.
    """

    def __init__(self, patterns: Iterable[str], *, but_not: Iterable[str] = ()) -> None:
        self._match = re.compile(rf"(?!(?:{_any_of(but_not)})\Z)(?:{_any_of(patterns)})", re.DOTALL).fullmatch

    def match(self, path: str) -> bool:
        """Whether a path, relative and with ``/`` between its parts, matches."""
        return self._match(path) is not None

    def misses(self, path: str) -> bool:
        """Whether it does not."""
        return self._match(path) is None


def check_glob(glob: str) -> None:
    """Refuse a pattern that can match no path below a root.

    Raises:
        ValueError: It is empty, absolute, ends in a slash, has a part that is ``.``, ``..`` or empty, or a
            range that runs backwards.
    """
    if glob.endswith("/") and glob.strip("/"):
        raise ValueError(
            f"pattern {glob!r} ends in a slash; write '{glob.rstrip('/')}/**' for what is below it"
        )
    if any(part in ("", ".", "..") for part in glob.split("/")):
        raise ValueError(f"pattern {glob!r} is not a path below the root; write it like 'tmp/**' or '*.log'")
    try:
        re.compile(_translate(glob))
    except re.error as error:
        raise ValueError(f"pattern {glob!r} cannot be read: {error}") from None


def _any_of(globs: Iterable[str]) -> str:
    sources = ["(?:.*/)?" * ("/" not in glob) + _translate(glob) for glob in globs]
    return "|".join(sources) or "(?!)"  # (?!) matches nothing


def _translate(glob: str) -> str:
    return "".join(_regex(token) for token in _TOKEN.finditer(glob))


def _regex(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "tree":
            return "(?:.*/)?"
        case "rest":
            return ".*"
        case "star":
            return "[^/]*"
        case "one":
            return "[^/]"
        case "set":
            members = re.sub(r"([\\\[\]^&~|])", r"\\\1", token["set"])
            return f"(?!/)[{'^' if token['not'] else ''}{members}]" if members else re.escape(token[0])
        case _:
            return re.escape(token[0])

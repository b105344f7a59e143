"""A command that a plugin adds to ``cgjobs``."""

from __future__ import annotations

import re
from typing import Any

import attrs

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")


@attrs.frozen
class Command:
    """A command that a plugin adds, ``cgjobs <name> ...``.

    Args:
        name: ``a-z``, digits and ``-``; at most 32 characters.
        target: ``module:object``, imported when the command is used: a `cyclopts.App`, or a function, which
            may have a parameter ``session: cgjobs.cli.session.Shared`` and returns None or an exit code.
        help: One line for the list of commands.
    """

    name: str = attrs.field()
    target: str = attrs.field()
    help: str = attrs.field(validator=attrs.validators.min_len(1))

    @name.validator
    def _named(self, attribute: attrs.Attribute[Any], value: str) -> None:
        if not _NAME.match(value):
            raise ValueError(
                f"{value!r} is no name for a command: use a-z, 0-9 and -, a letter first, at most 32"
            )

    @target.validator
    def _importable(self, attribute: attrs.Attribute[Any], value: str) -> None:
        if not _TARGET.match(value):
            raise ValueError(f"{value!r} names no object; write it like 'acme_jobs.cli:app'")
